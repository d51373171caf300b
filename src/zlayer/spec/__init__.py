"""What a user writes: deployment v1, loaded with positions, checked whole, explained, compiled.

`load` answers with every fault at once or with a `DeploymentSpec`; `compile` turns that into the `model` documents
controllers work on; `schema` and `dump` publish the same vocabulary. The vocabulary is written once, as shapes
(`shapes`, `records`) that both check a file and describe themselves as JSON Schema.

Imports the standard library, pydantic, yaml and `zlayer.model`; no other room, no I/O but `discover` and `load.read`.
"""
