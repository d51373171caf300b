"""The HAProxy engine behind `proxy.contract`: its configuration, its runtime API, its process."""
