"""Results as people read them: rows, stories, moments, and the tables they are shown in.

Names and texts come from outside: they are printed as plain text, never as markup. A citation is
never broken, whatever the width of the terminal; long texts are wrapped in a terminal only, never
in a pipe.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from fdvs.text.clean import one_line
from fdvs.text.counts import counted
from fdvs.text.plain import plain_line
from fdvs.text.timecode import citation, end_code
from fdvs.types import Moment, Saved, Sentence, Story, VideoHit, VideoRow

Cite = Callable[[Sentence], list[str]]

PIPE_WIDTH = 120  # columns of a table where there is no terminal to ask
MAX_TEXT_WIDTH = 100
MAX_NOTES = 5  # of one video
PICTURES = "pictures"  # how visual matches are shown; stored and in JSON they are "looks"
CITATION, FAINT, HEAD, SCORE, BAD = "cyan", "dim", "bold", "green", "red"


def console() -> Console:
    """Return a console that reads nothing as markup and adds no colours of its own."""
    width = None if Console().is_terminal else PIPE_WIDTH
    return Console(markup=False, emoji=False, highlight=False, soft_wrap=True, width=width)


def line(out: Console, *parts: tuple[str, str] | str) -> None:
    """Print one line, never wrapped, of (text, style) parts that the caller has cleaned."""
    out.print(Text.assemble(*parts), soft_wrap=True)


def paragraph(out: Console, text: str, *, indent: str = "  ", style: str = "") -> None:
    """Print untrusted text, indented, wrapped in a terminal only."""
    clean = one_line(text)
    if not clean:
        return
    if not out.is_terminal:
        line(out, indent, (clean, style))
        return
    width = max(20, min(MAX_TEXT_WIDTH, out.width - 1))
    wrapped = textwrap.wrap(clean, width, initial_indent=indent, subsequent_indent=indent)
    for piece in wrapped:
        line(out, (piece, style))


def new_table(headings: Iterable[str], *, numbers: Iterable[str] = ()) -> Table:
    """Return a table without lines; columns in `numbers` are on the right and never wrapped."""
    table = Table(box=None, header_style=FAINT, pad_edge=False, padding=(0, 2, 0, 0))
    on_right = set(numbers)
    for heading in headings:
        is_number = heading in on_right
        table.add_column(
            heading,
            justify="right" if is_number else "left",
            overflow="fold",
            no_wrap=is_number,
        )
    return table


def show_table(out: Console, table: Table) -> None:
    """Print a table; in a pipe without trailing blanks."""
    if out.is_terminal:
        out.print(table, soft_wrap=False)
        return
    with out.capture() as captured:
        out.print(table, soft_wrap=False)
    for row in captured.get().splitlines():
        line(out, row.rstrip())


def show_rows(rows: Sequence[VideoRow], saved: Mapping[str, Saved], library: Path) -> None:
    """Print the library's list: the videos that were built, then those that failed and why."""
    out = console()
    built = [row for row in rows if row.status != "failed"]
    failed = [row for row in rows if row.status == "failed"]
    if not rows:
        line(out, f"{one_line(str(library))} holds no videos yet; build: fdvs build PATH")
        return
    if built:
        show_table(out, _row_table(built, saved))
    for row in built:
        for note in row.notes[:MAX_NOTES]:
            line(out, (f"note    {plain_line(row.name)}: {one_line(note)}", FAINT))
        if len(row.notes) > MAX_NOTES:
            more = len(row.notes) - MAX_NOTES
            line(out, (f"note    {plain_line(row.name)}: {more} more; see --json", FAINT))
    for row in failed:
        show_failure(out, row.name, row.reason)
    line(out, (f"{counted(len(built), 'video')}, {len(failed)} failed", FAINT))


def _row_table(rows: Sequence[VideoRow], saved: Mapping[str, Saved]) -> Table:
    numbers = ("length", "clips", "chapters", "frames kept")
    table = new_table(("video", *numbers, "id"), numbers=numbers)
    for row in rows:
        counts = saved.get(row.name)
        table.add_row(
            Text(plain_line(row.name) + (f" ({row.status})" if row.status != "ok" else "")),
            length(row.duration_s),
            str(row.num_clips),
            str(row.num_chapters),
            f"{counts.num_frames_kept}/{counts.num_frames_sampled}" if counts else "-",
            Text(row.video_id or "-", style=FAINT),
        )
        if row.status == "partial" and row.reason and not row.notes:
            table.add_row(Text(f"  {one_line(row.reason)}", style=FAINT))
    return table


def show_failure(out: Console, name: str, reason: str) -> None:
    """Print one failed file with its reason."""
    line(out, ("failed  ", BAD), plain_line(name), (f"  {one_line(reason)}", FAINT))


def length(duration_s: float | None) -> str:
    """Return a duration as a time code, `-` where it is not known."""
    return "-" if duration_s is None else end_code(duration_s)


