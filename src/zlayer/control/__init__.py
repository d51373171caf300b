"""The leader's loops: they read everything, decide with `plan`, and write to the store and nowhere else.

`wishes` is how users' wants get there, `views` how they are read back. Imports plan, the store's contract, mirror and
update, spec and model; never agent, never a driver.
"""
