"""The report of a build as people read it: what is in each file, what failed, what to do next.

What redundancy reduction saved, its rules and the models are for research: shown on demand.
"""

from __future__ import annotations

import shlex
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from fdvs.pipelines.show.tables import (
    FAINT,
    HEAD,
    console,
    length,
    line,
    new_table,
    show_failure,
    show_table,
)
from fdvs.report import BuildReport, BuildRow
from fdvs.text.clean import one_line
from fdvs.text.counts import counted
from fdvs.text.plain import plain_line
from fdvs.types import Saved

MAX_WARNINGS = 10
#: What an observation of a source is called.
UNITS = {
    "speech": "spoken sentence",
    "subtitles": "subtitle line",
    "screen text": "text on screen",
}


def show_report(report: BuildReport, library: Path, *, with_savings: bool = False) -> None:
    """Print a line for each video, then failures, notes, a summary and what to do next.

    `with_savings`: also what redundancy reduction saved, with its rules and the models.
    """
    out = console()
    good = [row for row in report.rows if row.status != "failed"]
    for row in good:
        _show_content(out, row)
    for row in report.rows:
        if row.status == "failed":
            show_failure(out, row.name, row.reason)
    _show_remarks(out, report)
    if good and with_savings:
        _show_savings(out, report, good)
    line(out, (_summary(report), HEAD), (f"  library: {one_line(str(library))}", FAINT))
    if good:
        _show_next(out, good, library)


def _show_content(out: Console, row: BuildRow) -> None:
    """Print one line: length, what is in the video, and what the build did with it."""
    found = [_units(number, UNITS.get(kind, kind)) for kind, number in row.found.items()]
    chapters = counted(row.saved.num_chapters_kept, "chapter") if row.saved else ""
    told = ", ".join(filter(None, [chapters, *(found or ["pictures only"])]))
    partly = f"; not complete: {', '.join(row.missing)}" if row.missing else ""
    line(
        out,
        (plain_line(row.name), HEAD),
        f"  {length(row.duration_s)}  {one_line(told)}",
        (f"  ({_status(row)}{one_line(partly)})", FAINT),
    )


def _units(number: int, unit: str) -> str:
    head, space, rest = unit.partition(" on ")
    return counted(number, head) + space + rest


def _show_next(out: Console, good: list[BuildRow], library: Path) -> None:
    """Print commands that go on from here, as they are to be typed."""
    where = f"-l {shlex.quote(one_line(str(library)))}"
    longest = max(good, key=lambda row: row.duration_s or 0.0)
    for todo in (
        f"story {shlex.quote(one_line(longest.name))}",
        "search 'WORDS'",
        "ask 'QUESTION'",
    ):
        line(out, ("next    ", FAINT), f"fdvs {todo} {where}")


def _show_savings(out: Console, report: BuildReport, good: list[BuildRow]) -> None:
    show_table(out, _table(good, report.saved))
    line(out, saved_sentence(report.saved))
    if report.rules:
        rules = "; ".join(f"{what} by {one_line(rule)}" for what, rule in report.rules.items())
        line(out, (f"rules: {rules}", FAINT))
    models = ", ".join(f"{role} {one_line(label)}" for role, label in report.backends.items())
    line(out, (f"models: {models}", FAINT))


def _table(rows: list[BuildRow], total: Saved) -> Table:
    numbers = ("length", "clips", "frames kept", "chapters kept", "calls", "saved")
    table = new_table(("video", *numbers, "status"), numbers=numbers)
    for row in rows:
        name = Text(plain_line(row.name))
        table.add_row(name, length(row.duration_s), *_cells(row.saved), Text(_status(row)))
    if len(rows) > 1:
        duration_s = sum(row.duration_s or 0.0 for row in rows)
        table.add_row("total", length(duration_s), *_cells(total), "", style=HEAD)
    return table


def _cells(saved: Saved | None) -> list[str]:
    if saved is None:
        return ["-"] * 5
    return [
        str(saved.num_clips),
        f"{saved.num_frames_kept}/{saved.num_frames_sampled}",
        f"{saved.num_chapters_kept}/{saved.num_chapters}",
        str(saved.num_captioner_calls),
        f"{saved.seconds_saved:.1f} s",
    ]


def _status(row: BuildRow) -> str:
    if row.status == "unchanged":
        return "unchanged"
    return f"built, {counted(row.num_clips_computed, 'clip')} new"


def saved_sentence(saved: Saved) -> str:
    """Return what redundancy reduction saved, in one line."""
    frames = share(saved.num_frames_sampled - saved.num_frames_kept, saved.num_frames_sampled)
    chapters = share(saved.num_chapters - saved.num_chapters_kept, saved.num_chapters)
    return (
        f"redundancy: {frames} of {saved.num_frames_sampled} frames and {chapters} of "
        f"{counted(saved.num_chapters, 'chapter')} left out; {saved.num_captioner_calls} frames "
        f"described, {saved.num_captioner_calls_saved} skipped, "
        f"about {saved.seconds_saved:.1f} s saved"
    )


def share(part: int, whole: int) -> str:
    """Return a part in percent; `0 %` of nothing."""
    return f"{100 * part / whole:.0f} %" if whole else "0 %"


def _show_remarks(out: Console, report: BuildReport) -> None:
    warnings = [f"{row.name}: {text}" for row in report.rows for text in row.warnings]
    for text in [*report.notes, *warnings[:MAX_WARNINGS]]:
        line(out, (f"note    {one_line(text)}", FAINT))
    if len(warnings) > MAX_WARNINGS:
        line(out, (f"note    {len(warnings) - MAX_WARNINGS} more; see --json", FAINT))


def _summary(report: BuildReport) -> str:
    if not report.rows:
        return f"nothing to build: no video among {counted(report.num_ignored, 'file')}"
    counts = dict.fromkeys(("built", "unchanged", "failed"), 0)
    for row in report.rows:
        counts[row.status] += 1
    counted_rows = ", ".join(f"{number} {kind}" for kind, number in counts.items())
    ignored = f", {counted(report.num_ignored, 'other file')} ignored" if report.num_ignored else ""
    return f"{counted_rows}{ignored} in {report.seconds:.1f} s"
