"""The reply of a language model: asked for, cleaned, and cut into sentences with their citations.

The fixed part of a prompt is prefilled once where the model can. A model is shown `[0:10-0:20]` or
`[NAME @ 0:10-0:20]` and may write anything: what it wrote counts as a citation only where every
second of it lies in chapters that it was given. Whether those support the sentence is not judged
here: see `fdvs.answers.check`.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from fdvs.answers.prompt import AskPrompt
from fdvs.prompting.fence import safe_name
from fdvs.prompting.prompts import checked_text
from fdvs.protocols import Completion, LanguageModel, PrefillLanguageModel
from fdvs.text.sentences import split_sentences
from fdvs.text.timecode import cited_name, rounded_end_s
from fdvs.types import AskTiming, Moment

OnText = Callable[[str], None]
# How models say that they found no answer; small ones do not use the words they were given.
_REFUSAL = re.compile(
    r"\bnot in the (?:evidence|material|video|story)\b"
    r"|\b(?:video|story|material|moments?|evidence|text)s? (?:does|do|did) not\b"
    r"|\b(?:is|are) not (?:mentioned|stated|specified|given|provided)\b"
    r"|\bno (?:information|evidence|mention|details?)\b"
    r"|\bi (?:do not|don't|cannot|can't) (?:know|tell|answer|see)\b",
    re.IGNORECASE,
)

_TIME = r"\d{1,3}(?::\d{2}){1,2}"
_SPAN = rf"{_TIME}(?:\s*(?:-|–|—|to)\s*{_TIME})?"
_SPANS = re.compile(_SPAN)
_TIMES = re.compile(_TIME)
# [NAME @ 0:10-0:20], (0:10-0:20), [0:10, 0:30-0:40]; a name may hold what it likes but brackets
_MARKED = re.compile(
    rf"\[(?:[^\[\]@]{{0,200}}@)?\s*{_SPAN}(?:\s*[,;]\s*{_SPAN})*\s*\]"
    rf"|\((?:[^()@]{{0,200}}(?:\([^()]{{0,99}}\)[^()@]{{0,99}})?@)?\s*{_SPAN}(?:\s*[,;]\s*{_SPAN})*\s*\)"
)
# what looks like a citation but names no time: [film.mp4], [1], [Source: film]
_EMPTY = re.compile(r"\s*\[[^\[\]]{0,200}\]")
_END_MARKS = ".!?…"
_FIRST_MARK = 0xE000  # private use: cannot stand in a cleaned text


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A cleaned reply, the model's token counts, and how long reading and writing took."""

    text: str
    num_prompt_tokens: int
    num_tokens: int
    timing: AskTiming


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenCitation:
    """A stretch that a model cited, in seconds; `name` is empty where it named no video."""

    name: str
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenSentence:
    """A sentence of a model without its citations, and its citations."""

    text: str
    citations: tuple[WrittenCitation, ...]


def ask_model(
    writer: LanguageModel, prompt: AskPrompt, *, max_tokens: int, on_text: OnText | None = None
) -> Reply:
    """Return the reply to a prompt.

    A PrefillLanguageModel reads `prompt.fixed` first (from a cache, where it has one); another
    model gets everything at once, and `on_text` the whole reply at its end.

    Raises BadModelOutput where the reply holds no word, ModelError where the model fails.
    """
    written, timing = _written(writer, prompt, max_tokens, on_text)
    text = checked_text(
        writer,
        written,
        max_tokens=max_tokens,
        what="an answer",
        instead="none (ask.answerer: evidence)",
    )
    return Reply(
        text=text,
        num_prompt_tokens=written.num_prompt_tokens,
        num_tokens=written.num_tokens,
        timing=timing,
    )


def _written(
    writer: LanguageModel, prompt: AskPrompt, max_tokens: int, on_text: OnText | None
) -> tuple[Completion, AskTiming]:
    started = time.monotonic()
    if not isinstance(writer, PrefillLanguageModel):
        written = writer.write(prompt.system, prompt.user, max_tokens=max_tokens)
        if on_text is not None:
            on_text(written.text)
        return written, AskTiming(write_s=_since(started))
    reading = writer.read(prompt.system, prompt.fixed)
    source = "from cache" if getattr(reading, "reused", False) else "read"
    timing = AskTiming(read_s=_since(started), story=source)
    began = time.monotonic()
    first = _FirstPiece(on_text)
    written = reading.write(prompt.rest, max_tokens=max_tokens, on_text=first)
    first_s = round(first.at - began, 3) if first.at else 0.0
    return written, replace(timing, first_token_s=first_s, write_s=_since(began))


