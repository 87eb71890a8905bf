"""Expand paths, folders and patterns to media files."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fdvs.errors import MissingVideo
from fdvs.media.files import VIDEO_SUFFIXES

AUDIO_SUFFIXES = frozenset(".aac .aif .aiff .flac .m4a .mka .mp3 .oga .ogg .opus .wav .wma".split())
MEDIA_SUFFIXES = VIDEO_SUFFIXES | AUDIO_SUFFIXES


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """Media files in a stable order, without duplicates; `num_ignored` counts other files."""

    files: tuple[Path, ...]
    num_ignored: int


def collect(paths: Sequence[str | Path]) -> Collected:
    """Walk folders recursively and expand patterns; media files are known by their suffix.

    Raises MissingVideo if a path does not exist or a pattern matches nothing.
    """
    seen: dict[Path, None] = {}
    ignored: set[Path] = set()
    for given in paths:
        for file in _files_of(given):
            key = Path(os.path.abspath(file))
            if key.suffix.lower() in MEDIA_SUFFIXES:
                seen.setdefault(key)
            else:
                ignored.add(key)
    return Collected(files=tuple(seen), num_ignored=len(ignored))


def _files_of(given: str | Path) -> Iterable[Path]:
    path = Path(given)
    if path.is_dir():
        return _walk(path)
    if os.path.lexists(path):
        return [path]
    matches = sorted(glob.glob(str(given), recursive=True)) if glob.has_magic(str(given)) else []
    if not matches:
        raise MissingVideo(f"{given}: no such file or folder; give folders, files or a pattern")
    return [file for match in matches for file in _files_of(Path(match))]


def _walk(folder: Path) -> Iterable[Path]:
    for root, folders, files in os.walk(folder):
        folders.sort()
        for name in sorted(files):
            yield Path(root) / name
