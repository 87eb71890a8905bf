"""Prompt cache on disk, beside a library: the KV caches ("readings") of prefilled prompts.

    cache = ReadingCache(folder, max_bytes=2 * 2**30)
    reading = cache.read(llm, system, text)        # from disk, or prefilled now and kept
    llm = cache.wrap(llm)                          # a PrefillLanguageModel that does so by itself

A reading is found by a digest of everything that it depends on: weights, attention and its code,
dtype and the prompt's tokens. The folder is bounded; the least recently used readings are removed.
It may be shared by processes and deleted at any time. Its files are untrusted: one that cannot be
used counts as a miss, with the reason in the log, never as an error.
"""

from __future__ import annotations

import copy
import importlib.metadata
import logging
import os
import re
import secrets
import shutil
import time
from functools import cache as once
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from fdvs.errors import InvalidValue
from fdvs.fingerprint import digest
from fdvs.models.llm import reading_files
from fdvs.models.llm.attention_options import layer_settings_of, settings_of
from fdvs.models.llm.engine import empty_cache
from fdvs.models.llm.local import LocalLanguageModel
from fdvs.models.llm.reading import LocalReadPrompt
from fdvs.protocols import LanguageModel

if TYPE_CHECKING:
    from fdvs.models.llm.chat import Opening

KEY = re.compile(r"[0-9a-f]{32}")
LEFT_OVER = re.compile(r"\.[0-9a-f]{32}\.[0-9a-f]{16}")
LEFT_OVER_S = 3600.0
#: The code that computes a reading, apart from transformers.
CODE = (
    ("fdvs.kernels.dga", (".py", ".cpp")),
    ("fdvs.models.llm", ("attend.py", "attention.py", "engine.py", "grouped_cache.py")),
    ("fdvs.models.llm", ("gate.py", "reading.py", "rereading.py")),
)

logger = logging.getLogger(__name__)


class ReadingCache:
    """A folder of readings, at most `max_bytes` large."""

    def __init__(self, folder: Path, *, max_bytes: int) -> None:
        """Use a folder, created on first use. Raises InvalidValue for a bound below 1."""
        if max_bytes < 1:
            raise InvalidValue("max_bytes", max_bytes, "at least 1")
        self.folder = folder
        self.max_bytes = max_bytes
        self._last: tuple[str, Any] = ("", None)

    def read(self, llm: LocalLanguageModel, system: str, text: str) -> LocalReadPrompt:
        """Return the reading from memory (the last one) or disk, or prefill now and keep it.

        `reading.reused` is False for the latter. Raises ModelError where the text does not fit
        the context.
        """
        opening = llm.chat.opening(system, text)
        llm.check_fits(len(opening.ids), 1)
        key = reading_key(llm, opening)
        if not key:
            return llm.read_opening(opening)
        if key == self._last[0]:
            return LocalReadPrompt(llm, opening, self._last[1], reused=True)
        reading = self._load(llm, opening, key)
        if reading is None:
            reading = llm.read_opening(opening)
            self.keep(llm, reading)
        self._last = key, reading.cache
        return reading

    def wrap(self, llm: LanguageModel) -> LanguageModel:
        """Return a local model that reads through this cache; any other model comes back as is."""
        if not isinstance(llm, LocalLanguageModel):
            return llm
        reader = copy.copy(llm)
        reader.readings = self
        return reader

    def keep(self, llm: LocalLanguageModel, reading: LocalReadPrompt) -> None:
        """Write a reading to disk; a failure is logged with its reason."""
        key = reading_key(llm, reading.opening)
        if not key:
            return
        if odd := reading_files.why_not(llm.model, reading.cache, reading.num_tokens):
            logger.info("reading %s is not kept: %s", key, odd)
            return
        part = self.folder / f".{key}.{secrets.token_hex(8)}"
        try:
            reading_files.save(reading.cache, part, extra={"key": key})
            if (size := _size_of(part)) > self.max_bytes:
                raise ValueError(f"its {size} bytes exceed the {self.max_bytes} allowed in all")
            self._remove(self.folder / key)
            part.rename(self.folder / key)
            self._make_room()
        except (OSError, ValueError) as error:
            logger.warning("reading %s is not kept: %s", key, error)
        finally:
            shutil.rmtree(part, ignore_errors=True)

    def _load(self, llm: LocalLanguageModel, opening: Opening, key: str) -> LocalReadPrompt | None:
        place = self.folder / key
        if not place.is_dir():
            return None
        try:
            if (size := _size_of(place)) > self.max_bytes:
                raise ValueError(f"{size} bytes, where {self.max_bytes} are allowed in all")
            cache, extra = reading_files.load(llm.model, place, num_tokens=len(opening.ids))
            if extra.get("key") != key:
                raise ValueError("it was written for another text or model")
            os.utime(place)
        except (OSError, ValueError) as error:
            logger.warning("reading %s cannot be used, the prompt is read again: %s", key, error)
            return None
        reading = LocalReadPrompt(llm, opening, cache, reused=True)
        llm.note_attention(cache, read_twice=reading.read_twice)
        return reading

    def _make_room(self) -> None:
        """Remove the least recently used until the rest fits, and leftovers of a crash."""
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
            logger.info("reading %s removed: least recently used, %d bytes", name, size)

    def _kept(self) -> list[Path]:
        if not self.folder.is_dir():
            return []
        return sorted(p for p in self.folder.iterdir() if KEY.fullmatch(p.name) and p.is_dir())

    def _remove(self, place: Path) -> bool:
        """Remove a reading at once, so that no process finds half of it; False if it was gone."""
        gone = self.folder / f".{place.name}.{secrets.token_hex(8)}"
        try:
            place.rename(gone)
        except FileNotFoundError:
            return False
        shutil.rmtree(gone, ignore_errors=True)
        return True


def reading_key(llm: LocalLanguageModel, opening: Opening, *, code: str = "") -> str:
    """Return the digest of all that a reading depends on, 32 hex characters; '' for no key.

    The tokenizer and the chat template are covered by the tokens and by the hash of the model's
    files. `code` replaces the digest of the code that computes readings.
    """
    if not llm.identity.weights_sha256:
        logger.info("readings of %s are not kept: its weights have no hash", llm.identity.name)
        return ""
    model = llm.model
    text = model.config.get_text_config()
    parts = {
        "model": llm.identity,
        "ids": list(opening.ids),
        "attention": text._attn_implementation,
        "settings": settings_of(model),
        "layers": {str(at): own for at, own in layer_settings_of(model).items()},
        "dtype": str(model.dtype),
        "device": model.device.type,
        "products": torch.get_float32_matmul_precision(),
        "read_twice": llm.num_read_twice(len(opening.ids), empty_cache(model)),
        "gate": "" if llm.reread or llm.gate is None else llm.gate.digest(),
        "budgets_from_text": llm.budgets_from_text(),
        "code": code or _code(),
    }
    return digest(parts)[:32]


@once
def _code() -> str:
    """Return a digest of the code in CODE and of the version of transformers."""
    texts = [importlib.metadata.version("transformers")]
    for package, endings in CODE:
        files = sorted(resources.files(package).iterdir(), key=lambda file: file.name)
        texts += [file.read_text("utf-8") for file in files if file.name.endswith(endings)]
    return digest(texts)


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
