"""`fdvs serve`: the page and the REST API of a library, on this machine alone."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fdvs.errors import InvalidValue, ModelUnavailable, how_to_install
from fdvs.pipelines.cli import signals
from fdvs.pipelines.cli.options import LibraryOptions, emit, library_command

if TYPE_CHECKING:
    import socket

HOST = "127.0.0.1"
EVERYWHERE = ("", "0.0.0.0", "::", "0")
HOST_NAME = r"(?:[A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::\d{1,5})?"
CLOSE_S = 2  # for the requests that are being answered
SERVER_GRACE_S = 10.0  # and for the build that runs beside


def register(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command()(serve)
    app.command()(mcp)


@library_command
def serve(
    options: LibraryOptions,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="The port; 0 takes a free one.")
    ] = 8765,
    show: Annotated[
        bool, typer.Option("--open/--no-open", help="Open the page in the browser.")
    ] = False,
    watch: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FOLDER",
            help="Build what is in this folder and what appears there, once it has stopped "
            "growing; repeat it.",
        ),
    ] = None,
    read_only: Annotated[
        bool, typer.Option("--read-only", help="Let nobody build or remove through the server.")
    ] = False,
    add_from: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FOLDER",
            help="Let only what lies in this folder be added; repeat it. Default: whatever you "
            "may read; nothing where --allow-host is given.",
        ),
    ] = None,
    token_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Where the token is kept. Default: the variable FDVS_TOKEN, or serve.token in "
            "the library's folder.",
        ),
    ] = None,
    host: Annotated[
        str,
        typer.Option(
            metavar="ADDRESS", help="The address to listen at; another one needs --allow-host."
        ),
    ] = HOST,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="Answer under this name, too: of a proxy before it; repeat it."
        ),
    ] = None,
) -> None:
    """Serve the library as a page and a REST API, on this machine alone.

    Prints an address that lets you in once; stop with Ctrl-C. The page shows stories, plays what
    they cite, searches, answers questions and builds videos. Programs send the token, which
    lasts; --json says where it is.
    """
    try:
        from fdvs.pipelines.serve.app import guarded, make_app, server_of
        from fdvs.pipelines.serve.engine import Doors
        from fdvs.pipelines.serve.security import OnceCode
    except ModuleNotFoundError as error:
        raise ModelUnavailable(
            f"the page needs the package {error.name!r}; {how_to_install('serve')}"
        ) from None
    names = _names(host, allow_host or [])
    roots = tuple(folder.resolve() for folder in add_from or ())
    doors = Doors(is_read_only=read_only, add_from=roots if roots or names else None)
    out = sys.stdout
    with (
        options.opened(create=not read_only) as library,
        _listening(host, port) as listener,
    ):
        token, kept_in = _token(library.path, token_file, is_far=bool(names))
        taken = int(listener.getsockname()[1])
        inner = make_app(library, doors)
        if watch:
            inner.state.engine.watch([folder.absolute() for folder in watch])
        code = OnceCode()
        app = guarded(inner, token=token, port=taken, names=names, code=code)
        origin = f"http://{f'[{host}]' if ':' in host else host}:{taken}"
        address = f"{origin}/?code={code.text}"
        typer.echo(f"serving {options.library}\nopen    {address}\nstop    Ctrl-C", err=True)
        if options.as_json:
            with contextlib.redirect_stdout(out):
                emit(_for_programs(origin, address, kept_in))
        if show:
            import webbrowser

            webbrowser.open(address)
        signals.allow(SERVER_GRACE_S)
        server_of(app).run(sockets=[listener])


def _for_programs(origin: str, address: str, kept_in: str) -> dict[str, str]:
    """Return what a program needs to use the server: addresses, and where the token is."""
    return {
        "open": address,
        "address": origin,
        "api": f"{origin}/api/v1",
        "openapi": f"{origin}/api/v1/openapi.json",
        "mcp": f"{origin}/mcp",
        "header": "Authorization: Bearer TOKEN",
        "token": kept_in,
    }


def _names(host: str, names: Sequence[str]) -> tuple[str, ...]:
    """Return the names to answer under, besides the loopback's. Raises InvalidValue."""
    if host in EVERYWHERE:
        raise InvalidValue("host", host, "one address of this machine, such as 192.168.1.20")
    if host != HOST and not names:
        raise InvalidValue("host", host, f"{HOST}, or with --allow-host NAME of this machine")
    for name in names:
        if not re.fullmatch(HOST_NAME, name):
            raise InvalidValue(
                "allow-host", name, "a name such as films.example, with :PORT or not"
            )
    return tuple(names)


def _token(library: Path, file: Path | None, *, is_far: bool) -> tuple[str, str]:
    """Return the token, and where it is kept. Raises InvalidValue, StoreError."""
    from fdvs.pipelines.serve.tokens import FAR_CHARS, FILE_NAME, VARIABLE, checked, token_of

    given = os.environ.get(VARIABLE, "")
    if given and file is None:
        token, kept_in = checked(given, VARIABLE), f"the variable {VARIABLE}"
    else:
        path = (file or library / FILE_NAME).absolute()
        token, kept_in = token_of(path), str(path)
    if is_far and len(token) < FAR_CHARS:
        allowed = f"at least {FAR_CHARS} characters where other machines may ask"
        raise InvalidValue(kept_in, f"{len(token)} characters", allowed)
    return token, kept_in


@library_command
def mcp(options: LibraryOptions) -> None:
    """Serve the library to an agent, by the Model Context Protocol on standard input and output.

    Read only: list_videos, get_story, search_moments, ask, get_frame, get_overview. See
    docs/mcp.md for the entry of the usual clients.
    """
    from fdvs.pipelines.serve.mcp_server import make_server

    protocol = sys.stdout  # what packages print by accident must not reach the agent
    with options.opened() as library:
        server = make_server(library)
        signals.allow(CLOSE_S)
        with contextlib.redirect_stdout(protocol):
            server.run("stdio")


def _listening(host: str, port: int) -> socket.socket:
    """Return a socket that listens. Raises ModelUnavailable for a taken port or a wrong address."""
    import socket

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen()  # whoever comes before the server is ready, waits for it
    except OSError as error:
        listener.close()
        raise ModelUnavailable(
            f"{host} port {port} cannot be used ({error.strerror}); take another one: --port 0"
        ) from None
    return listener
