"""What the system holds: instances, deployments, nodes, events, errors, units.

Values only: no I/O, no clock. Imports pydantic and the standard library, nothing else of ZLayer. Import from the
modules, not from here: the command line needs `errors` without paying for pydantic.
"""
