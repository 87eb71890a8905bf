"""Read annotation files: sizes bounded, JSON and CSV checked, every field by type and range.

Nothing is extracted to disk, nothing is evaluated. A file is read once and whole, so that what was
checked is what is used. Every fault is one DataError with file, record and what was expected.
"""

from __future__ import annotations

import csv
import errno
import io
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

from fdvs.errors import DataError
from fdvs.excerpts import shown
from fdvs.files import read_regular

# The largest official annotation file of the datasets here has 44 MB.
MAX_BYTES = 128 * 2**20
MAX_ROWS = 500_000
MAX_CHARS = 20_000
# Ids name videos on disk: letters, digits and the marks that the datasets use, no path.
_ID = re.compile(r"[\w@-][\w@.+-]{0,159}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufffd]+")


def plain_text(text: str) -> str:
    """Return text on one line; runs of spaces, control and invisible characters become a space."""
    return " ".join(_CONTROL.sub(" ", text).split())


class Record:
    """A mapping that is read field by field, with the type and range each must have.

    `where` names file and place in errors. With `is_text` the values are cells of a CSV file, and
    numbers are parsed from them.
    """

    def __init__(self, value: Any, *, where: str, is_text: bool = False) -> None:
        if not isinstance(value, dict):
            raise DataError(f"{where}: {type(value).__name__}; expected an object with fields")
        self._value = value
        self._is_text = is_text
        self.where = where

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the fields present, in the order of the file."""
        return tuple(self._value)

    def fault(self, field: str, expected: str) -> DataError:
        """Return an error that says what was expected of `field`."""
        if field not in self._value:
            return DataError(f"{self.where}: no field {field!r}; expected {expected}")
        value = plain_text(shown(self._value[field]))
        value = value if len(value) <= 60 else value[:57] + "..."
        return DataError(f"{self.where}: {field} is {value}; expected {expected}")

    def text(self, field: str) -> str:
        """Return a text of 1 to MAX_CHARS characters on one line."""
        value = self._value.get(field)
        if not isinstance(value, str):
            raise self.fault(field, "a text")
        text = plain_text(value)
        if not 1 <= len(text) <= MAX_CHARS:
            raise self.fault(field, f"a text of 1 to {MAX_CHARS} characters")
        return text

    def name(self, field: str) -> str:
        """Return an id: letters, digits and @ . _ + -, at most 160, no path."""
        value = self._value.get(field)
        return check_id(value, where=f"{self.where}: {field}")

    def integer(self, field: str, *, low: int, high: int) -> int:
        """Return a whole number in low..high, both included."""
        value = self._value.get(field)
        if self._is_text and isinstance(value, str) and re.fullmatch(r"\s*-?\d{1,18}\s*", value):
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise self.fault(field, f"a whole number from {low} to {high}")
        return value

    def number(self, field: str, *, low: float, high: float) -> float:
        """Return a finite number in low..high, both included."""
        value: Any = self._value.get(field)
        if self._is_text and isinstance(value, str):
            value = parse_number(value)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not low <= value <= high:
            raise self.fault(field, f"a number from {low:g} to {high:g}")
        return float(value)

    def sequence(self, field: str) -> list[Any]:
        """Return a list with at least one element."""
        value = self._value.get(field)
        if not isinstance(value, list) or not value:
            raise self.fault(field, "a list with elements")
        return value

    def one_of(self, field: str, allowed: Sequence[str]) -> str:
        """Return a text that is one of `allowed`."""
        value = self.text(field)
        if value not in allowed:
            raise self.fault(field, f"one of {', '.join(allowed)}")
        return value

    def span(self, start: str, end: str, *, high: float) -> tuple[float, float]:
        """Return [start, end) in seconds from two fields; the end must come after the start."""
        start_s = self.number(start, low=0, high=high)
        end_s = self.number(end, low=0, high=high)
        if not start_s < end_s:
            raise self.fault(end, f"a time after {start} ({start_s:g})")
        return start_s, end_s


def check_id(value: Any, *, where: str) -> str:
    """Return an id that can name a video on disk. Raises DataError."""
    if not isinstance(value, str) or not _ID.fullmatch(value.strip()):
        found = plain_text(shown(value))[:60]
        raise DataError(f"{where} is {found}; expected an id of letters, digits, @ . _ + -")
    return value.strip()


def parse_number(text: str) -> float | None:
    """Return the number in a plain decimal text; None for anything else, `nan` and `1e5` too."""
    return float(text) if re.fullmatch(r"\s*-?\d{1,15}(\.\d{1,15})?\s*", text) else None


def read_bytes(path: Path, *, max_bytes: int = MAX_BYTES) -> bytes:
    """Return the content of a regular file of at most `max_bytes`. Raises DataError."""
    try:
        return read_regular(path, max_bytes=max_bytes)
    except OSError as error:
        own = error.errno in (errno.EINVAL, errno.EFBIG)
        advice = "the dataset's own file" if own else "a readable file"
        raise DataError(f"{path}: {error.strerror}; give {advice}") from None


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
    """Return a JSON file's value; a repeated key in an object is an error."""
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
