"""Logins of this daemon at registries. What was given is never shown again."""

from __future__ import annotations

from starlette.responses import Response

from zlayer.api.answer import answer, documented
from zlayer.api.answers import Login
from zlayer.api.area import area
from zlayer.api.authorise import V1
from zlayer.api.bodies import LoginBody
from zlayer.api.services import Api

router = area(prefix=f"{V1}/registries", tag="registries")


@router.get("", summary="Registries this daemon is logged in to", responses=documented(list[Login]))
async def logins(api: Api) -> Response:
    found = await api.agent.images.logins()
    return answer([{"registry": name, "username": user} for name, user in found.items()])


@router.post(
    "/login",
    summary="Try a login at a registry, and keep it for pulls and pushes",
    responses=documented(Login, errors=(403, 422, 503)),
)
async def login(api: Api, body: LoginBody) -> Response:
    domain = await api.agent.images.login(body.registry, body.username, body.password)
    return answer({"registry": domain, "username": body.username})


@router.delete("/{registry}", summary="Forget a login", responses=documented(Login, errors=(404, 422)))
async def logout(api: Api, registry: str) -> Response:
    return answer({"registry": await api.agent.images.logout(registry), "username": ""})
