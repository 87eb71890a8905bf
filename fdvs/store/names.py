"""How a file's name is shown: readable, free of control characters, unique in a library."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from fdvs.text.clean import show_text


def show_name(name: str | bytes) -> str:
    r"""Return a file name for people: undecodable bytes as `\xNN`, control characters left out.

    >>> show_name(b"caf\xe9\n.mp4")
    'caf\\xe9.mp4'
    """
    return show_text(os.fsdecode(name)).strip() or "video"


def candidate_names(path: Path, video_id: str) -> Iterator[str]:
    """Yield names for a video, the nicest first; the last ones hold more and more of its id."""
    name = show_name(path.name)
    yield name
    if path.parent.name:
        yield f"{show_name(path.parent.name)}/{name}"
    for num_chars in (4, 8, len(video_id)):
        yield f"{name}~{video_id[:num_chars]}"


def unique_name(path: Path, video_id: str, *, is_taken: Callable[[str], bool]) -> str:
    """Return the first candidate that no other video has."""
    for name in candidate_names(path, video_id):
        if not is_taken(name):
            return name
    raise ValueError(f"every name for {path} is taken; video_id {video_id} is not unique")
