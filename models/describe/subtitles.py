"""Subtitles as a source: one track, from a sidecar file or an embedded stream.

`sidecars` finds files, `subtitle_streams` lists streams; this module chooses one, reads it and
moves its times to the file's clock. If a track is not usable, the next one is tried. Notes name
every track that was not used, with the reason: bad subtitles never fail a video.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from fdvs.errors import BadModelOutput, InvalidValue
from fdvs.fingerprint import digest, file_sha256
from fdvs.models.cards import Card, LoadSettings, options_from
from fdvs.models.describe.languages import language_code
from fdvs.models.describe.sidecars import TEXT_SUFFIXES, Sidecar, Tags, find_sidecars
from fdvs.models.describe.subtitle_files import MAX_FILE_BYTES, Cue, Parsed, read_subtitle_file
from fdvs.models.describe.subtitle_lines import Line, is_telemetry, lines_of
from fdvs.models.describe.subtitle_streams import (
    InnerTrack,
    Inside,
    list_tracks,
    read_inner_track,
)
from fdvs.models.weights.fetch import identity_of
from fdvs.protocols import Heard
from fdvs.text.clean import show_text
from fdvs.types import ModelIdentity, Observation, Timeline

# The language that the text embedders know best.
USUAL_LANGUAGE = "en"
# The last subtitle may start slightly after the end of the video.
TAIL_S = 2.0
MAX_NAMED = 5

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class SubtitleOptions:
    """`language`: a tag such as `en`, as in NAME.en.srt; "" prefers English, else takes any."""

    language: str = ""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9_-]{0,20}", self.language):
            raise InvalidValue("language", self.language, "a tag such as en or pt-BR, or ''")


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """A candidate: a sidecar file or an embedded stream. `name` is for messages."""

    name: str
    tags: Tags
    place: Sidecar | InnerTrack


class SubtitleSource:
    """A TrackSource without a model: it reads files and looks at no picture."""

    source = "subtitles"
    version = 2
    needs_frames = False
    batch_size = 64

    def __init__(self, identity: ModelIdentity, options: SubtitleOptions) -> None:
        self.identity = identity
        self._language = options.language

    @classmethod
    def load(cls, card: Card, settings: LoadSettings) -> SubtitleSource:
        """Take the card's options; nothing is loaded, so `settings` (devices) do not apply."""
        del settings
        return cls(identity_of(card), options_from(card, SubtitleOptions))

    def content_fingerprint(self, video_path: Path) -> str:
        """Return a digest of the sidecar files; "" if there are none.

        Embedded streams are covered by the video's own fingerprint.
        """
        found = find_sidecars(video_path)
        parts = [part for file in found.files for part in (file.name, _content(file.path))]
        parts += [name for name, _ in found.unused]
        return digest(parts) if parts else ""

    def read_track(
        self, video_path: Path, timeline: Timeline, *, start_s: float = 0.0
    ) -> Iterator[Heard]:
        """Yield the chosen track's lines from `start_s` to the end, all at once.

        Raises BadModelOutput if the video cannot be opened and no sidecar file is usable.
        """
        sidecars = find_sidecars(video_path)
        inside, trouble = _look_inside(video_path)
        tracks = [_beside(sidecar) for sidecar in sidecars.files]
        tracks += [_within(track) for track in inside.tracks if track.is_text]
        order, unwanted = choose(tracks, language=self._language)
        read = _first_usable(video_path, order, inside, timeline)
        if read.used is None and trouble is not None:
            raise trouble
        notes = [*sidecars.notes, *read.notes]
        notes += _left_out(read, order, unwanted, self._language) + _not_text(inside, read.used)
        yield Heard(
            start_s=start_s,
            end_s=max(timeline.duration_s, start_s),
            observations=tuple(
                Observation(
                    source=self.source, text=line.text, start_s=line.start_s, end_s=line.end_s
                )
                for line in read.lines
                if line.start_s >= start_s
            ),
            notes=tuple(notes),
            language=read.used.tags.language if read.used else "",
        )


def choose(tracks: Sequence[Track], *, language: str) -> tuple[list[Track], list[Track]]:
    """Return (tracks in the order in which to try them, tracks in other languages).

    Full tracks come before forced ones (which cover only foreign speech and signs); then the wanted
    language (English if `language` is ""), an unknown one, others; sidecar files before streams
    unless only a stream is in the wanted language; plain tracks before those for the
    hearing-impaired; default tracks; then by format and name. If a language is wanted, tracks in
    other languages are not tried.
    """
    wanted = language_code(language) or language.lower()
    tried = [t for t in tracks if not wanted or t.tags.language in ("", wanted)]
    order = sorted(tried, key=lambda track: _rank(track, wanted or USUAL_LANGUAGE))
    return order, [track for track in tracks if track not in tried]


def _rank(track: Track, wanted: str) -> tuple[object, ...]:
    tags, is_inside = track.tags, isinstance(track.place, InnerTrack)
    is_wanted = tags.language == wanted
    likely = is_wanted or (not tags.language and not is_inside)
    if isinstance(track.place, InnerTrack):
        order = track.place.number
    else:
        order = TEXT_SUFFIXES.index(track.place.path.suffix.lower())
    return (
        tags.is_forced,
        not likely,
        is_inside,
        0 if is_wanted else 1 if not tags.language else 2,
        tags.is_sdh,
        not tags.is_default,
        order,
        track.name,
    )


def _beside(sidecar: Sidecar) -> Track:
    return Track(name=show_text(sidecar.name), tags=sidecar.tags, place=sidecar)


