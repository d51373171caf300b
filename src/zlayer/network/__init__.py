"""The node's network: bridge, namespaces, addresses, rules. Imports spec and model only."""
