"""Find a dataset's videos under a user's folder by id; missing ones are counted and named.

Only names are read, no file is opened. Files may lie at any depth, as downloads leave them
(`train/101/ID.mp4`, `1106/ID.mp4`, `ID.mkv.webm`), with any suffix of a video container.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath

from fdvs.errors import DataError
from fdvs.media.files import VIDEO_SUFFIXES

NUM_NAMED = 5

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundVideos:
    """Paths by video id in the order asked for, and what was not found.

    `duplicates` holds ids with several files and all of these; `paths` the first of them by name.
    """

    paths: Mapping[str, Path]
    missing: tuple[str, ...]
    duplicates: Mapping[str, tuple[Path, ...]]

    @property
    def missing_words(self) -> str:
        """A summary of the missing videos, the first few by name; empty if none is missing."""
        if not self.missing:
            return ""
        named = ", ".join(self.missing[:NUM_NAMED])
        more = "" if len(self.missing) <= NUM_NAMED else ", ..."
        total = len(self.missing) + len(self.paths)
        return f"{len(self.missing)} of {total} videos missing: {named}{more}"


def find_videos(folder: Path, video_ids: Iterable[str]) -> FoundVideos:
    """Look for the videos' files below a folder: `ID.mp4` or, where there is none, `v_ID.mp4`.

    The second is for ActivityNet-QA, whose ids lack the `v_` of ActivityNet's files. Links to
    folders are not followed, links to files are. Ids are case-sensitive, as YouTube's are.

    Raises DataError where the folder does not exist.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; give the one that holds the videos")
    files: dict[str, list[Path]] = {}
    for path in _video_files(folder):
        for stem in _stems(path):
            files.setdefault(stem, []).append(path)
    candidates = {one: _candidates(one, files) for one in dict.fromkeys(video_ids)}
    found = FoundVideos(
        paths={one: paths[0] for one, paths in candidates.items() if paths},
        missing=tuple(one for one, paths in candidates.items() if not paths),
        duplicates={one: paths for one, paths in candidates.items() if len(paths) > 1},
    )
    _warn(folder, found)
    return found


def _video_files(folder: Path) -> Iterator[Path]:
    for root, folders, files in os.walk(folder):
        folders.sort()
        for name in sorted(files):
            path = Path(root, name)
            if path.suffix.lower() in VIDEO_SUFFIXES and path.is_file():
                yield path


def _stems(path: PurePath) -> list[str]:
    """Return every id that a file may have: its name without zero, one or more video suffixes.

    DiDeMo's ids end in a suffix or a dot themselves ("x.mov", "x."), and were saved as "x.mov",
    "x.mov.mp4" or "x.mp4".
    """
    name, stems = path.name, [path.name]
    while (suffix := PurePath(name).suffix).lower() in VIDEO_SUFFIXES:
        name = name[: -len(suffix)]
        stems.append(name)
    return stems


def _candidates(video_id: str, files: Mapping[str, list[Path]]) -> tuple[Path, ...]:
    spellings = [video_id]
    bare = PurePath(video_id)
    if bare.suffix.lower() in VIDEO_SUFFIXES or video_id.endswith("."):
        spellings.append(video_id.rpartition(".")[0])
    for spelling in spellings:
        if found := files.get(spelling) or files.get(f"v_{spelling}"):
            return tuple(found)
    return ()


def _warn(folder: Path, found: FoundVideos) -> None:
    if found.missing:
        logger.warning("%s: %s", folder, found.missing_words)
    for video_id, paths in found.duplicates.items():
        logger.warning("%s: %d files of %s, taking %s", folder, len(paths), video_id, paths[0])
