"""A log of results on disk: append-only JSON lines that survive `kill -9`; the next run goes on.

The first line holds the settings that the results were made with; every other line is one record
with an `id`, for example an answer or a prediction. Each line is written and flushed at once, so a
killed process leaves at most its last line unfinished; that line is dropped when the file is opened
again. Records made with different settings are never mixed: opening is refused, or the old file is
put aside.

The file holds what models said about somebody's data: it belongs to whoever ran the command.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Literal

from filelock import FileLock, Timeout

from fdvs.errors import ConfigError, CorruptLibrary, LibraryBusy
from fdvs.files import Closing
from fdvs.fingerprint import canonical_json, digest

logger = logging.getLogger(__name__)

VERSION = 1
HEADER_KEY = "fdvs_predictions"
MAX_LINE_BYTES = 4_000_000
NUM_DIFFERENCES_SHOWN = 5

OnChange = Literal["refuse", "start over"]
Record = Mapping[str, Any]


class RecordLog(Closing):
    """An open log; a context manager, with one writer at a time.

    `done` holds the records by id, those of earlier runs included; `num_resumed` counts these.
    """

    def __init__(
        self, path: Path, file: IO[bytes], lock: FileLock, done: dict[str, Record]
    ) -> None:
        self.path = path
        self._lock = lock
        self.done = done
        self.num_resumed = len(done)
        self._file = file

    def __contains__(self, item_id: str) -> bool:
        return item_id in self.done

    def add(self, record: Record) -> None:
        """Append one record; its `id` must be new.

        Raises ValueError for a missing, non-text or repeated id, for NaN and for a record over
        4 MB; TypeError for values that JSON cannot hold.
        """
        item_id = record.get("id")
        if not isinstance(item_id, str) or item_id in self.done:
            raise ValueError(f"a record's id is {item_id!r}; need a text that is not there yet")
        line = _line(record)
        self._file.write(line)
        self._file.flush()
        # keep what a later run will read, not the caller's object
        self.done[item_id] = json.loads(line)

    def close(self) -> None:
        """Flush everything to disk and close the file. May be called twice."""
        if not self._file.closed:
            os.fsync(self._file.fileno())
            self._file.close()
            self._lock.release()


def open_records(
    path: Path, *, settings: Mapping[str, Any], on_change: OnChange = "refuse"
) -> RecordLog:
    """Open a log for writing and read the records that it already holds.

    Args:
        path: the file; created with its folders where missing.
        settings: everything that can change a record; plain JSON values.
        on_change: what to do with records made with other settings: refuse, or rename the file
            with `.old` appended (replacing a file of that name) and start over.

    Raises:
        ConfigError: made with other settings (names them), or the file cannot be written.
        CorruptLibrary: not such a log, or damaged before its last line.
        LibraryBusy: another process is writing it.
    """
    lock = _locked(path)
    try:
        file, done = _opened(path, settings, on_change)
    except BaseException:
        lock.release()
        raise
    logger.info("%s: %d records found", path, len(done))
    return RecordLog(path, file, lock, done)


def _opened(
    path: Path, settings: Mapping[str, Any], on_change: OnChange
) -> tuple[IO[bytes], dict[str, Record]]:
    file: IO[bytes] = path.open("a+b")
    try:
        found = _read(path, file)
        changed = "" if found is None else _difference(found[0], settings)
        if changed and on_change == "refuse":
            raise ConfigError(
                f"{path} holds results made with other settings ({changed}); "
                "name another file, or start over"
            )
        if changed:
            file.close()
            file = _put_aside(path)
        done = {} if found is None or changed else found[1]
        if not done and not file.tell():
            file.write(_line(_header(settings)))
            file.flush()
    except BaseException:
        file.close()
        raise
    return file, done


def read_records(path: Path) -> tuple[dict[str, Any], dict[str, Record]]:
    """Return the settings and the records by id, without opening for writing.

    Raises CorruptLibrary.
    """
    with path.open("rb") as file:
        found = _read(path, file)
    if found is None:
        raise CorruptLibrary(f"{path} is empty; remove it and run the command again")
    return found


def _locked(path: Path) -> FileLock:
    """Return the held lock of a log: a file of its own, so that Windows lets the log be read."""
    lock = FileLock(path.with_name(f".{path.name}.lock"), is_singleton=False)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.open("a+b").close()
        lock.acquire(timeout=0)
    except Timeout:
        raise LibraryBusy(
            f"{path} is being written by another process; wait for it or name another file"
        ) from None
    except OSError as error:
        reason = error.strerror or error
        raise ConfigError(f"cannot write {path}: {reason}; name another file") from None
    return lock


def _put_aside(path: Path) -> IO[bytes]:
    old = path.with_name(path.name + ".old")
    os.replace(path, old)
    logger.warning("%s: made with other settings; kept as %s", path, old.name)
    return path.open("a+b")


def _header(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {HEADER_KEY: VERSION, "fingerprint": digest(settings)[:32], "settings": dict(settings)}


def _line(value: Record) -> bytes:
    line = (canonical_json(value) + "\n").encode("ascii")
    if len(line) > MAX_LINE_BYTES:
        raise ValueError(f"a record of {len(line)} bytes; at most {MAX_LINE_BYTES}")
    return line


def _read(path: Path, file: IO[bytes]) -> tuple[dict[str, Any], dict[str, Record]] | None:
    """Return settings and records, and cut off an unfinished last line; None for an empty file."""
    file.seek(0)
    settings: dict[str, Any] | None = None
    done: dict[str, Record] = {}
    for number, value in _values(path, file):
        if settings is None:
            settings = _settings_of(path, value)
            continue
        item_id = value.get("id")
        if not isinstance(item_id, str) or item_id in done:
            raise _corrupt(path, number, f"id {item_id!r} is not a text, or appears twice")
        done[item_id] = value
    return None if settings is None else (settings, done)


def _values(path: Path, file: IO[bytes]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the number and object of each complete line, and truncate the file after the last."""
    number = end = 0
    while line := file.readline(MAX_LINE_BYTES + 1):
        number += 1
        if len(line) > MAX_LINE_BYTES:
            raise _corrupt(path, number, f"longer than {MAX_LINE_BYTES} bytes")
        if not line.endswith(b"\n"):
            logger.warning("%s: line %d was unfinished and is dropped", path, number)
            break
        yield number, _object(path, number, line)
        end = file.tell()
    if file.writable():
        file.truncate(end)
        file.seek(end)


