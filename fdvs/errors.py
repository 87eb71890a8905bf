"""The errors that FDVS raises on purpose; any other is a bug.

FdvsError
|- MediaError               a file: reported as the reason of its row, other files continue
|  |- MissingVideo          no such file, not a regular file, not readable
|  |- NotAVideo             no video stream, not an allowed container, text, empty
|  `- UndecodableVideo      opened, but no frame could be decoded
|- ModelError               a model
|  |- ModelUnavailable      weights or package missing: says what to install or fetch
|  `- BadModelOutput        the model's output cannot be used
|- StoreError               the library on disk
|  |- LibraryBusy           another process is building it
|  |  `- TooMany            too much is asked for at once: try again in a moment
|  |- LibraryMissing        no library at this path
|  `- CorruptLibrary        its content is damaged
|- ConfigError              the user's settings
|  |- UnknownName           with near matches
|  `- InvalidValue          field, value and what is allowed
|- NotFound                 no such video in the library
|  `- FileGone              its file is gone, or another one lies there
|- NotAllowed               not on this server, as it was started
|- Stopped                  whoever asked wanted it to stop
`- DataError                a benchmark's files
   |- AbsentData            not in the folder
   `- PartialData           fewer records than the official files, and that was not allowed

Every message names the value, what was allowed and the next step.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from fdvs.excerpts import MAX_PLACE_CHARS, shortened, shown


class FdvsError(Exception):
    """Base of every error that FDVS raises on purpose."""


class MediaError(FdvsError):
    """A video cannot be used; the message is one line and becomes the row's reason."""


class MissingVideo(MediaError):
    """The file does not exist, is not a regular file or cannot be read."""


class NotAVideo(MediaError):
    """The file has no video stream in an allowed container."""


class UndecodableVideo(MediaError):
    """The container could be opened, but no frame decoded."""


class ModelError(FdvsError):
    """A model could not be loaded or did not answer."""


class ModelUnavailable(ModelError):
    """Weights or a package are missing; the message says how to get them."""


class BadModelOutput(ModelError):
    """A model's reply cannot be used; carries an excerpt of it."""


class StoreError(FdvsError):
    """The library on disk cannot be used."""


class LibraryBusy(StoreError):
    """Another process holds the library's build lock."""


class TooMany(LibraryBusy):
    """Too much is asked for at once; `after_s` seconds later there may be room."""

    def __init__(self, message: str, *, after_s: int = 5) -> None:
        super().__init__(message)
        self.after_s = after_s


class LibraryMissing(StoreError):
    """There is no library at the path."""


class CorruptLibrary(StoreError):
    """The library's content is damaged."""


class ConfigError(FdvsError):
    """A setting is wrong."""


class UnknownName(ConfigError):
    """An unknown name; the message suggests near ones."""

    def __init__(self, kind: str, name: str, known: Iterable[str], *, where: str = "") -> None:
        known, name = sorted(known), shortened(name)
        where = shortened(where, MAX_PLACE_CHARS)
        near = difflib.get_close_matches(name, known, n=3)
        hint = f" Did you mean {' or '.join(near)}?" if near else ""
        place = f" in {where}" if where else ""
        super().__init__(f"unknown {kind} {name!r}{place}.{hint} Known: {', '.join(known)}")


class InvalidValue(ConfigError):
    """A value outside what its field allows."""

    def __init__(self, field: str, value: object, allowed: str) -> None:
        super().__init__(
            f"{shortened(field, MAX_PLACE_CHARS)} is {shown(value)}; allowed: {allowed}"
        )


class NotFound(FdvsError):
    """No video of the library has this name or id."""


class FileGone(NotFound):
    """The file of a video is gone, or was written since it was built."""


class NotAllowed(FdvsError):
    """A server was started so that this cannot be done there."""


class Stopped(FdvsError):
    """The caller wanted the work to stop; raised as it is by whatever was at work."""

    def __init__(self, message: str = "stopped, as was asked for") -> None:
        super().__init__(message)


class DataError(FdvsError):
    """A dataset's file is missing, malformed, or of another dataset or split."""


class AbsentData(DataError):
    """The dataset's files are not in the folder."""


class PartialData(DataError):
    """The files hold fewer records than the official ones, and partial files were not allowed."""


def how_to_install(extra: str = "") -> str:
    """Return what to type, in the folder of the checkout, to install an optional part of FDVS."""
    return "run in the FDVS checkout: scripts/install" + (f" --with {extra}" if extra else "")
