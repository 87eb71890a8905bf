"""Errors as a client is told them (RFC 9457): what it can do, no folder of this machine."""

from __future__ import annotations

import logging
import secrets
from http import HTTPStatus
from typing import Any

from fastapi.responses import JSONResponse
from pydantic import TypeAdapter
from typing_extensions import TypedDict

from fdvs.errors import (
    BadModelOutput,
    FdvsError,
    FileGone,
    InvalidValue,
    LibraryBusy,
    ModelUnavailable,
    NotAllowed,
    NotFound,
    TooMany,
    UnknownName,
)


class ProblemJson(TypedDict):
    """An error; `type` is urn:fdvs:problem:NAME for those of FDVS, `instance` is in the log."""

    type: str
    title: str
    status: int
    detail: str
    instance: str


logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
# of every route: what is told of an error, for its description
RESPONSES: dict[int | str, dict[str, Any]] = {
    code: {
        "description": told,
        "content": {MEDIA_TYPE: {"schema": TypeAdapter(ProblemJson).json_schema()}},
    }
    for code, told in (("422", "A value that is not allowed"), ("default", "Any other error"))
}
MAX_DETAIL_CHARS = 2000
BUSY = "the library is being built or repaired; try again when that is done"
OURS = "see the server's log"
# what an error is to a client, the first that fits; all others are faults of this side
STATUS: tuple[tuple[type[Exception], int], ...] = (
    (FileGone, 410), (NotFound, 404), (InvalidValue, 422), (UnknownName, 422), (NotAllowed, 403),
    (TooMany, 429), (LibraryBusy, 409), (ModelUnavailable, 503), (BadModelOutput, 502),
)  # fmt: skip


def status_of(error: Exception) -> int:
    """Return the status of an error, 500 where it is a fault of this side."""
    return next((code for kind, code in STATUS if isinstance(error, kind)), 500)


def told(error: Exception, status: int) -> str:
    """Return an error as one line for a client; what is a fault of this side tells no detail."""
    if status == HTTPStatus.INTERNAL_SERVER_ERROR:
        return OURS
    if isinstance(error, LibraryBusy):  # its own words name the folder
        return BUSY
    return " ".join(str(error).split())[:MAX_DETAIL_CHARS]


def problem(error: Exception, *, status: int | None = None) -> JSONResponse:
    """Return an error as a problem; `instance` is in the log, with all that happened."""
    found = status or status_of(error)
    number = f"urn:fdvs:request:{secrets.token_hex(6)}"
    is_ours = found == HTTPStatus.INTERNAL_SERVER_ERROR
    logger.log(
        logging.ERROR if is_ours else logging.INFO,
        "%s: %s: %s",
        number,
        type(error).__name__,
        error,
    )
    is_named = isinstance(error, FdvsError) and not is_ours
    content = {
        "type": f"urn:fdvs:problem:{type(error).__name__}" if is_named else "about:blank",
        "title": type(error).__name__ if is_named else HTTPStatus(found).phrase,
        "status": found,
        "detail": told(error, found),
        "instance": number,
    }
    headers = {"Retry-After": str(error.after_s)} if isinstance(error, TooMany) else {}
    return JSONResponse(content, status_code=found, media_type=MEDIA_TYPE, headers=headers)
