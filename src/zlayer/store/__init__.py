"""The state store: contract, drivers (SQLite, memory) and what is written once above them (`mirror`, `update`).

Imports spec and model only. Controllers, agents and the API see `contract`, `mirror` and `update`, never a driver.
"""
