"""One record of a dataset's file, read field by field with the type and range each must have."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from fdvs.datasets.errors import DataError

MAX_CHARS = 20_000
# Ids name videos on disk: letters, digits and the marks that the datasets use, no path.
_ID = re.compile(r"[\w@-][\w@.+-]{0,159}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufffd]+")


def plain_text(text: str) -> str:
    """Return text on one line: control and invisible characters and double spaces become one."""
    return " ".join(_CONTROL.sub(" ", text).split())


class Record:
    """A mapping whose fields are asked for by type; `where` is file and place for the errors.

    With `is_text` all values are cells of a CSV file, and numbers are parsed from them.
    """

    def __init__(self, value: Any, *, where: str, is_text: bool = False) -> None:
        if not isinstance(value, dict):
            raise DataError(f"{where}: {type(value).__name__}; expected an object with fields")
        self._value = value
        self._is_text = is_text
        self.where = where

    @property
    def fields(self) -> tuple[str, ...]:
        """The names of the fields that are there, in the order of the file."""
        return tuple(self._value)

    def fault(self, field: str, expected: str) -> DataError:
        """Return the error that `field` is not what was expected."""
        if field not in self._value:
            return DataError(f"{self.where}: no field {field!r}; expected {expected}")
        shown = plain_text(repr(self._value[field]))
        shown = shown if len(shown) <= 60 else shown[:57] + "..."
        return DataError(f"{self.where}: {field} is {shown}; expected {expected}")

    def text(self, field: str, *, min_chars: int = 1, max_chars: int = MAX_CHARS) -> str:
        """Return a text of min_chars..max_chars characters on one line."""
        value = self._value.get(field)
        if not isinstance(value, str):
            raise self.fault(field, "a text")
        text = plain_text(value)
        if not min_chars <= len(text) <= max_chars:
            raise self.fault(field, f"a text of {min_chars} to {max_chars} characters")
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
        value = self._value.get(field)
        if self._is_text and isinstance(value, str):
            value = parse_number(value)
        return check_number(value, low=low, high=high, fault=self.fault, field=field)

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
        shown = plain_text(repr(value))[:60]
        raise DataError(f"{where} is {shown}; expected an id of letters, digits, @ . _ + -")
    return value.strip()


def parse_number(text: str) -> float | None:
    """Return the number that a plain decimal text says, else None; also for `nan` and `1e5`."""
    return float(text) if re.fullmatch(r"\s*-?\d{1,15}(\.\d{1,15})?\s*", text) else None


def check_number(value: Any, *, low: float, high: float, fault: Any, field: str) -> float:
    """Return a number in low..high, so no NaN; `fault(field, expected)` makes the error."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not low <= value <= high:
        raise fault(field, f"a number from {low:g} to {high:g}")
    return float(value)
