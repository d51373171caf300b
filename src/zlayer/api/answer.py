"""Small shared words of the routes: an answer, and how it stands in the OpenAPI document."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from zlayer.api.answers import ProblemDocument
from zlayer.api.streams import dumps

_ERRORS: dict[int, str] = {
    401: "No valid token (TCP only)",
    403: "The token's roles do not allow this",
    404: "No such thing",
    409: "It changed or exists already: read again",
    422: "The request is not valid; `errors` lists every fault",
    503: "Not possible now; `Retry-After` says when",
}


def answer(value: Any, status: int = 200) -> Response:  # Any: a JSON value
    return Response(dumps(value), status_code=status, media_type="application/json")


def documented(
    model: Any = None,
    *,
    status: int = 200,
    media_type: str = "application/json",
    what: str = "Done",
    errors: tuple[int, ...] = (),
) -> dict[int | str, dict[str, Any]]:  # Any: a model class in, OpenAPI fragments out
    """The `responses` of a route: its good answer and the problems it may give."""
    good: dict[str, Any] = {"description": what}
    if model is not None and media_type == "application/json":
        good["model"] = model
    elif model is not None:
        good["content"] = {media_type: {"schema": model}}
    problems: dict[int | str, dict[str, Any]] = {
        code: {"description": _ERRORS[code], "content": {"application/problem+json": {"schema": PROBLEM}}}
        for code in (401, 403, *errors)
    }
    return {status: good, **problems}


PROBLEM = {"$ref": "#/components/schemas/ProblemDocument"}
TEXT = {"type": "string"}


def ref(model: type[Any]) -> dict[str, str]:
    """A reference to a schema; `app` adds the schemas no route returns as a plain JSON answer."""
    return {"$ref": f"#/components/schemas/{model.__name__}"}


assert ProblemDocument.__name__ == PROBLEM["$ref"].rpartition("/")[2]
