"""The token of a server, which lasts: in a file that only its owner reads, or FDVS_TOKEN.

It lasts so that agents and programs need no new entry at every start, and open pages survive one.
"""

from __future__ import annotations

import os
import re
import secrets
import stat
from pathlib import Path

from fdvs.errors import InvalidValue, StoreError

VARIABLE = "FDVS_TOKEN"
FILE_NAME = "serve.token"
MIN_CHARS = 16
FAR_CHARS = 32  # where other machines may ask
MAX_CHARS = 200
FORM = re.compile(rf"[A-Za-z0-9._~-]{{{MIN_CHARS},{MAX_CHARS}}}")
ALLOWED = f"{MIN_CHARS} to {MAX_CHARS} letters, digits and . _ ~ -"


def new_token() -> str:
    """Return a fresh token."""
    return secrets.token_urlsafe(24)


def checked(token: str, place: str) -> str:
    """Return a token. Raises InvalidValue, which does not show it, for one of another form."""
    if not FORM.fullmatch(token):
        raise InvalidValue(place, f"{len(token)} characters", ALLOWED)
    return token


def token_of(path: Path) -> str:
    """Return the token of a file, which is made where there is none.

    Raises StoreError for a file that others may read or own, InvalidValue for one of another form.
    """
    try:
        return checked(_read(path), str(path))
    except FileNotFoundError:
        pass
    except OSError as error:
        raise StoreError(f"the token {path} cannot be read: {error.strerror}") from error
    try:
        _make(path)
        return checked(_read(path), str(path))
    except OSError as error:
        raise StoreError(f"the token {path} cannot be written: {error.strerror}") from error


def _read(path: Path) -> str:
    number = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(number, "rb") as file:
        status = os.fstat(number)
        is_ours = stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid()
        if not is_ours or status.st_mode & 0o077:
            raise StoreError(
                f"the token {path} may be known to others (mode {stat.S_IMODE(status.st_mode):o}); "
                "delete it, and the server makes a new one"
            )
        return file.read(MAX_CHARS + 2).decode("ascii", "replace").strip()


def _make(path: Path) -> None:
    """Write a token whole or not at all; another server may do the same now."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    number = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(number, "w") as file:
            file.write(new_token() + "\n")
        try:
            os.link(part, path)
        except FileExistsError:
            return
    finally:
        part.unlink()