def _within(track: InnerTrack) -> Track:
    language = f", {track.tags.language}" if track.tags.language else ""
    return Track(
        name=f"track {track.number} ({track.codec}{language})", tags=track.tags, place=track
    )


def _look_inside(video_path: Path) -> tuple[Inside, BadModelOutput | None]:
    try:
        return list_tracks(video_path), None
    except BadModelOutput as error:
        return Inside(), error


@dataclass(frozen=True, slots=True, kw_only=True)
class _Read:
    """The first usable track (None if there is none), its lines, and notes on tracks tried."""

    used: Track | None
    lines: tuple[Line, ...]
    notes: tuple[str, ...]


def _first_usable(
    video_path: Path, order: Sequence[Track], inside: Inside, timeline: Timeline
) -> _Read:
    notes: list[str] = []
    for track in order:
        try:
            lines, said = _read(video_path, track, inside, timeline)
        except BadModelOutput as error:
            notes.append(f"{track.name} was not used: {error}")
        else:
            return _Read(used=track, lines=lines, notes=(*notes, *said))
    return _Read(used=None, lines=(), notes=tuple(notes))


def _read(
    video_path: Path, track: Track, inside: Inside, timeline: Timeline
) -> tuple[tuple[Line, ...], list[str]]:
    """Return a track's lines on the file's clock, and notes. Raises BadModelOutput if unusable."""
    notes: list[str] = []
    if isinstance(track.place, InnerTrack):
        parsed, shift_s = read_inner_track(video_path, track.place.number), -timeline.origin_s
    else:
        parsed, notes = _read_file(track.place, fps=inside.fps)
        # Players count from the container's start, which may be before the first picture.
        shift_s = min(0.0, timeline.sound_start_s or 0.0)
    if is_telemetry(parsed.cues):
        raise BadModelOutput("it contains camera telemetry (position, exposure), not speech")
    if parsed.num_bad:
        notes.append(f"{counted(parsed.num_bad)} of {track.name} skipped: unusable times")
    cues, num_outside = on_clock(parsed.cues, shift_s=shift_s, end_s=timeline.duration_s)
    if num_outside:
        end_s = timeline.duration_s
        where = f"not within the {end_s:.0f} s of the video" if end_s else "before its start"
        doubt = "; is it made for this video?" if num_outside * 2 > len(parsed.cues) else ""
        notes.append(f"{counted(num_outside)} of {track.name} skipped: {where}{doubt}")
    lines = lines_of(cues)
    if not lines:
        raise BadModelOutput(" ".join(notes) or "it contains no text")
    return lines, notes


def _read_file(sidecar: Sidecar, *, fps: float | None) -> tuple[Parsed, list[str]]:
    parsed = read_subtitle_file(sidecar.path, language=sidecar.tags.language, fps=fps)
    name = show_text(sidecar.name)
    notes = []
    if parsed.guessed_encoding:
        notes.append(f"{name} is not UTF-8; read as {parsed.guessed_encoding} (guessed)")
    if parsed.num_damaged:
        notes.append(f"{name} contains {parsed.num_damaged} damaged characters")
    return parsed, notes


def on_clock(cues: Sequence[Cue], *, shift_s: float, end_s: float) -> tuple[list[Cue], int]:
    """Return the cues moved by `shift_s` and within [0, end_s), and the number of others.

    `end_s` is 0 if unknown. A cue that starts up to TAIL_S after the end is kept.
    """
    limit_s = end_s + TAIL_S if end_s > 0 else math.inf
    moved = [
        Cue(start_s=max(0.0, c.start_s + shift_s), end_s=c.end_s + shift_s, rows=c.rows)
        for c in cues
        if c.end_s + shift_s > 0 and c.start_s + shift_s < limit_s
    ]
    return moved, len(cues) - len(moved)


def counted(number: int) -> str:
    """Return `1 subtitle`, `2 subtitles`."""
    return f"{number} subtitle" if number == 1 else f"{number} subtitles"


def _left_out(
    read: _Read, order: Sequence[Track], unwanted: Sequence[Track], language: str
) -> list[str]:
    """Return notes on tracks that were not tried, and on a forced track in use."""
    if read.used is None:
        return (
            [
                f"there are no subtitles in {language!r}, only {_names(unwanted)}; to use them, "
                "change the option language"
            ]
            if unwanted
            else []
        )
    notes = []
    if read.used.tags.is_forced:
        notes.append(
            f"{read.used.name} is a forced track ({counted(len(read.lines))}): it covers only "
            "foreign speech and signs"
        )
    if others := [*order[order.index(read.used) + 1 :], *unwanted]:
        many = "1 more subtitle track was"
        if len(others) > 1:
            many = f"{len(others)} more subtitle tracks were"
        notes.append(f"{many} not used: {_names(others)}")
    return notes


def _names(tracks: Sequence[Track]) -> str:
    names = [track.name for track in tracks[:MAX_NAMED]]
    more = len(tracks) - len(names)
    return ", ".join(names) + (f" and {more} more" if more else "")


def _not_text(inside: Inside, used: Track | None) -> list[str]:
    """Return a note on streams that are not text, unless another track is used."""
    unread = [track for track in inside.tracks if not track.is_text]
    if used is not None or not unread:
        return []
    names = _names([_within(track) for track in unread])
    return [f"embedded subtitles are not text and cannot be read ({names}); add a .srt file"]


def _content(path: Path) -> str:
    """Return a file's SHA-256, its size if it is too large, "" if it cannot be read."""
    try:
        size_bytes = path.stat().st_size
        return file_sha256(path) if size_bytes <= MAX_FILE_BYTES else f"{size_bytes} bytes"
    except OSError:
        return ""
