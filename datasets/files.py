"""Reading what others published: sizes bounded, JSON and CSV checked, every fault one DataError.

Nothing is extracted to disk, nothing is evaluated. A file is read once and whole, so that what
was checked is what is used.
"""

from __future__ import annotations

import csv
import io
import json
import os
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

from fdvs.datasets.errors import DataError
from fdvs.datasets.records import Record

# The largest official annotation file of the datasets here has 44 MB.
MAX_BYTES = 128 * 2**20
MAX_ROWS = 500_000


def read_bytes(path: Path, *, max_bytes: int = MAX_BYTES) -> bytes:
    """Return the content of a regular file of at most `max_bytes`. Raises DataError."""
    try:
        # O_NONBLOCK: a named pipe without a writer must not hold us.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}; give a readable file") from None
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise DataError(f"{path}: not a regular file; give the dataset's own file")
    with open(handle, "rb") as file:
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise DataError(f"{path}: over {max_bytes} bytes; give the dataset's own file")
    return content


def read_text(path: Path, *, max_bytes: int = MAX_BYTES) -> str:
    """Return a UTF-8 file's text, without a byte order mark. Raises DataError."""
    return decode(read_bytes(path, max_bytes=max_bytes), where=str(path))


def decode(content: bytes, *, where: str) -> str:
    """Return UTF-8 bytes as text; `where` names them in the error."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{where}: byte {error.start} is not UTF-8; download the file anew"
        ) from None


def read_json(path: Path, *, max_bytes: int = MAX_BYTES) -> Any:
    """Return a JSON file's value; a key that stands twice in an object is an error."""
    return parse_json(read_text(path, max_bytes=max_bytes), where=str(path))


def parse_json(text: str, *, where: str) -> Any:
    """Return the value of JSON text. Raises DataError with line and reason."""

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(items)
        if len(made) < len(items):
            twice = next(key for key, times in Counter(k for k, _ in items).items() if times > 1)
            raise DataError(f"{where}: key {twice[:80]!r} twice in one object; each id once")
        return made

    def refuse(constant: str) -> NoReturn:
        raise DataError(f"{where}: {constant} is no number of JSON")

    try:
        return json.loads(text, object_pairs_hook=pairs, parse_constant=refuse)
    except json.JSONDecodeError as error:
        raise DataError(
            f"{where}, line {error.lineno}: not JSON ({error.msg}); download the file anew"
        ) from None
    except (ValueError, RecursionError):
        raise DataError(f"{where}: numbers too long or nested too deep for a dataset") from None


def json_object(value: Any, *, where: str) -> dict[str, Any]:
    """Return `value`, an object with at least one key. Raises DataError."""
    if not isinstance(value, dict) or not value:
        raise DataError(f"{where}: {_kind(value)}; expected an object {{id: record}}")
    return value


def json_list(value: Any, *, where: str) -> list[Any]:
    """Return `value`, a list of at least one record. Raises DataError."""
    if not isinstance(value, list) or not value:
        raise DataError(f"{where}: {_kind(value)}; expected a list of records")
    return value


def json_records(path: Path) -> Iterator[Record]:
    """Yield the records of a file that is one list of objects."""
    for number, value in enumerate(json_list(read_json(path), where=str(path)), start=1):
        yield Record(value, where=f"{path}, record {number}")


def csv_records(path: Path, columns: Sequence[str]) -> Iterator[Record]:
    """Yield the rows of a CSV file as records; the header must hold `columns`, any order."""
    number = 0
    reader = csv.reader(io.StringIO(read_text(path), newline=""), strict=True)
    try:
        header = [cell.strip() for cell in next(reader, [])]
        _check_header(header, columns, path)
        for number, cells in enumerate(reader, start=1):
            where = f"{path}, line {reader.line_num}"
            if number > MAX_ROWS:
                raise DataError(f"{where}: over {MAX_ROWS} rows; give the dataset's own file")
            if len(cells) != len(header):
                raise DataError(f"{where}: {len(cells)} cells; the header has {len(header)}")
            yield Record(dict(zip(header, cells, strict=True)), where=where, is_text=True)
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: not CSV ({error})") from None
    if not number:
        raise DataError(f"{path}: no row below the header; give the dataset's own file")


def _check_header(header: Sequence[str], columns: Sequence[str], path: Path) -> None:
    if missing := [name for name in columns if name not in header]:
        raise DataError(
            f"{path}: no column {', '.join(missing)}; expected {', '.join(columns)}, "
            f"found {', '.join(header)[:200] or 'nothing'}"
        )
    if twice := [name for name in columns if header.count(name) > 1]:
        raise DataError(f"{path}: column {', '.join(twice)} twice; expected once")


def _kind(value: Any) -> str:
    if isinstance(value, dict | list) and not value:
        return "nothing in it"
    if isinstance(value, dict):
        return "an object"
    return "a list" if isinstance(value, list) else type(value).__name__
