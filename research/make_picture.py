"""Draw a film as FDVS sees it: frames, what is dropped, scenes, the story, a search, two questions.

    python research/make_picture.py FILM --library FOLDER --out docs/story.svg

Builds the film into the library (which does nothing if it is there), asks it, and writes one SVG
file with thumbnails inside. Every number, text and time in the picture comes from the library.
"""

from __future__ import annotations

import argparse
import base64
import io
import sys
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from PIL import Image

from fdvs import Answer, Library, Moment, Story
from fdvs.store.store import Store
from fdvs.text.timecode import citation, timecode
from fdvs.types import Sentence

WIDTH, HEIGHT, MARGIN = 1200, 720, 36
BAND = WIDTH - 2 * MARGIN
THUMB_W, THUMB_H, THUMBS_Y = 90, 67, 62
FRAMES_Y, FRAME_H = 172, 9
AXIS_Y, SCENES_Y, PANELS_Y = 262, 272, 340
INK, GREY, FAINT, BLUE, RED = "#1f2933", "#66727f", "#dfe4e9", "#2f6fb3", "#b3412f"
LEFT_OUT = "#a9b4bf"
QUESTIONS = ["Who made the music?", "Who plays the violin?"]
TINTS = ("#c9dcf0", "#e4edf6")


@dataclass(frozen=True, slots=True, kw_only=True)
class Film:
    """What the library knows of one film. Times are seconds from its first picture.

    `spans_s`: start and end of each clip; `frames_kept`: for each clip, which frames were kept;
    `thumbnails`: an image file a clip.
    """

    name: str
    story: Story
    spans_s: Sequence[tuple[float, float]]
    frames_kept: Sequence[Sequence[bool]]
    thumbnails: Sequence[Path]

    @classmethod
    def of(cls, library: Library, name: str) -> Film:
        """Read a film out of a library."""
        with Store.open(library.path) as store:
            video_id = store.find_video(name).video_id
            chapters = sorted(store.get_all(video_id, "chapter").items())
            frames = sorted(store.get_all(video_id, "kept_frames").items())
            thumbnails = [store.thumbnail_path(video_id, clip) for clip, _ in chapters]
        return cls(
            name=name,
            story=library.story(name),
            spans_s=[(one.payload["start_s"], one.payload["end_s"]) for _, one in chapters],
            frames_kept=[one.payload["kept"] for _, one in frames],
            thumbnails=thumbnails,
        )

    @property
    def chapters_kept(self) -> set[int]:
        return {chapter.index for chapter in self.story.chapters}

    def x(self, time_s: float) -> float:
        """Return the place of a time on the band, in pixels."""
        return MARGIN + BAND * time_s / self.story.duration_s

    def thumbnail(self, clip: int) -> str:
        """Return a clip's first frame as a data URL."""
        packed = io.BytesIO()
        picture = Image.open(self.thumbnails[clip]).convert("RGB")
        picture.thumbnail((200, 200))
        picture.save(packed, "JPEG", quality=85)
        return "data:image/jpeg;base64," + base64.b64encode(packed.getvalue()).decode()

    def times(self, start_s: float, end_s: float) -> str:
        """Return `m:ss-m:ss`, as in citations."""
        return citation(self.name, start_s, end_s).rpartition(" @ ")[2].rstrip("]")

    def clip_times(self, sentence: Sentence) -> str:
        start_s, end_s = self.spans_s[sentence.clips[0]]
        return self.times(start_s, end_s)


def text(
    x: float, y: float, words: str, *, size: int = 14, fill: str = INK, extra: str = ""
) -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{fill}"'
    return f"<text {place} {extra}>{escape(words)}</text>"


def rect(x: float, y: float, w: float, h: float, fill: str, extra: str = "") -> str:
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{w:.1f}" height="{h:.1f}" fill="{fill}" {extra}/>'


def picture(x: float, y: float, w: float, h: float, data: str) -> str:
    return (
        f'<image x="{x:.1f}" y="{y:.1f}" width="{w}" height="{h}" href="{data}" '
        'preserveAspectRatio="xMidYMid slice"/>'
    )


def header(film: Film) -> Iterator[str]:
    kept = sum(map(sum, film.frames_kept))
    total = sum(map(len, film.frames_kept))
    facts = (
        timecode(film.story.duration_s),
        f"{len(film.spans_s)} clips",
        f"{kept} of {total} frames kept",
        f"{len(film.chapters_kept)} chapters kept",
        f"{len(film.story.scenes)} scenes",
    )
    yield text(MARGIN, 40, film.name, size=19, extra='font-weight="bold"')
    yield text(WIDTH - MARGIN, 40, "  ·  ".join(facts), fill=GREY, extra='text-anchor="end"')


def strip(film: Film) -> Iterator[str]:
    """Yield a thumbnail for each sentence of the story, and a line to its place in the film."""
    sentences = film.story.sentences
    step = (BAND - THUMB_W) / max(1, len(sentences) - 1)
    for place, sentence in enumerate(sentences):
        clip = sentence.clips[0]
        x, start_x = MARGIN + place * step, film.x(sum(film.spans_s[clip]) / 2)
        bottom = THUMBS_Y + THUMB_H
        bend = f"V{bottom + 10} L{start_x:.1f} {FRAMES_Y - 10} V{FRAMES_Y - 2}"
        path = f"M{x + THUMB_W / 2:.1f} {bottom} {bend}"
        yield f'<path d="{path}" stroke="{LEFT_OUT}" fill="none"/>'
        yield picture(x, THUMBS_Y, THUMB_W, THUMB_H, film.thumbnail(clip))


