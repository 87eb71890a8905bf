"""`fdvs serve`: the page and the REST API of a library, on this machine alone."""

from __future__ import annotations

import contextlib
import socket
import sys
import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from fdvs.errors import ModelUnavailable, how_to_install
from fdvs.pipelines.cli import signals
from fdvs.pipelines.cli.options import LibraryOptions, library_command

HOST = "127.0.0.1"
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
) -> None:
    """Serve the library as a page and a REST API, on this machine alone.

    Prints an address with a token that lets you in; stop with Ctrl-C. The page shows stories,
    plays what they cite, searches, answers questions and builds videos.
    """
    try:
        from fdvs.pipelines.serve.app import guarded, make_app, server_of
        from fdvs.pipelines.serve.security import new_token
    except ModuleNotFoundError as error:
        raise ModelUnavailable(
            f"the page needs the package {error.name!r}; {how_to_install('serve')}"
        ) from None
    token = new_token()
    with options.opened(create=True) as library, _listening(port) as listener:
        taken = int(listener.getsockname()[1])
        inner = make_app(library)
        if watch:
            inner.state.engine.watch([folder.absolute() for folder in watch])
        app = guarded(inner, token=token, port=taken)
        address = f"http://{HOST}:{taken}/?token={token}"
        typer.echo(f"serving {options.library}\nopen    {address}\nstop    Ctrl-C", err=False)
        if show:
            webbrowser.open(address)
        signals.allow(SERVER_GRACE_S)
        server_of(app).run(sockets=[listener])


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


def _listening(port: int) -> socket.socket:
    """Return a socket that listens on the loopback. Raises ModelUnavailable for a taken port."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
    except OSError as error:
        listener.close()
        raise ModelUnavailable(
            f"port {port} cannot be used ({error.strerror}); take another one: --port 0"
        ) from None
    return listener
