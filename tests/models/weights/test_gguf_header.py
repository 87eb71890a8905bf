"""Headers of GGUF files, written here byte by byte and by the reference writer."""

from __future__ import annotations

import struct
import sys
from pathlib import Path

import numpy as np
import pytest

from fdvs.errors import ModelError
from fdvs.models.weights.gguf import find_gguf
from fdvs.models.weights.gguf_header import check_gguf, read_gguf_header

F32, Q4_0, TEXT, ARRAY, U32 = 0, 2, 8, 9, 4


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def field(name: str, kind: int, value: bytes) -> bytes:
    return text(name) + struct.pack("<I", kind) + value


def tensor(name: str, shape: tuple[int, ...], kind: int = F32, offset: int = 0) -> bytes:
    sides = struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
    return text(name) + sides + struct.pack("<IQ", kind, offset)


def made(
    *, fields: tuple[bytes, ...] = (), tensors: tuple[bytes, ...] = (), version: int = 3,
    num_fields: int | None = None, num_tensors: int | None = None, tail: int = 4096,
) -> bytes:  # fmt: skip
    counts = (
        len(tensors) if num_tensors is None else num_tensors,
        len(fields) if num_fields is None else num_fields,
    )
    head = b"GGUF" + struct.pack("<IQQ", version, *counts)
    return head + b"".join(fields) + b"".join(tensors) + bytes(tail)


WRONG: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "ends at byte 0"),
    "another magic": (b"GGML" + bytes(100), "does not begin with GGUF"),
    "cut in the counts": (made()[:10], "ends at byte 10"),
    "another version": (made(version=99), "version 99"),
    "tensors without end": (made(num_tensors=2**62), "declares 4611686018427387904 tensors"),
    "fields without end": (made(num_fields=2**62), "declares"),
    "more fields than it has": (made(num_fields=50_000, tail=0), "within its header"),
    "more tensors than it has": (made(num_tensors=50_000, tail=0), "within its header"),
    "a text without end": (made(fields=(struct.pack("<Q", 2**63),)), "a text of 922337203685"),
    "a text beyond the file": (made(fields=(struct.pack("<Q", 2**20),)), "within its header"),
    "a text that is none": (made(fields=(struct.pack("<Q", 2) + b"\xff\xfe",)), "decode"),
    "an unknown type": (made(fields=(field("a", 77, b""),)), "unknown type 77"),
    "an array without end": (
        made(fields=(field("a", ARRAY, struct.pack("<IQ", U32, 2**60)),)), "arrays of 11529215",
    ),
    "an array of arrays": (
        made(fields=(field("a", ARRAY, struct.pack("<IQ", ARRAY, 1)),)), "unknown type 9",
    ),
    "many arrays": (
        made(fields=(field("a", ARRAY, struct.pack("<IQ", 0, 4_000_000) + bytes(4_000_000)),) * 2),
        "arrays of 8",
    ),
    "no alignment": (made(fields=(field("general.alignment", U32, bytes(4)),)), "alignment is 0"),
    "a huge alignment": (
        made(fields=(field("general.alignment", U32, struct.pack("<I", 2**31)),)), "alignment is",
    ),
    "a text as alignment": (made(fields=(field("general.alignment", TEXT, text("8")),)), "'8'"),
    "no dimensions": (made(tensors=(tensor("w", ()),)), "0 dimensions"),
    "many dimensions": (made(tensors=(tensor("w", (1,) * 9),)), "9 dimensions"),
    "a side of nothing": (made(tensors=(tensor("w", (0, 4)),)), "of shape"),
    "a block that is cut": (made(tensors=(tensor("w", (33,), Q4_0),)), "in blocks of 32"),
    "a tensor without end": (made(tensors=(tensor("w", (2**40, 2**40)),)), "'w' ends at byte"),
    "a tensor elsewhere": (made(tensors=(tensor("w", (4,), offset=2**50),)), "'w' ends at byte"),
    "an unknown kind of tensor": (made(tensors=(tensor("w", (4,), 9999),)), "unknown type 9999"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_a_header_that_lies_is_one_error_at_once(case: str, tmp_path: Path) -> None:
    data, words = WRONG[case]
    path = tmp_path / "x.gguf"
    path.write_bytes(data)
    with pytest.raises(ModelError, match=words) as caught:
        read_gguf_header(path)
    assert str(path) in str(caught.value)
    assert "copy or download it again" in str(caught.value)


def test_a_header_is_read_as_the_reference_reads_it(tmp_path: Path) -> None:
    gguf = pytest.importorskip("gguf")
    path = tmp_path / "tiny.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(2)
    writer.add_embedding_length(8)
    writer.add_token_list(["a", "b"])
    writer.add_float32("some.number", 0.5)
    writer.add_tensor("w", np.ones((3, 8), np.float32))
    writer.add_tensor("v", np.ones(5, np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    header = read_gguf_header(path)
    reference = gguf.GGUFReader(path)
    assert header.shapes == {t.name: tuple(map(int, t.shape)) for t in reference.tensors}
    assert header.shapes == {"w": (8, 3), "v": (5,)}
    assert header.fields == {
        "general.architecture": "llama", "llama.block_count": 2, "llama.embedding_length": 8,
        "some.number": 0.5,
    }  # fmt: skip
    alignment = 32  # of the end, too
    for num_bytes in range(0, path.stat().st_size - alignment, 7):
        cut = tmp_path / "cut.gguf"
        cut.write_bytes(path.read_bytes()[:num_bytes])
        with pytest.raises(ModelError):
            read_gguf_header(cut)


@pytest.mark.parametrize(
    ("name", "value"),
    [("llama.block_count", 100_000), ("llama.embedding_length", 2**31), ("a.head_count", 0)],
)
def test_a_size_that_the_tensors_do_not_have_is_refused(
    name: str, value: int, tmp_path: Path
) -> None:
    path = tmp_path / "x.gguf"
    fields = (field(name, U32, struct.pack("<I", value)),)
    path.write_bytes(made(fields=fields, tensors=(tensor("w", (8, 4)),)))
    with pytest.raises(ModelError, match=f"{name} is {value}, but it holds 1 tensors of at most 8"):
        check_gguf(path)


@pytest.mark.skipif(sys.platform == "win32", reason="no named pipes")
def test_a_pipe_is_no_gguf_file(tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "x.gguf")
    assert find_gguf(tmp_path) is None
    assert find_gguf(tmp_path / "x.gguf") is None