def _object(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        value = json.loads(line, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise _corrupt(path, number, "not JSON") from None
    if not isinstance(value, dict):
        raise _corrupt(path, number, "not a JSON object")
    return value


def _refuse(name: str) -> float:
    raise ValueError(name)


def _settings_of(path: Path, header: Record) -> dict[str, Any]:
    settings, version = header.get("settings"), header.get(HEADER_KEY)
    if not isinstance(settings, dict) or version != VERSION:
        raise _corrupt(path, 1, f"no header of version {VERSION}")
    if header.get("fingerprint") != digest(settings)[:32]:
        raise _corrupt(path, 1, "the settings were changed after they were written")
    return settings


def _corrupt(path: Path, number: int, why: str) -> CorruptLibrary:
    return CorruptLibrary(
        f"{path}, line {number}: {why}; restore the file, or remove it and start over"
    )


def _difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """Return which settings differ, as canonical JSON; empty where none does."""
    changes = []
    for key in sorted({*old, *new}):
        was, now = (canonical_json(side[key]) if key in side else "none" for side in (old, new))
        if was != now:
            changes.append(f"{key} was {was[:80]}, is {now[:80]}")
    more = len(changes) - NUM_DIFFERENCES_SHOWN
    return "; ".join(changes[:NUM_DIFFERENCES_SHOWN]) + (f"; and {more} more" if more > 0 else "")
