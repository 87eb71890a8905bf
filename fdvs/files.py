"""Files of others that are read within bounds, files that `with` closes, and files that are written
whole or not at all."""

from __future__ import annotations

import errno
import os
import stat
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

# How files of others are opened: a named pipe without a writer must not hold us, and Windows must
# not change line ends. A system that lacks a flag has no use for it.
READ_FLAGS = os.O_RDONLY
for _flag in ("O_NONBLOCK", "O_CLOEXEC", "O_BINARY", "O_NOINHERIT"):
    READ_FLAGS |= getattr(os, _flag, 0)


def read_regular(path: Path, *, max_bytes: int) -> bytes:
    """Return the content of a regular file; a pipe, a device or a folder is never waited for.

    Raises OSError: EINVAL for anything but a regular file, EFBIG for more than `max_bytes`, which
    are not read, and what the system says about a file that cannot be opened.
    """
    handle = os.open(path, READ_FLAGS)
    found = os.fstat(handle)
    if not stat.S_ISREG(found.st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    with open(handle, "rb") as file:
        content = file.read(max_bytes + 1) if found.st_size <= max_bytes else None
    if content is None or len(content) > max_bytes:
        raise OSError(errno.EFBIG, f"over {max_bytes} bytes", str(path))
    return content


class Closing:
    """Mixin: adds `with` to a class that has `close()`."""

    def close(self) -> None:
        """Release what is open; closing twice is allowed."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def write_whole(path: Path, content: bytes | str) -> None:
    """Write a file (text as UTF-8) by a temporary one beside it: no reader sees half of it.

    The folder is created if needed. Raises OSError, and leaves nothing behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.tmp")
    try:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def is_jpeg(path: Path) -> bool:
    """Whether a file begins and ends as a JPEG does; nothing between is looked at."""
    try:
        with path.open("rb") as file:
            if file.read(2) != b"\xff\xd8":
                return False
            file.seek(-2, os.SEEK_END)
            return file.read(2) == b"\xff\xd9"
    except OSError:
        return False
