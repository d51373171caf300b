"""Pure decisions: values in, values out.

No clock (time is an argument, the future is `wake_at`), no I/O, no randomness, no async. Imports spec and model only,
so every rule of the orchestrator can be tested as a function.
"""
