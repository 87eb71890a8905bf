"""Fit story and evidence into a model's context, saying what was left out.

The story gives way first: its sentences are dropped evenly, so that what remains still spans the
video. Below `MIN_STORY_SENTENCES` the chapters are cut too, step by step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from fdvs.errors import ModelError
from fdvs.perception import clean_text
from fdvs.prompts import Prompt, answer_prompt
from fdvs.protocols import TextWriter
from fdvs.replies import fits
from fdvs.types import Moment, Story

T = TypeVar("T")

MIN_STORY_SENTENCES = 3
CHAPTER_CHARS = (4000, 1000, 400, 160, 60)
NO_STORY = "(no story)"


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedPrompt:
    """A prompt that fits, and one phrase for each thing that had to be shortened."""

    prompt: Prompt
    left_out: tuple[str, ...]


def fitted_prompt(
    question: str,
    stories: Sequence[Story],
    evidence: Sequence[Moment],
    writer: TextWriter,
    *,
    max_tokens: int,
) -> FittedPrompt:
    """Return the prompt with as much of the stories and chapters as the context holds.

    Where several videos give evidence, stories and chapters carry the video's name.
    Raises ModelError where not even the shortest chapters fit.
    """
    sentences = _sentences(stories, evidence)

    def build(num_sentences: int, num_chars: int) -> Prompt:
        story = told(drop_evenly(sentences, keep=num_sentences))
        return answer_prompt(question, story=story, evidence=_lines(evidence, num_chars))

    def most(num_chars: int) -> int | None:
        return _most_that_fit(
            len(sentences),
            lambda keep: fits(writer, build(keep, num_chars), max_tokens=max_tokens),
        )

    found = _best_fit(most, num_wanted=min(MIN_STORY_SENTENCES, len(sentences)))
    if found is None:
        raise ModelError(
            f"{writer.identity.label()} holds {writer.context_tokens} tokens: too few for the "
            f"question with {len(evidence)} chapters and {max_tokens} tokens of answer; "
            "use fewer chapters (ask.num_evidence) or a model with a longer context"
        )
    num, num_chars = found
    left_out = _left_out(num, len(sentences), num_chars, evidence)
    return FittedPrompt(prompt=build(num, num_chars), left_out=left_out)


def _sentences(stories: Sequence[Story], evidence: Sequence[Moment]) -> list[tuple[str, str]]:
    """Return (name, sentence) of all stories; no name where there is one video."""
    names = {moment.video_id: moment.name for moment in evidence}
    return [
        (names.get(story.video_id, "") if len(names) > 1 else "", sentence.text)
        for story in stories
        for sentence in story.sentences
    ]


def _best_fit(most: Callable[[int], int | None], *, num_wanted: int) -> tuple[int, int] | None:
    """Return (sentences of the story, characters of a chapter), None where nothing fits.

    The longest chapters that leave room for `num_wanted` sentences; where none do, those that
    leave room for most.
    """
    fitting = []
    for num_chars in CHAPTER_CHARS:
        num = most(num_chars)
        if num is not None and num >= num_wanted:
            return num, num_chars
        if num is not None:
            fitting.append((num, num_chars))
    return max(fitting, default=None)


def _most_that_fit(num_items: int, fits_with: Callable[[int], bool]) -> int | None:
    """Return the largest count that fits, by bisection; None where not even 0 does."""
    if fits_with(num_items):
        return num_items
    if not fits_with(0):
        return None
    low, high = 0, num_items  # low fits, high does not
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits_with(middle) else (low, middle)
    return low


def drop_evenly(items: Sequence[T], *, keep: int) -> list[T]:
    """Return `keep` items spread over the whole list, the first and the last among them.

    >>> drop_evenly("abcdefg", keep=3)
    ['a', 'd', 'g']
    """
    if keep >= len(items):
        return list(items)
    if keep < 2:
        return list(items[:keep])
    return [items[i * (len(items) - 1) // (keep - 1)] for i in range(keep)]


def told(sentences: Sequence[tuple[str, str]]) -> str:
    """Return (name, sentence) pairs as one text; a name stands before its first sentence."""
    if not sentences:
        return NO_STORY
    parts, last = [], ""
    for name, sentence in sentences:
        parts.append(f"{name}: {sentence}" if name and name != last else sentence)
        last = name
    return " ".join(parts)


def _lines(evidence: Sequence[Moment], num_chars: int) -> list[tuple[float, float, str]]:
    is_one_video = len({moment.video_id for moment in evidence}) == 1
    return [
        (
            moment.start_s,
            moment.end_s,
            ("" if is_one_video else f"{moment.name}: ")
            + clean_text(moment.text, max_chars=num_chars),
        )
        for moment in evidence
    ]


def _left_out(
    num: int, num_sentences: int, num_chars: int, evidence: Sequence[Moment]
) -> tuple[str, ...]:
    notes = []
    if num < num_sentences:
        notes.append(f"story cut to {num} of {num_sentences} sentences to fit the context")
    num_cut = sum(len(moment.text) > num_chars for moment in evidence)
    if num_cut:
        notes.append(f"{num_cut} of {len(evidence)} chapters cut to {num_chars} characters")
    return tuple(notes)
