"""Readings on disk, beside a library: a text that a model has read need not be read again.

    cache = ReadingCache(folder, max_bytes=2 * 2**30)
    reading = cache.read(writer, system, text)     # from disk, or read now and kept
    writer = cache.wrap(writer)                    # a PrefillLanguageModel that does so by itself

A reading is found by a digest of everything that went into it: weights, attention and its code,
number type and the fixed text's tokens. The folder is bounded: what was used longest ago goes
first. It may be shared by processes and deleted at any time. What cannot be used is a miss with
its reason in the log, never an error: its files are input from outside.
"""

from __future__ import annotations

import importlib.metadata
import json
import logging
import os
import re
import secrets
import shutil
import time
from dataclasses import dataclass, fields
from functools import cache as once
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fdvs.errors import InvalidValue
from fdvs.fingerprint import canonical_json, digest
from fdvs.models.llm.reading import LocalReadPrompt, empty_cache
from fdvs.models.llm.writer import LocalLanguageModel
from fdvs.protocols import Completion, LanguageModel

if TYPE_CHECKING:
    from fdvs.models.llm.chat import Opening
    from fdvs.types import ModelIdentity

#: A reading's own account of what it holds.
ACCOUNT, MOST_ACCOUNT_BYTES = "account.json", 4096
TOLD = ("num_tokens", "units_bytes", "raw_bytes", "full_kv_bytes")
KEY = re.compile(r"[0-9a-f]{32}")
LEFT_OVER = re.compile(r"\.[0-9a-f]{32}\.[0-9a-f]{16}")
LEFT_OVER_S = 3600.0
#: What computes a reading, beside the library of models.
CODE = (
    ("fdvs.kernels.dga", (".py", ".cpp")),
    ("fdvs.models", ("attention.py", "grouped_cache.py", "reading.py", "rereading.py")),
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingStats:
    """Readings kept, and bytes on disk by part; `full_kv_bytes` is what full attention holds.

    `raw_bytes` is the tail that is not grouped (with full attention: everything). `other_bytes`
    is all else: queries that later tokens need, marks, manifests.
    """

    num_readings: int = 0
    num_tokens: int = 0
    units_bytes: int = 0
    raw_bytes: int = 0
    other_bytes: int = 0
    total_bytes: int = 0
    full_kv_bytes: int = 0


class ReadingCache:
    """A folder of readings, at most `max_bytes` large."""

    def __init__(self, folder: Path, *, max_bytes: int) -> None:
        """Take a folder, made on first use. Raises InvalidValue for a bound below 1."""
        if max_bytes < 1:
            raise InvalidValue("max_bytes", max_bytes, "at least 1")
        self.folder = folder
        self.max_bytes = max_bytes
        self._last: tuple[str, Any] = ("", None)

    def read(self, writer: LocalLanguageModel, system: str, text: str) -> LocalReadPrompt:
        """Return the reading from memory (the last one) or disk, or read now and keep it.

        `reading.reused` says which. Raises ModelError where the text does not fit the context.
        """
        opening = writer.chat.opening(system, text)
        writer.check_fits(len(opening.ids), 1)
        key = reading_key(writer, opening)
        if not key:
            return writer.read_opening(opening)
        if key == self._last[0]:
            return LocalReadPrompt(writer, opening, self._last[1], reused=True)
        reading = self._load(writer, opening, key)
        if reading is None:
            reading = writer.read_opening(opening)
            self.keep(writer, reading)
        self._last = key, reading.cache
        return reading

    def wrap(self, writer: LanguageModel) -> LanguageModel:
        """Return a local model that reads through this cache; any other model comes back as is."""
        return (
            CachedLanguageModel(writer, self) if isinstance(writer, LocalLanguageModel) else writer
        )

    def keep(self, writer: LocalLanguageModel, reading: LocalReadPrompt) -> None:
        """Write a reading down; where that fails, the log says why."""
        from fdvs.models.llm import reading_files

        key = reading_key(writer, reading.opening)
        if not key:
            return
        if odd := reading_files.why_not(writer.model, reading.cache, reading.num_tokens):
            logger.info("reading %s is not kept: %s", key, odd)
            return
        part = self.folder / f".{key}.{secrets.token_hex(8)}"
        try:
            reading_files.save(reading.cache, part, extra={"key": key})
            told = _parts(writer.model, reading)
            (part / ACCOUNT).write_text(canonical_json(told), encoding="utf-8")
            if (size := _size_of(part)) > self.max_bytes:
                raise ValueError(f"its {size} bytes exceed the {self.max_bytes} allowed in all")
            self._remove(self.folder / key)
            part.rename(self.folder / key)
            self._make_room()
        except (OSError, ValueError) as error:
            logger.warning("reading %s is not kept: %s", key, error)
        finally:
            shutil.rmtree(part, ignore_errors=True)

    def stats(self) -> ReadingStats:
        """Return what is kept; a reading whose own account cannot be read counts as other bytes."""
        totals = dict.fromkeys((f.name for f in fields(ReadingStats)), 0)
        for place in self._kept():
            size, told = _size_of(place), _account(place)
            totals["num_readings"] += 1
            totals["total_bytes"] += size
            totals["other_bytes"] += max(0, size - told["units_bytes"] - told["raw_bytes"])
            for name, number in told.items():
                totals[name] += number
        return ReadingStats(**totals)

    def clear(self) -> int:
        """Remove every reading; return how many there were on disk."""
        self._last = ("", None)
        return sum(self._remove(place) for place in self._kept())

    def _load(
        self, writer: LocalLanguageModel, opening: Opening, key: str
    ) -> LocalReadPrompt | None:
        from fdvs.models.llm import reading_files

        place = self.folder / key
        if not place.is_dir():
            return None
        try:
            if (size := _size_of(place)) > self.max_bytes:
                raise ValueError(f"{size} bytes, where {self.max_bytes} are allowed in all")
            cache, extra = reading_files.load(writer.model, place, num_tokens=len(opening.ids))
            if extra.get("key") != key:
                raise ValueError("it was written for another text or model")
            os.utime(place)
        except (OSError, ValueError) as error:
            logger.warning("reading %s cannot be used, the text is read again: %s", key, error)
            return None
        reading = LocalReadPrompt(writer, opening, cache, reused=True)
        writer.note_attention(cache, read_twice=reading.read_twice)
        return reading

    def _make_room(self) -> None:
        """Remove what was used longest ago until the rest fits, and what a crash left over."""
        for place in self.folder.iterdir():
            old = time.time() - _used_at(place) > LEFT_OVER_S
            if LEFT_OVER.fullmatch(place.name) and old:
                shutil.rmtree(place, ignore_errors=True)
        kept = [(_used_at(place), place.name, _size_of(place)) for place in self._kept()]
        total = sum(size for _, _, size in kept)
        for _, name, size in sorted(kept):
            if total <= self.max_bytes:
                return
            self._remove(self.folder / name)
            total -= size
            logger.info("reading %s removed: used longest ago, %d bytes", name, size)

    def _kept(self) -> list[Path]:
        if not self.folder.is_dir():
            return []
        return sorted(p for p in self.folder.iterdir() if KEY.fullmatch(p.name) and p.is_dir())

    def _remove(self, place: Path) -> bool:
        """Take a reading away at once, so that nobody finds half of it; False where it is gone."""
        gone = self.folder / f".{place.name}.{secrets.token_hex(8)}"
        try:
            place.rename(gone)
        except FileNotFoundError:
            return False
        shutil.rmtree(gone, ignore_errors=True)
        return True


class CachedLanguageModel:
    """A PrefillLanguageModel: a local model whose readings are kept in a cache."""

    def __init__(self, writer: LocalLanguageModel, cache: ReadingCache) -> None:
        self.identity: ModelIdentity = writer.identity
        self.context_tokens = writer.context_tokens
        self._writer = writer
        self._cache = cache

    @property
    def attention(self) -> str:
        """Which attention ran last, and why that one."""
        return self._writer.attention

    def count_tokens(self, text: str) -> int:
        return self._writer.count_tokens(text)

    def write(self, system: str, user: str, *, max_tokens: int) -> Completion:
        """Answer a prompt of which nothing is kept. Raises ModelError."""
        return self._writer.write(system, user, max_tokens=max_tokens)

    def read(self, system: str, text: str) -> LocalReadPrompt:
        """Return the text's reading, from the cache if it is there. Raises ModelError."""
        return self._cache.read(self._writer, system, text)


def reading_key(writer: LocalLanguageModel, opening: Opening) -> str:
    """Return the digest of all that a reading depends on, 32 hex characters; '' for no key.

    The tokenizer and the chat template are in the tokens, and in the hash of the model's files.
    """
    if not writer.identity.weights_sha256:
        logger.info("readings of %s are not kept: its weights have no hash", writer.identity.name)
        return ""
    import torch

    from fdvs.models.llm.attention import layer_settings_of, settings_of

    model = writer.model
    text = model.config.get_text_config()
    parts = {
        "model": writer.identity,
        "ids": list(opening.ids),
        "attention": text._attn_implementation,
        "settings": settings_of(model),
        "layers": {str(at): own for at, own in layer_settings_of(model).items()},
        "dtype": str(model.dtype),
        "device": model.device.type,
        "products": torch.get_float32_matmul_precision(),
        "read_twice": writer.tokens_read_twice(len(opening.ids), empty_cache(model)),
        "budgets_from_text": writer.budgets_from_text(),
        "code": _code(),
    }
    return digest(parts)[:32]


@once
def _code() -> str:
    """Return a digest of the code that computes a reading, and of transformers' version."""
    texts = [importlib.metadata.version("transformers")]
    for package, endings in CODE:
        files = sorted(resources.files(package).iterdir(), key=lambda file: file.name)
        texts += [file.read_text("utf-8") for file in files if file.name.endswith(endings)]
    return digest(texts)


def _parts(model: Any, reading: LocalReadPrompt) -> dict[str, int]:
    from fdvs.models.llm.reading_files import full_bytes

    cache = reading.cache
    full = full_bytes(model, reading.num_tokens)
    held = cache.num_bytes() if hasattr(cache, "num_bytes") else {"units": 0, "raw": full}
    return {
        "num_tokens": reading.num_tokens, "units_bytes": held["units"], "raw_bytes": held["raw"],
        "full_kv_bytes": full,
    }  # fmt: skip


def _account(place: Path) -> dict[str, int]:
    """Return what a reading tells of itself; zeros where that cannot be read."""
    try:
        if (place / ACCOUNT).stat().st_size > MOST_ACCOUNT_BYTES:
            raise ValueError("too large")
        found = json.loads((place / ACCOUNT).read_text(encoding="utf-8"))
        return {name: max(0, int(found[name])) for name in TOLD}
    except (OSError, ValueError, TypeError, KeyError, RecursionError, OverflowError) as error:
        logger.info("reading %s does not say what it holds: %s", place.name, error)
        return dict.fromkeys(TOLD, 0)


def _used_at(place: Path) -> float:
    try:
        return place.stat().st_mtime
    except OSError:
        return time.time()


def _size_of(place: Path) -> int:
    try:
        return sum(file.stat().st_size for file in place.iterdir())
    except OSError:
        return 0
