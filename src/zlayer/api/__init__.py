"""The HTTP face of a daemon: REST, NDJSON and SSE streams, WebSockets, problem documents.

Translates only: a request becomes one call of `control.wishes`, `control.views` or the agent's contract, an answer
becomes JSON. May import control, agent.contract, plan, the contracts, spec and model; never a driver, never daemon.
"""
