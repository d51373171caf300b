"""Traffic from clients to replicas: the proxy engine, certificates, ACME. Tables come from `plan.routes`, whole.

Imports spec and model only; which engine stands behind the contract is chosen in `daemon/wiring.py`.
"""
