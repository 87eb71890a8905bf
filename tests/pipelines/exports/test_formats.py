"""Exports read back by readers that know only the formats' rules: same items, times and texts."""

from __future__ import annotations

import csv
import html
import io
import json
import random
import re
import zipfile
from pathlib import Path

import pytest

from fdvs.errors import InvalidValue, NotFound, UnknownName
from fdvs.pipelines.detail import ClipDetail, Cue, VideoDetail
from fdvs.pipelines.exports import documents, markers, texts
from fdvs.pipelines.exports.formats import FORMATS, export, marks_of, usual_level
from fdvs.pipelines.exports.texts import Mark
from fdvs.text.clean import one_line
from fdvs.types import Chapter, Scene, Sentence, Story

PIECES = (
    "-->", "\n\n", "\r\n", "1\n00:00:01,000 --> 00:00:02,000", "<b>", "&amp;", "&", "{\\an8}", "=",
    ";", "#", "\\", "|", "[CHAPTER]", "WEBVTT", "NOTE", "[[link]]", "`", "*", "_", '"', "'", ",",
    "=1+1", "@SUM(A1)", "Über", "日本語", "\u202e", "\x1b[31m", "\x00", " ", "a", "fox", "…", "---",
)  # fmt: skip


def hostile(seed: int) -> str:
    rng = random.Random(seed)
    return "".join(rng.choice(PIECES) + rng.choice(("", " ")) for _ in range(rng.randint(1, 12)))


MARKS = [
    Mark(start_s=2.0 * n, end_s=2.0 * n + 1.5, text=hostile(n), title=hostile(n + 1000))
    for n in range(200)
]


def plain(text: str) -> str:
    """What a format that keeps no layout may keep of a text: its visible characters."""
    return re.sub(r"-{2,}>", "→", one_line(text))


def seconds(clock: str) -> float:
    hours, minutes, rest = clock.replace(",", ".").split(":")
    return 3600 * int(hours) + 60 * int(minutes) + float(rest)


def cues(text: str) -> list[tuple[float, float, str]]:
    """Read SubRip or WebVTT: blocks parted by empty lines; times where the arrow is."""
    found = []
    for block in re.split(r"\n{2,}", text):
        lines = block.strip("\n").split("\n")
        at = next((n for n, line in enumerate(lines) if " --> " in line), None)
        if at is not None:
            start, end = lines[at].split(" --> ")
            found.append((seconds(start), seconds(end), "\n".join(lines[at + 1 :])))
    return found


def test_subrip_keeps_every_cue() -> None:
    found = cues(texts.srt(MARKS))
    assert [(a, b) for a, b, _ in found] == [(m.start_s, m.end_s) for m in MARKS]
    for (_, _, text), mark in zip(found, MARKS, strict=True):
        assert text == (
            (
                re.sub(r"[{}]", "", plain(mark.text)).strip()
                and re.sub(r"-{2,}>", "→", re.sub(r"[{}]", "", one_line(mark.text)))
            )
            or "-"
        )


@pytest.mark.parametrize("write", [texts.vtt, texts.vtt_chapters])
def test_webvtt_keeps_every_cue_and_no_text_is_a_tag(write: object) -> None:
    written = write(MARKS)  # type: ignore[operator]
    assert written.startswith("WEBVTT\n\n")
    found = cues(written)
    assert len(found) == len(MARKS)
    for (_, _, text), mark in zip(found, MARKS, strict=True):
        wanted = mark.line if write is texts.vtt_chapters else mark.text
        assert html.unescape(text) == (plain(wanted) or "-")
        assert "<" not in text


def test_ffmetadata_is_read_back_by_its_rules() -> None:
    written = texts.ffmetadata(MARKS, title="a=b;c")
    head, *blocks = written.split("\n[CHAPTER]\n")
    assert head == ";FFMETADATA1\ntitle=a\\=b\\;c"
    assert len(blocks) == len(MARKS)
    for block, mark in zip(blocks, MARKS, strict=True):
        values = dict(line.split("=", 1) for line in block.strip("\n").split("\n"))
        assert int(values["START"]) == round(mark.start_s * 1000)
        assert int(values["END"]) == round(mark.end_s * 1000)
        assert re.sub(r"\\(.)", r"\1", values["title"]) == mark.line


def test_youtube_begins_at_zero_and_no_chapter_is_short() -> None:
    marks = [Mark(start_s=s, end_s=s + 4, text=f"t{s}") for s in (3.0, 8.0, 14.0, 30.0, 39.0, 41.0)]
    assert texts.youtube(marks) == "0:00 t3.0\n0:14 t14.0\n0:30 t30.0\n"
    hour = [Mark(start_s=0.0, end_s=1.0, text="a"), Mark(start_s=3723.0, end_s=3800.0, text="b")]
    assert texts.youtube(hour) == "0:00 a\n1:02:03 b\n"


def test_an_edl_has_an_event_a_marker_in_frames() -> None:
    written = markers.edl(MARKS, title="film", fps=25)
    events = re.findall(r"^(\d{3})  001 +V +C +(\S+) (\S+) \2 \3$", written, re.M)
    named = re.findall(r"^ \|C:ResolveColorBlue \|M:([^|\n]*) \|D:(\d+)$", written, re.M)
    assert len(events) == len(named) == len(MARKS)
    for (_, start, _), (text, length), mark in zip(events, named, MARKS, strict=True):
        h, m, s, f = map(int, start.split(":"))
        assert ((h * 60 + m) * 60 + s) * 25 + f == round(mark.start_s * 25)
        assert text.strip() == mark.line.replace("|", "/")[:200].strip()
        assert int(length) == round(mark.end_s * 25) - round(mark.start_s * 25)
    with pytest.raises(InvalidValue, match="--fps"):
        markers.edl(MARKS, title="x", fps=0.0)


