"""Names for containers: a small name server per node, in a process of its own that outlives the daemon.

Imports spec and model only.
"""
