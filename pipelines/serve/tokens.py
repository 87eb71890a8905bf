"""The token of a server, which lasts: in a file that only its owner reads, or FDVS_TOKEN.

It lasts so that agents and programs need no new entry at every start, and open pages survive one.
"""

from __future__ import annotations

import os
import re
import secrets
import stat
import sys
from pathlib import Path

from fdvs.errors import InvalidValue, StoreError
from fdvs.files import READ_FLAGS

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
    number = os.open(path, READ_FLAGS | getattr(os, "O_NOFOLLOW", 0))
    with os.fdopen(number, "rb") as file:
        status = os.fstat(number)
        if not stat.S_ISREG(status.st_mode) or not _is_only_ours(status):
            raise StoreError(
                f"the token {path} may be known to others (mode {stat.S_IMODE(status.st_mode):o}); "
                "delete it, and the server makes a new one"
            )
        return file.read(MAX_CHARS + 2).decode("ascii", "replace").strip()


def _is_only_ours(status: os.stat_result) -> bool:
    """Whether a file is this user's and closed to others. On Windows, the folder's rights say so:
    that of the cache is the user's own."""
    if sys.platform == "win32":
        return True
    return status.st_uid == os.geteuid() and not status.st_mode & 0o077


def _make(path: Path) -> None:
    """Write a token whole or not at all; another server may do the same now."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    number = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(number, "w") as file:
            file.write(new_token() + "\n")
        try:
            os.link(part, path)
        except FileExistsError:
            return
    finally:
        part.unlink()
