"""Certificates of https endpoints: how each stands, and a wish for a new one."""

from __future__ import annotations

import time

from starlette.responses import Response

from zlayer.api.answer import answer, documented
from zlayer.api.area import area
from zlayer.api.authorise import V1
from zlayer.api.objects import CertificateDetails, CertificateItem
from zlayer.api.services import Api

router = area(prefix=f"{V1}/certificates", tag="certificates")


@router.get("", summary="Every certificate, and how it stands", responses=documented(list[CertificateItem]))
async def certificates(api: Api) -> Response:
    return answer(api.views.certificates(time.time()))


@router.get("/{name}", summary="One of them, with its chain", responses=documented(CertificateDetails, errors=(404,)))
async def certificate(api: Api, name: str) -> Response:
    return answer(api.views.certificate(name, time.time()))


@router.post(
    "/{name}/renew",
    status_code=202,
    summary="Want a new one now; files are read again",
    responses=documented(CertificateItem, status=202, errors=(404, 409, 503)),
)
async def renew(api: Api, name: str) -> Response:
    known = api.views.certificate(name, time.time())
    if known["source"] is not None:  # else the first one is on its way
        await api.views.reached(await api.wishes.certificates.renew(name))
        known = api.views.certificate(name, time.time())
    return answer({key: value for key, value in known.items() if key != "chain"}, status=202)
