"""Abstractive summaries: scenes and stories by a language model, at any length.

Nothing is cut: texts that exceed the model's context are summarised in groups of consecutive ones,
and the summaries again, until one prompt holds them all.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from fdvs.errors import ModelError
from fdvs.prompting.prompts import Prompt, ask_for_text, fits, scene_prompt, story_prompt
from fdvs.protocols import LanguageModel
from fdvs.text.sentences import split_sentences
from fdvs.text.timecode import quartile

logger = logging.getLogger(__name__)

# (start_s, text) of a chapter, a scene or a summary of them
Part = tuple[float, str]


def summarise_scene(parts: Sequence[Part], *, writer: LanguageModel, max_tokens: int) -> str:
    """Return the text of one scene from its chapters in order of time.

    Raises BadModelOutput for an empty reply, ModelError if not even one text fits.
    """
    fitting = condense(parts, scene_prompt, writer=writer, max_tokens=max_tokens)
    return ask_for_text(writer, scene_prompt(fitting), max_tokens=max_tokens, what="a scene")


def summarise_story(
    parts: Sequence[Part], *, duration_s: float, writer: LanguageModel, max_tokens: int
) -> str:
    """Return the story of a video from its scenes in order of time. Raises as `summarise_scene`."""

    def build(some: Sequence[Part]) -> Prompt:
        return story_prompt([(quartile(start_s, duration_s), text) for start_s, text in some])

    fitting = condense(parts, build, writer=writer, max_tokens=max_tokens)
    return ask_for_text(writer, build(fitting), max_tokens=max_tokens, what="a story")


def condense(
    parts: Sequence[Part],
    build: Callable[[Sequence[Part]], Prompt],
    *,
    writer: LanguageModel,
    max_tokens: int,
) -> list[Part]:
    """Return parts whose prompt fits: the same ones, or summaries of groups of them, repeatedly."""
    current = list(parts)
    while not fits(writer, build(current), max_tokens=max_tokens):
        pieces = [piece for part in current for piece in _pieces(part, writer, max_tokens)]
        groups = _grouped(pieces, writer, max_tokens)
        if len(groups) >= len(current) and len(groups) >= len(pieces):
            raise _too_small(writer, max_tokens)
        logger.info(
            "%d texts exceed the context: summarised in %d groups", len(pieces), len(groups)
        )
        current = [
            (
                group[0][0],
                ask_for_text(writer, scene_prompt(group), max_tokens=max_tokens, what="a summary"),
            )
            for group in groups
        ]
    return current


def _too_small(writer: LanguageModel, max_tokens: int) -> ModelError:
    return ModelError(
        f"{writer.identity.label()} holds {writer.context_tokens} tokens: too few for two texts "
        f"of {max_tokens} and a summary; lower story.max_tokens or use another model"
    )


def _grouped(pieces: Sequence[Part], writer: LanguageModel, max_tokens: int) -> list[list[Part]]:
    """Return runs of consecutive pieces, each as long as one prompt can hold."""
    groups: list[list[Part]] = []
    for piece in pieces:
        if groups and fits(writer, scene_prompt([*groups[-1], piece]), max_tokens=max_tokens):
            groups[-1].append(piece)
        else:
            groups.append([piece])
    return groups


def _pieces(part: Part, writer: LanguageModel, max_tokens: int) -> list[Part]:
    """Return the part, or the shorter parts that each fit into a prompt of their own."""
    if fits(writer, scene_prompt([part]), max_tokens=max_tokens):
        return [part]
    start_s, text = part
    halves = _halves(text)
    if len(halves) < 2:
        raise _too_small(writer, max_tokens)
    return [p for half in halves for p in _pieces((start_s, half), writer, max_tokens)]


def _halves(text: str) -> list[str]:
    """Return two halves, cut between sentences or else between words."""
    units = split_sentences(text)
    if len(units) < 2:
        units = text.split()
    middle = len(units) // 2
    return [half for half in (" ".join(units[:middle]), " ".join(units[middle:])) if half]