def frames(film: Film) -> Iterator[str]:
    """Yield a column a clip and a cell a frame, kept ones below: blue where the chapter stays."""
    for clip, (kept, (start_s, end_s)) in enumerate(
        zip(film.frames_kept, film.spans_s, strict=True)
    ):
        x, w = film.x(start_s), film.x(end_s) - film.x(start_s) - 1
        colour = BLUE if clip in film.chapters_kept else LEFT_OUT
        for row in range(len(kept)):
            y = FRAMES_Y + (len(kept) - 1 - row) * FRAME_H
            yield rect(x, y, max(w, 1), FRAME_H - 1, colour if row < sum(kept) else FAINT)
    for minute in range(int(film.story.duration_s // 60) + 1):
        yield text(film.x(60 * minute), AXIS_Y, f"{minute}:00", size=11, fill=GREY)


def scenes(film: Film) -> Iterator[str]:
    for scene in film.story.scenes:
        x, end = film.x(scene.start_s), film.x(scene.end_s)
        yield rect(x, SCENES_Y, end - x - 1, 20, TINTS[scene.index % 2])
        if end - x > 16:
            middle = 'text-anchor="middle"'
            yield text((x + end) / 2, SCENES_Y + 14, str(scene.index + 1), size=11, extra=middle)


def legend() -> Iterator[str]:
    y = SCENES_Y + 32
    entries = (
        (BLUE, "kept frame of a kept chapter"),
        (LEFT_OUT, "kept frame of a repetitive chapter, dropped"),
        (FAINT, "near-duplicate frame, dropped"),
        (TINTS[0], "scene"),
    )
    x = float(MARGIN)
    for colour, words in entries:
        yield rect(x, y, 11, 11, colour)
        yield text(x + 17, y + 10, words, size=12, fill=GREY)
        x += 40 + 6 * len(words)
    captions = "text on screen, and labels of an ImageNet classifier"
    yield text(WIDTH - MARGIN, y + 10, captions, size=12, fill=GREY, extra='text-anchor="end"')


class Column:
    """Text that flows down a panel from `PANELS_Y` on."""

    def __init__(self, x: float, num_chars: int, title: str) -> None:
        self._x, self._num_chars, self._y = x, num_chars, PANELS_Y + 18.0
        self.parts = [text(x, self._y, title, size=13, fill=GREY, extra='font-weight="bold"')]
        self._y += 26

    def say(self, words: str, *, fill: str = INK, bold: bool = False, struck: bool = False) -> None:
        extra = 'font-weight="bold"' if bold else 'text-decoration="line-through"' if struck else ""
        for line in textwrap.wrap(words, self._num_chars):
            self.parts.append(text(self._x, self._y, line, fill=fill, extra=extra))
            self._y += 19

    def cite(self, times: str) -> None:
        self.parts.append(text(self._x, self._y, f"[{times}]", size=12, fill=BLUE))
        self._y += 23

    def show(self, data: str, w: int = 104, h: int = 78) -> None:
        self.parts.append(picture(self._x, self._y - 12, w, h, data))
        self._y += h + 10

    def skip(self) -> None:
        self._y += 12


def story_column(film: Film) -> list[str]:
    column = Column(MARGIN + 18, 46, f"STORY: first 5 of {len(film.story.sentences)} sentences")
    for sentence in film.story.sentences[:5]:
        column.say(sentence.text)
        column.cite(film.clip_times(sentence))
    return column.parts


def search_column(film: Film, query: str, hits: list[Moment]) -> list[str]:
    column = Column(476, 34, "SEARCH")
    column.say(f"“{query}”", bold=True)
    for hit in hits:
        column.show(film.thumbnail(hit.clips[0]))
        column.say(hit.text.partition(". ")[0].rstrip(".") + ".")
        column.cite(film.times(hit.start_s, hit.end_s))
    return column.parts


def ask_column(film: Film, answers: list[Answer]) -> list[str]:
    column = Column(806, 44, "ASK")
    for answer in answers:
        column.say(answer.question, bold=True)
        if answer.refused:
            column.say(answer.text)
            column.say(answer.reason, fill=GREY)
            continue
        for sentence in answer.sentences[:2]:
            cited = sentence.citations[0]
            column.say(sentence.text)
            column.cite(film.times(cited.start_s, cited.end_s))
        for sentence in answer.removed[:1]:
            column.say(sentence.text, fill=RED, struck=True)
            column.say("removed: no chapter supports it", fill=RED)
        column.skip()
    return column.parts


def draw(film: Film, query: str, hits: list[Moment], answers: list[Answer]) -> str:
    """Return the whole picture as SVG."""
    panels = [(MARGIN, 406), (458, 314), (788, WIDTH - MARGIN - 788)]
    height = HEIGHT - PANELS_Y - 24
    rounded = f'rx="8" stroke="{FAINT}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="Helvetica, Arial, DejaVu Sans, sans-serif">',
        rect(0, 0, WIDTH, HEIGHT, "white", 'rx="14"'),
        *header(film),
        *strip(film),
        *frames(film),
        *scenes(film),
        *legend(),
        *(rect(x, PANELS_Y, w, height, "#fafbfc", rounded) for x, w in panels),
        *story_column(film),
        *search_column(film, query, hits),
        *ask_column(film, answers),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("film", type=Path)
    parser.add_argument("--library", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--query", default="a rabbit")
    parser.add_argument("--ask", nargs="*", default=QUESTIONS)
    arguments = parser.parse_args()
    with Library.open(arguments.library, preset="offline") as library:
        name = library.build([arguments.film]).rows[0].name
        hits = library.search(arguments.query, num=2, video=name)
        answers = [library.ask(question, video=name) for question in arguments.ask]
        svg = draw(Film.of(library, name), arguments.query, hits, answers)
    arguments.out.write_text(svg, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