class _FirstPiece:
    """Passes on the pieces of a reply and notes when the first one arrived."""

    def __init__(self, on_text: OnText | None) -> None:
        self.at = 0.0
        self._on_text = on_text

    def __call__(self, piece: str) -> None:
        self.at = self.at or time.monotonic()
        if self._on_text is not None:
            self._on_text(piece)


def _since(started: float) -> float:
    return round(time.monotonic() - started, 3)


def is_refusal(sentence: str) -> bool:
    """Return whether a sentence says that the evidence does not hold the answer.

    >>> is_refusal("The video does not show a car.")
    True
    """
    return bool(_REFUSAL.search(sentence))


def read_reply(text: str) -> list[WrittenSentence]:
    """Return the sentences of a cleaned reply, each with the citations that the model wrote.

    A citation belongs to the sentence before it. Square brackets without a time are dropped.
    """
    found: list[tuple[WrittenCitation, ...]] = []
    parts, begin = [], 0
    for mark in _MARKED.finditer(text):
        parts.append(_joined(text[begin : mark.start()], chr(_FIRST_MARK + len(found))))
        found.append(tuple(_citations_of(mark.group())))
        begin = mark.end()
    parts.append(text[begin:])
    plain = _EMPTY.sub("", "".join(parts))
    sentences = [_sentence(sentence, found) for sentence in split_sentences(plain)]
    return [sentence for sentence in sentences if any(c.isalnum() for c in sentence.text)]


def _joined(before: str, mark: str) -> str:
    """Put the mark of a citation into the sentence before it, in front of its full stop."""
    bare = before.rstrip()
    words = bare.rstrip(_END_MARKS)
    return words + mark + bare[len(words) :]


def _citations_of(written: str) -> Iterator[WrittenCitation]:
    inside = written[1:-1]
    name, _, spans = inside.rpartition("@")
    for span in _SPANS.findall(spans):
        times = [seconds(time) for time in _TIMES.findall(span)]
        yield WrittenCitation(name=name.strip(), start_s=times[0], end_s=times[-1])


def _sentence(text: str, found: Sequence[tuple[WrittenCitation, ...]]) -> WrittenSentence:
    places = [ord(c) - _FIRST_MARK for c in text if _is_mark(c)]
    plain = "".join(c for c in text if not _is_mark(c))
    cited = tuple(citation for place in places for citation in found[place])
    return WrittenSentence(text=" ".join(plain.split()), citations=cited)


def _is_mark(character: str) -> bool:
    return _FIRST_MARK <= ord(character) <= 0xF8FF


def seconds(time: str) -> float:
    """Return the seconds of `m:ss` or `h:mm:ss`.

    >>> seconds("1:05"), seconds("1:00:05")
    (65.0, 3605.0)
    """
    total = 0
    for part in time.split(":"):
        total = total * 60 + int(part)
    return float(total)


def times_in(text: str) -> list[str]:
    """Return the times in the words of a sentence, as they are written."""
    return _TIMES.findall(text)


def cited_moments(citation: WrittenCitation, evidence: Sequence[Moment]) -> list[Moment]:
    """Return the moments that cover a citation; none unless they cover all of it.

    Moments are compared as they were shown, to the second. A citation without a name may be of any
    video, but of one only: moments of several videos never cover it together.
    """
    wanted = citation.name.casefold()
    by_video: dict[str, list[Moment]] = {}
    for moment in evidence:
        if not wanted or wanted in _names(moment.name):
            by_video.setdefault(moment.video_id, []).append(moment)
    for moments in by_video.values():
        inside = _covering(citation, moments)
        if inside:
            return inside
    return []


def _names(name: str) -> set[str]:
    """Return the forms in which a name is cited: as it is, in a prompt, in an answer."""
    return {one.casefold() for one in (name, safe_name(name), cited_name(name))}


def _covering(citation: WrittenCitation, moments: Sequence[Moment]) -> list[Moment]:
    start_s, end_s = citation.start_s, citation.end_s
    touched, reached_s = [], start_s
    for moment in sorted(moments, key=lambda m: (m.start_s, m.end_s)):
        shown_start_s, shown_end_s = math.floor(moment.start_s), rounded_end_s(moment.end_s)
        is_point_inside = start_s == end_s and shown_start_s <= start_s <= shown_end_s
        if is_point_inside or (shown_start_s < end_s and shown_end_s > start_s):
            if shown_start_s > reached_s:
                return []
            touched.append(moment)
            reached_s = max(reached_s, shown_end_s)
    return touched if touched and start_s <= end_s <= reached_s else []
