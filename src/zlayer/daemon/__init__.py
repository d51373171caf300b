"""The composition root: configuration, the one list of drivers, and the process that serves a data directory.

May import every room below it; nothing imports it but `cli.serve` and `cli.doctor`, lazily. No rule of the system
is decided here: this room reads settings, opens what is shared (lock, log, sockets, store) and starts the loops.
"""
