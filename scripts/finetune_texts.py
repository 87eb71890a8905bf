"""Read the texts of `finetune_dga.py`: files, folders and Parquet, cut into token sequences."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

COLUMN = "text"
#: Rows of a Parquet file that are read at once.
PARQUET_ROWS = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """Hold a text and the name it has in results."""

    name: str
    text: str = field(repr=False)

    @property
    def id(self) -> str:
        """Name and a hash of the text: a changed text is another document."""
        return f"{self.name}-{hashlib.sha256(self.text.encode()).hexdigest()[:8]}"


def read_documents(source: Path) -> list[Document]:
    """Return the texts of a file or folder, sorted by path.

    Raises:
        ValueError: nothing there, a file that is not UTF-8, or a table without a text column.
    """
    files = [source] if source.is_file() else sorted(p for p in source.rglob("*") if p.is_file())
    found = [document for path in files for document in _of_file(path) if document.text.strip()]
    if not found:
        raise ValueError(f"{source} holds no text; name a text file, a Parquet file or a folder")
    return found


def _of_file(path: Path) -> Iterator[Document]:
    if path.suffix == ".parquet":
        yield from _of_parquet(path)
        return
    try:
        yield Document(name=path.stem, text=path.read_text("utf-8"))
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text ({error.reason}); convert it") from None


def _of_parquet(path: Path) -> Iterator[Document]:
    try:
        from pyarrow import parquet
    except ImportError:
        raise ValueError(f"{path} needs pyarrow; pip install pyarrow, or use text files") from None
    table = parquet.ParquetFile(path)
    if COLUMN not in table.schema_arrow.names:
        raise ValueError(
            f"{path} has columns {table.schema_arrow.names}; one must be called {COLUMN!r}"
        )
    row = 0
    for batch in table.iter_batches(batch_size=PARQUET_ROWS, columns=[COLUMN]):
        for text in batch.column(0).to_pylist():
            yield Document(name=f"{path.stem}-{row}", text=text or "")
            row += 1


def blocks(tokenizer: Any, documents: Sequence[Document], tokens: int) -> Any:
    """Return the texts as sequences [N, tokens], joined by the end token; the rest is left out.

    Raises:
        ValueError: less than one sequence.
    """
    import torch

    ids: list[int] = []
    for document in documents:
        ids += tokenizer(document.text, add_special_tokens=False, verbose=False)["input_ids"]
        ids.append(tokenizer.eos_token_id)
    count = len(ids) // tokens
    if not count:
        raise ValueError(f"the texts have {len(ids)} tokens, {tokens} are needed; lower --tokens")
    return torch.tensor(ids[: count * tokens]).view(count, tokens)


def held_out_ids(tokenizer: Any, documents: Sequence[Document], tokens: int) -> dict[str, Any]:
    """Return the first tokens of each text that is long enough, by id.

    Raises:
        ValueError: none is.
    """
    import torch

    out = {}
    for document in documents:
        ids = tokenizer(document.text, add_special_tokens=False, verbose=False)["input_ids"]
        if len(ids) >= tokens:
            out[document.id] = torch.tensor(ids[:tokens])
    if not out:
        raise ValueError(f"no text has {tokens} tokens; lower --held-out-tokens")
    return out
