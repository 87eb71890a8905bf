"""Documents and tables: Markdown for notes, CSV for sheets."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence

from fdvs.pipelines.detail import VideoDetail
from fdvs.pipelines.exports.texts import Mark
from fdvs.text.clean import one_line
from fdvs.text.plain import plain_line
from fdvs.text.timecode import end_code, timecode

# characters that Markdown or a wiki would read as structure
_MARKUP = re.compile(r"([\\`*_\[\]<>#|~])")
# a sheet runs a cell that begins with one of these as a formula
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def markdown(detail: VideoDetail) -> str:
    """Return a note: a head of YAML, the story, scenes with their sentences and times."""
    story = detail.story
    lines = [
        "---",
        f"title: {_yaml(detail.name)}",
        f"video_id: {detail.video_id}",
        f"length: {_yaml(end_code(detail.duration_s))}",
        "---",
        "",
        f"# {escaped(detail.name)}",
        "",
    ]
    for sentence in story.sentences:
        lines += [f"{escaped(sentence.text)} {_times(story.spans_of(sentence))}", ""]
    for scene in story.scenes:
        title = escaped(scene.title or f"Scene {scene.index + 1}")
        lines += [f"## {title} ({timecode(scene.start_s)})", ""]
        lines += [f"- {escaped(s.text)} {_times(story.spans_of(s))}" for s in scene.sentences]
        lines.append("")
    return "\n".join(lines)


def _times(spans_s: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"({timecode(start_s)}-{end_code(end_s)})" for start_s, end_s in spans_s)


def escaped(text: str) -> str:
    """Return a text as one line in which nothing is Markdown."""
    return _MARKUP.sub(r"\\\1", plain_line(text))


def _yaml(text: str) -> str:
    inside = plain_line(text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{inside}"'


def csv_table(detail: VideoDetail, marks: Sequence[Mark]) -> str:
    """Return a row a mark. A cell that a sheet would run as a formula gets an apostrophe."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["video", "start_s", "end_s", "time", "title", "text"])
    for one in marks:
        writer.writerow(
            [
                _cell(detail.name), f"{one.start_s:.3f}", f"{one.end_s:.3f}",
                timecode(one.start_s), _cell(one.title), _cell(one.text),
            ]
        )  # fmt: skip
    return out.getvalue()


def _cell(text: str) -> str:
    line = one_line(text)
    return f"'{line}" if line.startswith(_FORMULA) else line
