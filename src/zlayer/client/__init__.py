"""The typed SDK: what a program asks a daemon, over its unix socket or over TLS.

`client.client.Client` is synchronous, `client.async_client.AsyncClient` asynchronous; both have the same methods and
return the same frozen records (`client.results`). Errors come back as the tree of `zlayer.model.errors`. The command
line stands on it for every verb, so nothing here may import pydantic, asyncio or `http.client` when loaded (each
costs more than a whole `zlayer ps` may), nor anything of ZLayer but `model` and `spec`.
"""
