"""What notebooks show of results: HTML without scripts, escaped, with pictures inside of it.

Colours are those of the notebook, so that it can be read in the dark, too. Pictures come from the
libraries that were opened in this process; where none knows a clip, its place stays empty. Texts
and names come from videos and are never markup.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from fdvs.shown import show_as
from fdvs.text.clean import one_line
from fdvs.text.timecode import citation, end_code, timecode

MAX_TEXT_CHARS = 600
MAX_PICTURE_BYTES = 100_000
MAX_ROWS = 50
FAINT = "opacity:.7;font-size:.9em"
_PICTURE = "height:72px;max-width:128px;border-radius:4px;vertical-align:top"
_thumbnails: dict[str, Path] = {}  # folders of thumbnails by library


def show_pictures_of(library: Path, thumbnails: Path) -> None:
    """Let results of a library show the pictures in its folder of thumbnails."""
    _thumbnails[str(library)] = thumbnails


def picture(video_id: str, clip: int) -> str:
    """Return the picture of a clip as a data URI, "" where no library has it."""
    if not video_id.isalnum():
        return ""
    for folder in reversed(list(_thumbnails.values())):
        place = folder / video_id / f"{clip:06d}.jpg"
        try:
            if place.is_file() and place.stat().st_size <= MAX_PICTURE_BYTES:
                data = base64.b64encode(place.read_bytes()).decode("ascii")
                return f"data:image/jpeg;base64,{data}"
        except OSError:
            continue
    return ""


def moment_html(moment: Any) -> str:
    """Return a moment: picture, citation, why it matched, text."""
    ways = f"by {', '.join(moment.matched_by)}" if moment.matched_by else ""
    number = f"{moment.relevance:.3f}" if moment.relevance is not None else f"{moment.score:.2f}"
    clip = moment.clips[len(moment.clips) // 2] if moment.clips else 0
    head = f"{_cited(moment)} {_faint(f'{number} {ways}')}"
    return _card(picture(moment.video_id, clip), f"{head}<br>{_text(moment.text)}")


def story_html(story: Any) -> str:
    """Return a story: the whole, then scene by scene, each sentence with its times."""
    parts = [_sentences(story, story.sentences)]
    for scene in story.scenes:
        title = f": {_text(scene.title)}" if scene.title else ""
        when = f"{timecode(scene.start_s)}-{end_code(scene.end_s)}"
        first = scene.chapters[0] if scene.chapters else 0
        head = f"<b>Scene {scene.index + 1}{title}</b> {_faint(when)}"
        body = _sentences(story, scene.sentences)
        parts.append(_card(picture(story.video_id, first), f"{head}<br>{body}"))
    return _block("".join(parts))


def answer_html(answer: Any) -> str:
    """Return an answer: question, sentences with citations, evidence."""
    parts = [f"<p><b>{_text(answer.question)}</b></p>"]
    if answer.refused or not answer.sentences:
        parts.append(f"<p>{_text(answer.text)} {_faint(answer.reason)}</p>")
    for sentence in answer.sentences:
        cited = " ".join(_cited(one) for one in sentence.citations)
        parts.append(f"<p>{_text(sentence.text)} {cited}</p>")
    parts += [moment_html(one) for one in answer.told_from]
    parts.append(_faint(f"answered by {answer.backend}, {answer.seconds:.1f} s"))
    parts += [f"<br>{_faint(note)}" for note in answer.notes]
    return _block("".join(parts))


def library_html(place: str, rows: Sequence[Any], tellers: Iterable[str]) -> str:
    """Return a library: one line a video, with its picture and the first words of its story."""
    parts = [f"<p><b>{_text(place)}</b> {_faint(f'{len(rows)} files')}</p>"]
    for row, told in zip(rows[:MAX_ROWS], tellers, strict=False):
        length = "" if row.duration_s is None else end_code(row.duration_s)
        state = "" if row.status == "ok" else f"{row.status} {row.reason}"
        head = f"<b>{_name(row.name)}</b> {_faint(f'{length} {state}'.strip())}"
        shown = picture(row.video_id, 0) if row.video_id else ""
        parts.append(_card(shown, f"{head}<br>{_text(told)}"))
    if len(rows) > MAX_ROWS:
        parts.append(_faint(f"and {len(rows) - MAX_ROWS} more"))
    return _block("".join(parts))


def _sentences(story: Any, sentences: Iterable[Any]) -> str:
    shown = []
    for sentence in sentences:
        spans_s = story.spans_of(sentence)[:5]
        times = ", ".join(f"{timecode(start_s)}-{end_code(end_s)}" for start_s, end_s in spans_s)
        shown.append(f"{_text(sentence.text)} {_faint(times)}")
    return f"<p>{' '.join(shown)}</p>"


def _block(inside: str) -> str:
    return f'<div style="max-width:50em;line-height:1.4">{inside}</div>'


def _card(source: str, inside: str) -> str:
    shown = f'<img alt="" src="{source}" style="{_PICTURE}">' if source else ""
    return (
        '<div style="display:flex;gap:.8em;margin:.5em 0">'
        f'<div style="flex:0 0 128px">{shown}</div><div>{inside}</div></div>'
    )


def _cited(span: Any) -> str:
    return f"<code>{_name(citation(one_line(span.name), span.start_s, span.end_s))}</code>"


def _name(text: str) -> str:
    """Return a name apart from the direction of what stands around it."""
    return f"<bdi>{_text(text)}</bdi>"


def _faint(text: str) -> str:
    return f'<span style="{FAINT}">{_text(text)}</span>' if text.strip() else ""


def _text(text: str) -> str:
    plain = one_line(text)
    cut = plain if len(plain) <= MAX_TEXT_CHARS else plain[: MAX_TEXT_CHARS - 1] + "…"
    return html.escape(cut, quote=True)


show_as("Moment", moment_html)
show_as("Story", story_html)
show_as("Answer", answer_html)
