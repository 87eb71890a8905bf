"""The header of a GGUF file, checked against the file's size before any package reads it.

Counts and lengths are numbers in the file: those of a cut or garbled one send a reader out of it
or round and round. Format: versions 2 and 3 of github.com/ggml-org/ggml/blob/master/docs/gguf.md,
little endian.
"""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import BinaryIO, NamedTuple

from fdvs.errors import ModelError
from fdvs.excerpts import shown
from fdvs.models.weights.manifests import check_no_holes

MAGIC = b"GGUF"
VERSIONS = (2, 3)
MAX_FIELDS = 100_000
MAX_TENSORS = 100_000
MAX_ITEMS = 5_000_000  # the largest vocabularies have about 300,000 words
MAX_TEXT_BYTES = 1 << 24
MAX_ALIGNMENT = 1 << 16
MAX_DIMENSIONS = 4
# Sizes that a file declares, the last part of their names: layers, and sides of tensors.
BLOCKS = "block_count"
SIZES = (
    *(BLOCKS, "embedding_length", "feed_forward_length", "head_count", "head_count_kv"),
    *("key_length", "value_length", "vocab_size"),
)

# The types of values by number: struct's letter, a text, or an array.
_SCALARS = dict(enumerate("BbHhIif?")) | {10: "Q", 11: "q", 12: "d"}
_TEXT, _ARRAY = 8, 9


class GgufHeader(NamedTuple):
    """Scalar fields and texts by name, arrays left out, and the shape of each tensor."""

    fields: dict[str, int | float | bool | str]
    shapes: dict[str, tuple[int, ...]]


def read_gguf_header(path: Path) -> GgufHeader:
    """Return a GGUF file's header. Raises ModelError, which names the file and what is wrong."""
    try:
        with path.open("rb") as file:
            return _Header(file, path.stat().st_size).read()
    except (_Wrong, OSError, UnicodeDecodeError) as error:
        raise ModelError(
            f"{path} cannot be read: it is cut short, damaged or no GGUF file ({error}); copy or "
            "download it again"
        ) from None


def check_gguf(file: Path) -> None:
    """Raise ModelError where a GGUF file is cut short, or declares sizes that it does not hold."""
    fields, shapes = read_gguf_header(file)
    check_no_holes(file)
    widest = max((side for shape in shapes.values() for side in shape), default=0)
    for name, value in fields.items():
        key = name.rpartition(".")[2]
        if name.startswith("general.") or key not in SIZES or not isinstance(value, int):
            continue
        most = len(shapes) if key == BLOCKS else widest
        if not 1 <= value <= most:
            raise ModelError(
                f"{file}: {name} is {value}, but it holds {len(shapes)} tensors of at most "
                f"{widest} a side; copy or download it again"
            )


class _Wrong(Exception):
    """What is wrong with a header."""


class _Header:
    """Reads a header from front to back, never beyond the file's end."""

    def __init__(self, file: BinaryIO, size_bytes: int) -> None:
        self._file, self._size_bytes = file, size_bytes
        self._num_items = 0

    def read(self) -> GgufHeader:
        if self._bytes(4) != MAGIC:
            raise _Wrong("it does not begin with GGUF")
        version, num_tensors, num_fields = self._numbers("IQQ")
        if version not in VERSIONS:
            raise _Wrong(f"version {version}; allowed: 2, 3")
        if num_tensors > MAX_TENSORS or num_fields > MAX_FIELDS:
            raise _Wrong(f"it declares {num_tensors} tensors and {num_fields} fields")
        fields: dict[str, int | float | bool | str] = {}
        for _ in range(num_fields):
            name = self._text()
            (kind,) = self._numbers("I")
            value = self._value(kind)
            if value is not None:
                fields[name] = value
        places = [self._tensor() for _ in range(num_tensors)]
        self._check_places(places, fields.get("general.alignment", 32))
        return GgufHeader(fields, {name: shape for name, shape, _, _ in places})

    def _check_places(
        self, places: list[tuple[str, tuple[int, ...], int, int]], alignment: object
    ) -> None:
        """Raise _Wrong where a tensor does not lie in the file."""
        if not isinstance(alignment, int) or not 0 < alignment <= MAX_ALIGNMENT:
            raise _Wrong(f"general.alignment is {shown(alignment)}")
        start = -(-self._file.tell() // alignment) * alignment
        for name, shape, kind, offset in places:
            end = start + offset + num_bytes(shape, kind)
            if end > self._size_bytes:
                raise _Wrong(
                    f"tensor {shown(name)} ends at byte {end}, the file at {self._size_bytes}"
                )

    def _tensor(self) -> tuple[str, tuple[int, ...], int, int]:
        """Return name, shape, kind and offset (bytes from the first tensor) of a tensor."""
        name = self._text()
        (num_dimensions,) = self._numbers("I")
        if not 1 <= num_dimensions <= MAX_DIMENSIONS:
            raise _Wrong(f"tensor {shown(name)} has {num_dimensions} dimensions")
        shape = self._numbers("Q" * num_dimensions)
        kind, offset = self._numbers("IQ")
        return name, shape, kind, offset

    def _value(self, kind: int, *, in_array: bool = False) -> int | float | bool | str | None:
        """Read a value; None for an array, whose items are skipped."""
        if kind == _TEXT:
            return self._text()
        if kind in _SCALARS:
            return self._numbers(_SCALARS[kind])[0]  # type: ignore[no-any-return]
        if kind != _ARRAY or in_array:
            raise _Wrong(f"a value of the unknown type {kind}")
        item_kind, num_items = self._numbers("IQ")
        self._num_items += num_items
        if self._num_items > MAX_ITEMS:
            raise _Wrong(f"arrays of {self._num_items} items")
        if item_kind in _SCALARS:
            self._bytes(num_items * struct.calcsize("<" + _SCALARS[item_kind]))
        else:
            for _ in range(num_items):
                self._value(item_kind, in_array=True)
        return None

    def _text(self) -> str:
        (num_bytes,) = self._numbers("Q")
        if num_bytes > MAX_TEXT_BYTES:
            raise _Wrong(f"a text of {num_bytes} bytes")
        return self._bytes(num_bytes).decode("utf-8")

    def _numbers(self, letters: str) -> tuple[int, ...]:
        layout = "<" + letters
        return struct.unpack(layout, self._bytes(struct.calcsize(layout)))

    def _bytes(self, num_bytes: int) -> bytes:
        if num_bytes > self._size_bytes - self._file.tell():
            raise _Wrong(f"it ends at byte {self._size_bytes}, within its header")
        return self._file.read(num_bytes)


def num_bytes(shape: tuple[int, ...], kind: int) -> int:
    """Return the size in bytes of a tensor of a GGML type, by number."""
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

    try:
        block, size = GGML_QUANT_SIZES[GGMLQuantizationType(kind)]
    except (ValueError, KeyError):
        raise _Wrong(f"a tensor of the unknown type {kind}") from None
    if not all(shape) or shape[0] % block:
        raise _Wrong(f"a tensor of shape {shown(shape)}, in blocks of {block}")
    return int(math.prod(shape) // block * size)
