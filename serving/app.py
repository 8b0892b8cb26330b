"""The FastAPI application around a service: routes, errors in one shape, limits.

client ──► Limits (size, time) ──► routes ──► Needs (key, scope, rate) ──► Service
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware

from serving import openai, operations, questions, responses
from serving.errors import RequestRefused
from serving.limits import RequestLimits, error_body, refusal
from serving.schemas import ErrorBody
from serving.service import AnsweringService

EXPOSED = ["melo-version", "melo-edit", "x-request-id", "request-id", "retry-after"]
REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {"model": ErrorBody, "description": "The request can't be answered as it stands."},
    401: {"model": ErrorBody, "description": "No valid key."},
    403: {"model": ErrorBody, "description": "The key lacks the scope."},
    404: {"model": ErrorBody, "description": "Not served, or not remembered."},
    408: {"model": ErrorBody, "description": "The request came too slowly."},
    409: {"model": ErrorBody, "description": "The version can't be served."},
    413: {"model": ErrorBody, "description": "The body is too large."},
    415: {"model": ErrorBody, "description": "A page in a browser does not say that it is JSON."},
    429: {"model": ErrorBody, "description": "Too much waits, or the key's rate is spent."},
    503: {"model": ErrorBody, "description": "Not ready yet."},
    504: {"model": ErrorBody, "description": "The answer would have come too late."},
}


def create_app(service: AnsweringService, *, failed: Callable[[], None] = lambda: None) -> FastAPI:
    """The application. failed: called where the service can't start at all."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        service.start(asyncio.get_running_loop(), failed)
        yield
        await asyncio.to_thread(service.close)

    app = FastAPI(
        title="melo serve", lifespan=lifespan, responses=REFUSALS, docs_url=None, redoc_url=None
    )
    app.state.service = service
    for routes in (openai.router, responses.router, questions.router, operations.router):
        app.include_router(routes)
    app.add_exception_handler(RequestRefused, _refused)
    app.add_exception_handler(RequestValidationError, _not_valid)
    app.add_exception_handler(HTTPException, _http)
    app.add_middleware(RequestLimits, limits=service.limits, observe=service.metrics.request)
    if service.limits.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=service.limits.cors_origins,
            allow_methods=["GET", "POST"],
            allow_headers=["*"],
            expose_headers=EXPOSED,
            max_age=3600,
        )
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    return app


async def _refused(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestRefused)
    return refusal(error)


async def _not_valid(request: Request, error: Exception) -> JSONResponse:
    """400 as OpenAI has it. Says which field and what is allowed, never what was sent."""
    assert isinstance(error, RequestValidationError)
    if isinstance(error.__cause__, ValueError):
        return refusal(_no_json(error.__cause__))
    first = error.errors()[0]
    # The names of fields only: a union's branches have names of their own, a sender's may be anything.
    parts = [str(p) for p in first["loc"][1:] if str(p).isidentifier() or isinstance(p, int)]
    where = ".".join(parts)[:200]
    shown = where.encode("utf-8", "replace").decode()
    message = f"{shown or 'body'}: {_problem(first)}."
    return refusal(
        RequestRefused(
            400, "invalid_request", message.encode("utf-8", "replace").decode(), param=shown
        )
    )


def _problem(error: dict[str, Any]) -> str:
    """What is wrong with a field, in the words of its rule."""
    if error["type"] == "extra_forbidden":
        return "is not served here; leave it out"
    if error["type"] == "too_long" and error["ctx"].get("actual_length"):
        return f"at most {error['ctx']['max_length']}, got {error['ctx']['actual_length']}"
    return str(error["msg"]).removeprefix("Value error, ")


def _no_json(error: Exception) -> RequestRefused:
    """What is said of a body that can't be read, and where it ends to be JSON."""
    why = "it can't be read"
    if isinstance(error, json.JSONDecodeError):
        why = f"{error.msg} at line {error.lineno}, column {error.colno}"
    elif isinstance(error, UnicodeDecodeError):
        why = f"byte {error.start + 1} is no {error.encoding.upper()}"
    elif isinstance(error, RecursionError):
        why = "it is nested too deeply"
    elif isinstance(error, ValueError):
        why = "a number has too many digits"
    return RequestRefused(400, "not_json", f"the body is no JSON: {why}.")


async def _http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    if isinstance(error.__cause__, ValueError | RecursionError):  # met where the body was read
        return refusal(_no_json(error.__cause__))
    code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "invalid_request")
    refused = RequestRefused(error.status_code, code, str(error.detail))
    return JSONResponse(error_body(refused), error.status_code, error.headers)


def _openapi(app: FastAPI) -> dict[str, Any]:
    """The schema, without the 422 that this service never gives."""
    if app.openapi_schema is None:
        schema = get_openapi(title=app.title, version="1", routes=app.routes)
        for path in schema["paths"].values():
            for operation in path.values():
                operation["responses"].pop("422", None)
        app.openapi_schema = schema
    return app.openapi_schema