def show_story(story: Story, name: str, *, with_chapters: bool) -> None:
    """Print a story: the whole, the scenes and, if asked, the chapters; each with citations."""
    out = console()
    cite = _clip_citations(story, name)
    facts = [length(story.duration_s), counted(story.num_clips, "clip")]
    facts += [
        f"{counted(len(story.chapters), 'chapter')} kept",
        counted(len(story.scenes), "scene"),
    ]
    line(out, (plain_line(name), HEAD), (f"  {', '.join(facts)}", FAINT))
    _show_sentences(out, story.sentences, cite)
    for scene in story.scenes:
        out.print()
        head = f"Scene {scene.index + 1}" + (f": {one_line(scene.title)}" if scene.title else "")
        line(out, (f"{head}  ", HEAD), span(name, scene.start_s, scene.end_s))
        _show_sentences(out, scene.sentences, cite)
    if with_chapters:
        _show_chapters(out, story, name)
    out.print()
    for level, writer in story.writers.items():
        line(out, (f"{level}: {one_line(writer)}", FAINT))


def _show_sentences(out: Console, sentences: Sequence[Sentence], cite: Cite) -> None:
    for sentence in sentences:
        paragraph(out, sentence.text)
        line(out, ("  " + " ".join(cite(sentence)), CITATION))


def _show_chapters(out: Console, story: Story, name: str) -> None:
    out.print()
    line(out, ("Chapters", HEAD))
    for chapter in story.chapters:
        line(out, "  ", span(name, chapter.start_s, chapter.end_s))
        paragraph(out, chapter.text, indent="    ")


def span(name: str, start_s: float, end_s: float) -> tuple[str, str]:
    """Return a styled citation."""
    return citation(name, start_s, end_s), CITATION


def _clip_citations(story: Story, name: str) -> Cite:
    """Return a function from sentences to citations; times that touch become one."""

    @cache
    def cite(sentence: Sentence) -> list[str]:
        runs: list[tuple[float, float]] = []
        for start_s, end_s in sorted(story.spans_of(sentence)):
            if runs and start_s <= runs[-1][1]:
                runs[-1] = (runs[-1][0], max(end_s, runs[-1][1]))
            else:
                runs.append((start_s, end_s))
        return [citation(name, start_s, end_s) for start_s, end_s in runs]

    return cite


def matches(moment: Moment) -> str:
    """Return in which ways a moment matched, e.g. `  by meaning (0.52) and pictures (0.73)`, or
    ""; the numbers are cosines."""
    scores = {"meaning": moment.score, "looks": moment.picture_score}
    shown = []
    for way in moment.matched_by:
        score = scores.get(way)
        name = one_line(PICTURES if way == "looks" else way)
        shown.append(name if score is None else f"{name} ({score:.2f})")
    return f"  by {' and '.join(shown)}" if shown else ""


def show_moments(
    moments: Sequence[Moment], query: str, floor: float, nearest: Sequence[Moment] = ()
) -> None:
    """Print moments, most relevant first: citation, relevance, in which ways it matched, text.
    Where there is none, say so and print the `nearest` with their scores."""
    out = console()
    if not moments:
        _nothing(out, query, floor, nearest=bool(nearest))
    for moment in moments or nearest:
        number = moment.relevance if moments else moment.score
        score = (f"  {moment.score if number is None else number:.3f}", SCORE)
        cited = span(moment.name, moment.start_s, moment.end_s)
        line(out, cited, score, (matches(moment) if moments else "", FAINT))
        paragraph(out, moment.text)


def show_hits(
    hits: Sequence[VideoHit], query: str, floor: float, nearest: Sequence[VideoHit] = ()
) -> None:
    """Print whole videos, most relevant first: the relevance, and the passage that earned it.
    Where there is none, say so and print the `nearest` with their scores."""
    out = console()
    if not hits:
        _nothing(out, query, floor, nearest=bool(nearest))
    for hit in hits or nearest:
        line(
            out,
            (plain_line(hit.name), HEAD),
            (f"  {hit.relevance if hits else hit.score:.3f}  ", SCORE),
            (f"by its {hit.level} ({hit.score:.2f})" if hits else f"by its {hit.level}", FAINT),
        )
        line(out, "  ", span(hit.name, hit.start_s, hit.end_s))
        paragraph(out, hit.text)


def _nothing(out: Console, query: str, floor: float, *, nearest: bool) -> None:
    following = "nearest:" if nearest else "try other words or a lower --min-score"
    line(out, f"nothing fits {one_line(query)!r} well (no score of {floor:g}); {following}")


def show_eval_rows(facts: Sequence[Mapping[str, Any]]) -> None:
    """Print the benchmark rows; a star marks those of the paper."""
    out = console()
    table = new_table(("row", "task", "split", "records", "metric", "needs"))
    for fact in facts:
        table.add_row(
            fact["name"] + (" *" if fact["in_paper"] else ""),
            fact["task"],
            f"{fact['dataset']} {fact['split']}",
            str(fact["num_records"] or "-"),
            fact["metric"],
            fact["needs"],
        )
    show_table(out, table)
    line(
        out,
        "* row of arXiv 2412.06182. Run: fdvs eval ROW --data FOLDER, or fdvs eval all",
    )
