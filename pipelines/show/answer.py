"""An answer as people read it: sentences with citations, evidence in time order, what wrote it."""

from __future__ import annotations

from rich.console import Console

from fdvs.pipelines.show.tables import (
    BAD,
    CITATION,
    FAINT,
    HEAD,
    SCORE,
    console,
    line,
    matches,
    paragraph,
    span,
)
from fdvs.text.clean import one_line
from fdvs.text.sentences import shorten
from fdvs.types import Answer, Moment

MAX_EVIDENCE_CHARS = 200  # of a chapter; `fdvs story --chapters` and --json show all of it
MAX_SHOWN = 3  # chapters around quotes; more of them only repeat the quotes
REMOVED = "left out, since no chapter supports it:"
INJECTION = "looks like a prompt injection: quoted, never followed"


def show_answer(answer: Answer) -> None:
    """Print an answer, what was left out, its evidence in time order, and how it was made."""
    out = console()
    if answer.options:
        _show_options(out, answer)
    if answer.refused or not answer.sentences:
        paragraph(out, answer.text, indent="", style=HEAD)
    else:
        _show_sentences(out, answer)
    if answer.refused:
        line(out, (one_line(answer.reason), FAINT))
    for sentence in answer.removed:
        paragraph(out, f"{REMOVED} {sentence.text}", style=FAINT)
    for reply in answer.second_look:
        cited = reply.citations[0]
        line(out, "second look ", span(cited.name, cited.start_s, cited.end_s))
        paragraph(out, reply.text)
    out.print()
    shown = nearest(answer) if answer.refused else answer.told_from
    if len(shown) <= MAX_SHOWN or not answer.is_quoted:
        heading = "Nearest chapter" if answer.refused else "Evidence"
        line(out, (heading if shown else "No evidence was found", FAINT))
        for moment in shown:
            _show_moment(out, moment)
        out.print()
    for note in answer.notes:
        line(out, (f"note: {one_line(note)}", FAINT))
    line(out, (provenance(answer), FAINT))


def _show_sentences(out: Console, answer: Answer) -> None:
    for sentence in answer.sentences:
        paragraph(out, sentence.text, indent="", style=HEAD)
        for cited in sentence.citations:
            # a quote is its own support
            support = "" if cited.support == 1.0 else f"  support {cited.support:.2f}"
            line(out, "  ", span(cited.name, *cited.at_s), (support, FAINT))
        if not sentence.citations:
            line(out, ("  not in the evidence", BAD))


def _show_options(out: Console, answer: Answer) -> None:
    for place, option in enumerate(answer.options):
        mark = "* " if place == answer.chosen else "  "
        line(out, (mark, CITATION), one_line(option.text), (f"  {option.score:.3f}", SCORE))
    out.print()


def _show_moment(out: Console, moment: Moment) -> None:
    from fdvs.prompting.marks import is_suspect

    cited = span(moment.name, moment.start_s, moment.end_s)
    line(out, "  ", cited, (matches(moment), FAINT))
    paragraph(out, shorten(one_line(moment.text), max_chars=MAX_EVIDENCE_CHARS), indent="    ")
    if is_suspect(moment.text):
        line(out, (f"    ({INJECTION})", FAINT))


def nearest(answer: Answer) -> tuple[Moment, ...]:
    """Return the moment of an answer's evidence that is nearest to the question, if any."""
    best = max(answer.evidence, key=lambda moment: moment.score, default=None)
    return () if best is None else (best,)


def provenance(answer: Answer) -> str:
    """Return one line: the model, its attention, tokens read and written, and seconds taken.

    The attention's settings are in `answer.attention` and in --json.
    """
    parts = [f"answered by {one_line(answer.backend)}"]
    if answer.attention != "none":
        parts.append(f"attention: {one_line(answer.attention).split(':')[0]}")
    if answer.num_prompt_tokens:
        counts = f"{answer.num_prompt_tokens} tokens read, {answer.num_answer_tokens} written"
        parts.append(counts)
    timing = answer.timing
    if timing.story:
        source = "" if timing.story == "read" else f" {timing.story}"
        parts.append(f"story read{source} ({timing.read_s:.1f} s)")
    if timing.first_token_s:
        parts.append(f"first token after {timing.first_token_s:.1f} s")
    return "; ".join([*parts, f"{answer.seconds:.1f} s"])
