"""For those who run the service: is it alive, is it ready, what does it do, look at the alias now."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST

from registry.errors import RegistryError
from serving.access import Admin, Credentials, Needs, Serving
from serving.errors import RequestRefused, ServingError
from serving.reference_page import reference_page

router = APIRouter(tags=["operations"])


@router.head("/healthz", include_in_schema=False)
@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """200 while the process answers."""
    return {"status": "ok"}


@router.head("/readyz", include_in_schema=False)
@router.get("/readyz", response_model=None)
async def readyz(service: Serving) -> Response:
    """200 once a version is open and warm. `trouble` says why a newer one is not served."""
    if not service.ready:
        return JSONResponse({"status": "starting"}, 503, {"retry-after": "2"})
    served = service.versions.serving()
    versions = {name: loaded.id for name, loaded in served.items()}
    trouble = service.versions.trouble
    return JSONResponse({"status": "ready", "versions": versions, "trouble": trouble})


@router.get("/docs", include_in_schema=False)
@router.get("/redoc", include_in_schema=False)
async def docs(request: Request) -> HTMLResponse:
    """What can be asked, as a page."""
    return HTMLResponse(reference_page(request.app.openapi()))


@router.get("/metrics", response_model=None, response_class=PlainTextResponse)
async def metrics(service: Serving, credentials: Credentials) -> Response:
    """Prometheus. Needs scope admin unless `serve.open_metrics` is set."""
    if not service.limits.open_metrics:
        await Needs("admin")(service, credentials)
    return Response(service.metrics.text(), media_type=CONTENT_TYPE_LATEST)


@router.post("/admin/reload")
async def reload(service: Serving, who: Admin) -> dict[str, Any]:
    """Look at the aliases now; 409 where the champion can't be served and the old one goes on."""
    versions = service.versions
    try:
        await asyncio.to_thread(versions.follow)
    except RequestRefused:
        raise
    except (ServingError, RegistryError) as error:
        raise RequestRefused(409, "not_reloaded", str(error)) from None
    return {"versions": {name: loaded.id for name, loaded in versions.serving().items()}}