def test_otio_is_one_clip_with_a_marker_each() -> None:
    written = json.loads(markers.otio(MARKS, title="f", url="file:///f", duration_s=400.0))
    (clip,) = written["tracks"]["children"][0]["children"]
    for marker, mark in zip(clip["markers"], MARKS, strict=True):
        span = marker["marked_range"]
        assert span["start_time"]["value"] / 1000 == pytest.approx(mark.start_s)
        assert span["duration"]["value"] / 1000 == pytest.approx(mark.end_s - mark.start_s)
        assert marker["name"] == mark.line
    otio = pytest.importorskip("opentimelineio")
    read = otio.adapters.read_from_string(json.dumps(written), "otio_json")
    assert len(next(iter(read.find_clips())).markers) == len(MARKS)


def test_a_sheet_has_a_row_each_and_no_cell_is_a_formula() -> None:
    rows = list(csv.DictReader(io.StringIO(documents.csv_table(detail(), MARKS))))
    assert len(rows) == len(MARKS)
    for row, mark in zip(rows, MARKS, strict=True):
        assert float(row["start_s"]) == mark.start_s
        line = one_line(mark.text)
        assert row["text"] == (f"'{line}" if line.startswith(("=", "+", "-", "@")) else line)
        assert not row["text"].startswith(("=", "+", "-", "@"))


def test_nothing_of_a_note_is_markup() -> None:
    for seed in range(200):
        text = documents.escaped(hostile(seed))
        assert not re.search(r"(?<!\\)(?:\\\\)*[`*_\[\]<>#|~]", text)
        assert "\n" not in text


def detail(said: tuple[Cue, ...] = (), path: str = "/films/film.mp4") -> VideoDetail:
    clips = tuple(
        ClipDetail(video_id="v", name="film.mp4", start_s=10.0 * n, end_s=10.0 * n + 10, index=n,
                   text=f"Chapter {n} <i>.", title=f"Title {n}", is_kept=n != 2,
                   stands_for=1 if n == 2 else None, has_picture=True)
        for n in range(4)
    )  # fmt: skip
    story = Story(
        video_id="v", duration_s=40.0, sentences=(Sentence(text="First & last.", clips=(0, 1)),),
        scenes=(
            Scene(index=0, start_s=0.0, end_s=20.0, chapters=(0, 1), title="One <script>",
                  sentences=(Sentence(text="A fox.", clips=(0,)),)),
            Scene(index=1, start_s=20.0, end_s=40.0, chapters=(3,),
                  sentences=(Sentence(text="An owl.", clips=(3,)),)),
        ),
        chapters=tuple(
            Chapter(video_id="v", index=n, start_s=10.0 * n, end_s=10.0 * n + 10, text="Text.")
            for n in (0, 1, 3)
        ), num_clips=4,
    )  # fmt: skip
    return VideoDetail(
        video_id="v", name="film.mp4", path=Path(path), duration_s=40.0, story=story, clips=clips,
        said=said, probe={"fps": 25.0},
    )  # fmt: skip


def no_picture(clip: int) -> bytes:
    raise NotFound(f"no picture of {clip}")


def test_levels_hold_what_they_say() -> None:
    film = detail(said=(Cue(start_s=1.0, end_s=2.0, text="Hello."),))
    assert [m.text for m in marks_of(film, "story")] == ["First & last."]
    assert [m.title for m in marks_of(film, "scenes")] == ["One <script>", "An owl."]
    assert [m.title for m in marks_of(film, "chapters")] == ["Title 0", "Title 1", "Title 3"]
    assert [m.text for m in marks_of(film, "speech")] == ["Hello."]
    assert usual_level(film, "srt") == "speech"
    assert usual_level(detail(), "srt") == "chapters"
    with pytest.raises(NotFound, match="nothing at level speech"):
        marks_of(detail(), "speech")
    with pytest.raises(InvalidValue, match="story, scenes, chapters, speech"):
        marks_of(film, "acts")  # type: ignore[arg-type]


@pytest.mark.parametrize("name", [*FORMATS])
def test_every_format_is_written(name: str) -> None:
    assert export(detail(), name, level=None, fps=0.0, picture=no_picture)


def test_a_report_holds_everything_and_loads_nothing() -> None:
    jpeg = b"\xff\xd8\xff\xe0picture"
    written = export(detail(), "html", level=None, fps=0.0, picture=lambda clip: jpeg).decode()
    assert "default-src 'none'" in written
    assert "<script" not in written
    assert "One &lt;script&gt;" in written
    assert "data:image/jpeg;base64," in written
    assert not re.search(r'(?:src|href)="(?!data:)', written)
    assert "left out: told at 0:10" in written


def test_an_archive_holds_every_format_and_says_what_it_lacks() -> None:
    film = detail()
    content = export(film, "zip", level="speech", fps=0.0, picture=no_picture)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert "srt: film.mp4 has nothing at level speech" in archive.read("missing.txt").decode()
    content = export(film, "zip", level=None, fps=0.0, picture=no_picture)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert len(archive.namelist()) == len(FORMATS)
        assert json.loads(archive.read("v.json"))["name"] == "film.mp4"


def test_an_unknown_format_names_those_that_exist() -> None:
    with pytest.raises(UnknownName, match="srt"):
        export(detail(), "str", level=None, fps=0.0, picture=no_picture)
