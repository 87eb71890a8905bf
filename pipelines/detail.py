"""All that a library knows of one video: for pages, reports and exports."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from fdvs.errors import NotFound
from fdvs.store.store import Store, VideoRecord
from fdvs.story.as_json import story_from_json
from fdvs.text.plain import plain_words
from fdvs.types import JsonDict, Saved, Span, Story

TRACK = "track:"  # what the stages of whole tracks begin with
PLAIN_COLOUR = "#8a8a86"  # of a clip without a picture


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipDetail(Span):
    """A clip with its chapter.

    Attributes:
        title: its heading, "" without one; `said` are the sentences that are spoken.
        injections: its texts that read like an order to a model, quoted and marked in `text`.
        is_kept: False where the chapter was left out of the story as a repetition.
        similarity: how like what came before it the chapter is, None for the first.
        stands_for: the kept clip that a left-out one resembles: the last kept one before it.
        colour: the mean colour of its picture, `#rrggbb`.
        has_picture: whether there is a thumbnail.
    """

    index: int
    text: str
    title: str = ""
    said: tuple[str, ...] = ()
    injections: tuple[str, ...] = ()
    is_kept: bool = True
    similarity: float | None = None
    stands_for: int | None = None
    colour: str = PLAIN_COLOUR
    has_picture: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Cue:
    """A sentence that is spoken or subtitled, [start_s, end_s)."""

    start_s: float
    end_s: float
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoDetail:
    """A video: its story, every clip, what is said, what redundancy saved. Times are in seconds."""

    video_id: str
    name: str
    path: Path
    duration_s: float
    story: Story
    clips: tuple[ClipDetail, ...]
    said: tuple[Cue, ...] = ()
    saved: Saved | None = None
    notes: tuple[str, ...] = ()
    probe: JsonDict = field(default_factory=dict)

    @property
    def left_out(self) -> tuple[ClipDetail, ...]:
        """The clips that the story leaves out."""
        return tuple(clip for clip in self.clips if not clip.is_kept)


def video_detail(store: Store, record: VideoRecord) -> VideoDetail:
    """Return the detail of a video. Raises NotFound before its story is told."""
    with store.reading():
        stored = store.get(record.video_id, "story")
        if stored is None:
            raise NotFound(f"{record.name} has no story yet; build it again: fdvs build PATH")
        probe = store.get(record.video_id, "probe")
        saved = store.get(record.video_id, "saved")
        notes = store.get(record.video_id, "notes")
        clips = _clips(store, record)
        said = _said(store, record)
    story = story_from_json(stored.payload)
    return VideoDetail(
        video_id=record.video_id,
        name=record.name,
        path=record.path,
        duration_s=story.duration_s,
        story=story,
        clips=clips,
        said=said,
        saved=None if saved is None else Saved(**saved.payload),
        notes=() if notes is None else tuple(notes.payload["notes"]),
        probe={} if probe is None else probe.payload,
    )


def _clips(store: Store, record: VideoRecord) -> tuple[ClipDetail, ...]:
    chapters = store.get_all(record.video_id, "chapter")
    kept = store.get(record.video_id, "kept_chapters")
    marks: list[bool] = kept.payload["kept"] if kept else []
    similar: list[float | None] = kept.payload["similarity"] if kept else []
    found, last_kept = [], None
    for index, chapter in chapters.items():
        is_kept = marks[index] if index < len(marks) else True
        last_kept = index if is_kept else last_kept
        picture = store.thumbnail_path(record.video_id, index)
        found.append(
            ClipDetail(
                video_id=record.video_id,
                name=record.name,
                start_s=float(chapter.payload["start_s"]),
                end_s=float(chapter.payload["end_s"]),
                index=index,
                text=plain_words(str(chapter.payload["text"])),
                title=plain_words(str(chapter.payload.get("title", ""))),
                said=tuple(map(plain_words, chapter.payload.get("said", ()))),
                injections=tuple(map(plain_words, chapter.payload.get("injections", ()))),
                is_kept=is_kept,
                similarity=similar[index] if index < len(similar) else None,
                stands_for=None if is_kept else last_kept,
                colour=mean_colour(picture),
                has_picture=picture.is_file(),
            )
        )
    return tuple(found)


def _said(store: Store, record: VideoRecord) -> tuple[Cue, ...]:
    """Return the cues of the track of which there are most: subtitles, else speech."""
    stages = store.stages(record.video_id)
    tracks = sorted((s for s in stages if s.startswith(TRACK)), key=lambda s: "subtitles" not in s)
    for stage in tracks:
        cues = [
            Cue(
                start_s=max(0.0, float(o["start_s"])),
                end_s=float(o["end_s"]),
                text=plain_words(str(o["text"])),
            )
            for stretch in store.get_all(record.video_id, stage).values()
            for o in stretch.payload["observations"]
        ]
        if cues:
            return tuple(sorted(cues, key=lambda cue: cue.start_s))
    return ()


def mean_colour(picture: Path) -> str:
    """Return the mean colour of a JPEG as `#rrggbb`; a plain grey without a readable one."""
    try:
        stat = picture.stat()
    except OSError:
        return PLAIN_COLOUR
    return _mean_colour(picture, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=100_000)
def _mean_colour(picture: Path, mtime_ns: int, size: int) -> str:
    """Remembered by time and size of the file: a page asks for the same pictures often."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(picture.read_bytes()), formats=("JPEG",)) as image:
            image.draft("RGB", (16, 16))
            mean = image.convert("RGB").resize((1, 1), Image.Resampling.BOX).tobytes()
    except (OSError, UnidentifiedImageError, ValueError):
        return PLAIN_COLOUR
    return f"#{mean.hex()}"
