"""The vocabulary as JSON Schema, for editors and for whoever writes deployments by program."""

from __future__ import annotations

from zlayer.spec.deployment import DEPLOYMENT
from zlayer.spec.shapes import Json

ID = "https://zlayer.dev/schema/deployment-v1.json"


def json_schema() -> Json:
    """JSON Schema, draft 2020-12. Every file that `load` accepts is valid by it.

    It knows keys, types, words and bounds; what values must be to each other (cycles, port clashes, references) only
    `load` knows. Keys that are not supported yet are refused here too, with that description.
    """
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": ID,
        "title": "ZLayer deployment v1",
        **DEPLOYMENT.schema(),
    }
