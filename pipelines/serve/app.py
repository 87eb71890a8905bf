"""The application: pages and API on one library, behind one guard."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator, Sequence
from http import HTTPStatus
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.routing import Match, Route

from fdvs import __version__
from fdvs.errors import FdvsError
from fdvs.media.pictures import MAX_BYTES
from fdvs.pipelines.library import Library
from fdvs.pipelines.serve import api, pages
from fdvs.pipelines.serve.engine import Doors, Engine
from fdvs.pipelines.serve.limits import Limits
from fdvs.pipelines.serve.mcp_server import add_route
from fdvs.pipelines.serve.problems import problem
from fdvs.pipelines.serve.security import Guard, OnceCode

logger = logging.getLogger(__name__)

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
CLOSE_S = 2  # for the requests that are being answered
MAX_CONNECTIONS = 256


def make_app(library: Library, doors: Doors | None = None) -> FastAPI:
    """Return the application without its guard, for tests and for embedding."""

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.engine.warm_up()
        async with agents():
            yield
        app.state.engine.close()

    app = bare_app(lifespan=lifespan)
    app.state.engine = Engine(library, doors)
    agents = add_route(app, library, app.state.engine.ask)
    app.include_router(pages.router)
    app.mount("/static", StaticFiles(packages=[("fdvs.pipelines.serve", "static")]))
    app.get("/health", include_in_schema=False)(_health)
    app.exception_handler(FdvsError)(_told)
    app.exception_handler(HTTPException)(_refused)
    app.exception_handler(RequestValidationError)(_invalid)
    app.exception_handler(Exception)(_bug)
    return app


def bare_app(**more: Any) -> FastAPI:
    """Return an application that has the REST API and no library, for its description."""
    app = FastAPI(
        title="FDVS", version=__version__, docs_url=None, redoc_url=None,
        openapi_url=f"{api.PREFIX}/openapi.json", **more,
    )  # fmt: skip
    app.include_router(api.router)
    return app


def guarded(
    app: FastAPI, *, token: str, port: int, names: Sequence[str] = (), code: OnceCode | None = None
) -> Any:
    """Return the application behind its guard and its limits.

    It answers under the names of the loopback and under `names`, such as those of a proxy.
    """
    limited = Limits(app, own_bounds={f"{api.PREFIX}/search/image": MAX_BYTES})
    hosts = {f"{name}:{port}" for name in (*LOOPBACK, *names)} | {*names}
    allowed = frozenset(host.lower() for host in hosts)
    return Guard(limited, token=token, hosts=allowed, code=code)


def server_of(app: Any) -> uvicorn.Server:
    """Return a server of an application, with bounds of connections and of its end."""
    return uvicorn.Server(
        uvicorn.Config(
            app, log_config=None, log_level="warning", access_log=False, server_header=False,
            proxy_headers=False,  # or who sends them chooses its address
            timeout_graceful_shutdown=CLOSE_S, limit_concurrency=MAX_CONNECTIONS,
        )
    )  # fmt: skip


def _health(request: Request) -> JSONResponse:
    is_ready = request.app.state.engine.is_ready
    return JSONResponse({"status": "ok" if is_ready else "loading"})


def _is_api(request: Request) -> bool:
    return request.url.path.startswith(api.PREFIX)


def _told(request: Request, error: Exception) -> Response:
    if _is_api(request):
        return problem(error)
    return pages.trouble(request, error)


def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if _is_api(request):
        answer = problem(error, status=error.status_code)
        if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            answer.headers["Allow"] = ", ".join(_methods(request))
        return answer
    told = "there is no such page" if error.status_code == 404 else str(error.detail)
    return pages.page(request, "problem.html", status=error.status_code, told=told)


def _methods(request: Request) -> list[str]:
    """Return the methods of an address, of all routes that it has."""
    found: set[str] = set()
    for route in request.app.routes:
        if isinstance(route, Route) and route.matches(request.scope)[0] != Match.NONE:
            found |= route.methods or set()
    return sorted(found)


def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    told = "; ".join(
        f"{'.'.join(str(part) for part in one['loc'][1:])}: {one['msg']}" for one in error.errors()
    )
    if _is_api(request):
        return problem(ValueError(told), status=422)
    return pages.page(request, "problem.html", status=422, told=told)


def _bug(request: Request, error: Exception) -> Response:
    logger.exception("%s %s", request.method, request.url.path, exc_info=error)
    if _is_api(request):
        return problem(error, status=500)
    return pages.page(request, "problem.html", status=500, told="see the server's log")
