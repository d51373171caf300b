"""A router of one area of the API: every route made on it asks for rights first."""

from __future__ import annotations

from fastapi import APIRouter, Depends
from fastapi.routing import APIRoute

from zlayer.api.authorise import authorise


def area(*, tag: str, prefix: str = "") -> APIRouter:
    """Deny by default starts here: there is no other way in this room to make a router."""
    return APIRouter(
        prefix=prefix, tags=[tag], dependencies=[Depends(authorise)], generate_unique_id_function=_operation_id
    )


def _operation_id(route: APIRoute) -> str:
    return f"{route.tags[0]}_{route.name}" if route.tags else route.name
