"""Subtitles as a source: a sidecar file next to the video, else an embedded text stream.

One track is used: `NAME.srt`, `NAME.vtt` or `NAME.LANG.srt` in the video's folder (in the wanted
language, else without one, else the first by name), then embedded streams. A subtitle belongs to
the clip that contains its midpoint, so that none is repeated.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from fdvs.errors import BadModelOutput, InvalidValue
from fdvs.fingerprint import digest, file_sha256
from fdvs.models.cards import Card, LoadSettings, options_from
from fdvs.models.describe.subtitle_streams import embedded_lines
from fdvs.models.describe.subtitle_text import Kind, Line, decode_bytes, parse_subtitles
from fdvs.models.weights.fetch import identity_of
from fdvs.types import Clip, ClipView, ModelIdentity, Observation

MAX_FILE_BYTES = 20 << 20
MAX_CACHED_FILES = 8
_TAGS = re.compile(r"(?:\.[A-Za-z0-9_-]{1,20}){0,2}\.(?:srt|vtt)", re.IGNORECASE)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class SubtitleOptions:
    """`language`: a tag such as `en`, as in NAME.en.srt; "" takes what there is."""

    language: str = ""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9_-]{0,20}", self.language):
            raise InvalidValue("language", self.language, "a tag such as en or pt-BR, or ''")


class SubtitleSource:
    """A Describer without a model: it reads files and looks at no picture."""

    source = "subtitles"
    version = 1
    needs_frames = False
    batch_size = 64

    def __init__(self, identity: ModelIdentity, options: SubtitleOptions) -> None:
        self.identity = identity
        self._language = options.language
        self._read: dict[tuple[object, ...], tuple[Line, ...]] = {}

    @classmethod
    def load(cls, card: Card, settings: LoadSettings) -> SubtitleSource:
        """Take the card's options; nothing is loaded, so `settings` (devices) do not apply."""
        del settings
        return cls(identity_of(card), options_from(card, SubtitleOptions))

    def describe(self, clips: Sequence[ClipView]) -> list[list[Observation]]:
        """Return each clip's subtitles in time order.

        Raises BadModelOutput where the chosen file is too large or not a subtitle file.
        """
        return [
            [
                Observation(
                    source=self.source, text=line.text, start_s=line.start_s, end_s=line.end_s
                )
                for line in lines_in(self._lines(view.video_path), view.clip)
            ]
            for view in clips
        ]

    def content_fingerprint(self, video_path: Path) -> str:
        """Return a digest of the sidecar file; "" where there is none.

        Embedded streams are covered by the video's own fingerprint.
        """
        path = find_sidecar(video_path, language=self._language)
        return digest([path.name, file_sha256(path)]) if path else ""

    def _lines(self, video_path: Path) -> tuple[Line, ...]:
        sidecar = find_sidecar(video_path, language=self._language)
        stat = (sidecar or video_path).stat()
        key = (str(sidecar or video_path), stat.st_size, stat.st_mtime_ns)
        if key not in self._read:
            while len(self._read) >= MAX_CACHED_FILES:
                self._read.pop(next(iter(self._read)))
            self._read[key] = (
                read_sidecar(sidecar)
                if sidecar
                else embedded_lines(video_path, language=self._language)
            )
        return self._read[key]


def lines_in(lines: Sequence[Line], clip: Clip) -> list[Line]:
    """Return the lines with their midpoint in [start_s, end_s), without immediate repetitions."""
    found: list[Line] = []
    for line in lines:
        inside = clip.start_s <= (line.start_s + line.end_s) / 2 < clip.end_s
        if inside and not (found and found[-1].text == line.text):
            found.append(line)
    return found


def find_sidecar(video_path: Path, *, language: str) -> Path | None:
    """Return the sidecar file of a video, or None; the module docstring gives the order."""
    stem = video_path.stem
    try:
        files = [p for p in video_path.parent.iterdir() if p.name.startswith(stem + ".")]
    except OSError:
        return None
    ranked = sorted(
        (rank, path.name, path)
        for path in files
        if (rank := _rank(path.name[len(stem) :], language)) is not None and path.is_file()
    )
    return ranked[0][2] if ranked else None


def _rank(rest: str, language: str) -> tuple[int, int] | None:
    """Return the rank of what follows NAME, e.g. `.en.srt`; None if it is not a subtitle file."""
    if not _TAGS.fullmatch(rest):
        return None
    *tags, suffix = rest.lower().split(".")[1:]
    if language and tags and language.lower() not in tags:
        return None
    named = language.lower() in tags if language else not tags
    return (0 if named else 1, 0 if suffix == "srt" else 1)


def read_sidecar(path: Path) -> tuple[Line, ...]:
    """Read and parse one subtitle file. Raises BadModelOutput, see `parse_subtitles`."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise BadModelOutput(f"subtitle file {path.name} cannot be read: {error}") from None
    if len(data) > MAX_FILE_BYTES:
        raise BadModelOutput(
            f"subtitle file {path.name} is larger than {MAX_FILE_BYTES} bytes; remove or split it"
        )
    text, encoding = decode_bytes(data)
    parsed = parse_subtitles(text, kind=cast(Kind, path.suffix.lower()[1:]), name=path.name)
    if encoding == "cp1252":
        logger.warning("%s is not UTF-8; read as Windows-1252", path.name)
    if parsed.num_bad:
        logger.warning("%s: %d subtitles with unusable times skipped", path.name, parsed.num_bad)
    return parsed.lines
