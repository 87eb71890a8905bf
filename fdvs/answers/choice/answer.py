"""A multiple-choice question about a library: a Chooser scores, the evidence is cited and checked.

The chosen option is cited by the passages that carried it, where a chapter supports it; whether the
videos show an answer at all is judged as for open questions, with the chosen option beside the
question. Where they do not, the nearest option is still named: some option is asked for.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from fdvs.answers.check import check_reply, told
from fdvs.answers.choice.chooser import Choice, Chooser
from fdvs.answers.citations import WrittenSentence
from fdvs.answers.evidence import Material
from fdvs.answers.fit import FitJudge
from fdvs.answers.from_index import material_of, moment_of
from fdvs.answers.write import REFUSAL
from fdvs.config import AskConfig
from fdvs.errors import InvalidValue
from fdvs.protocols import TextEmbedder
from fdvs.search.index import Entry, Index
from fdvs.text.clean import clean_text
from fdvs.types import Answer, AskTiming, Moment, ScoredOption

MAX_OPTIONS = 26
MAX_OPTION_CHARS = 500
MAX_CHAPTERS = 400  # of a library, that one question looks at: an hour of film in clips of 9 s


def clean_options(options: Sequence[str]) -> tuple[str, ...]:
    """Return options as single visible lines.

    Raises InvalidValue for fewer than two, too many, an empty one, and equal ones.
    """
    cleaned = tuple(clean_text(option, max_chars=MAX_OPTION_CHARS) for option in options)
    if not 2 <= len(cleaned) <= MAX_OPTIONS:
        raise InvalidValue("options", len(cleaned), f"2 to {MAX_OPTIONS} of them")
    if not all(cleaned):
        raise InvalidValue("options", "an empty text", "texts with at least one visible character")
    if len(set(cleaned)) < len(cleaned):
        raise InvalidValue("options", list(cleaned), "different texts")
    return cleaned


def chosen_answer(
    question: str,
    options: Sequence[str],
    *,
    index: Index,
    entries: Sequence[Entry],
    embedder: TextEmbedder,
    chooser: Chooser,
    judge: FitJudge,
    config: AskConfig,
) -> Answer:
    """Answer with one of the options, from the chapters `entries` in time order.

    Raises InvalidValue for unusable options, and what the chooser raises.
    """
    options = clean_options(options)
    began = time.monotonic()
    material = material_of(index, embedder, entries)
    retrieve_s = round(time.monotonic() - began, 3)
    choice = chooser.choose(question, options, material)
    write_s = round(time.monotonic() - began - retrieve_s, 3)
    fit = judge.choice_fit(question, options, material)
    answer = _checked(question, options, choice, entries, material, embedder, fit, config)
    check_s = round(time.monotonic() - began - retrieve_s - write_s, 3)
    timing = AskTiming(retrieve_s=retrieve_s, write_s=write_s, check_s=check_s)
    return replace(answer, timing=timing)


def _checked(
    question: str,
    options: Sequence[str],
    choice: Choice,
    entries: Sequence[Entry],
    material: Material,
    embedder: TextEmbedder,
    fit: float,
    config: AskConfig,
) -> Answer:
    chosen = options[choice.chosen]
    evidence = _evidence(choice, entries)
    checked = check_reply(
        [WrittenSentence(text=chosen, citations=())],
        question=question,
        evidence=evidence,
        material=material,
        embedder=embedder,
        min_support=config.min_support,
    )
    is_refused = fit < config.min_choice_fit
    text = told(checked.sentences)
    reason = f"no chapter fits the question (fit {fit:.2f}, needed {config.min_choice_fit:g})"
    return Answer(
        question=question,
        text=f"{REFUSAL} The nearest option: {text}" if is_refused else text,
        evidence=evidence,
        backend=choice.backend,
        attention="none",
        num_prompt_tokens=choice.num_prompt_tokens,
        sentences=checked.sentences,
        refused=is_refused,
        reason=reason if is_refused else "",
        support=float(np.mean([s.support for s in checked.sentences])),
        fit=fit,
        options=_scored(options, choice),
        chosen=choice.chosen,
    )


def _evidence(choice: Choice, entries: Sequence[Entry]) -> tuple[Moment, ...]:
    """Return the chapters of the passages that carried the option, as moments, each once."""
    known = {(entry.video_id, entry.item): entry for entry in entries}
    keys = dict.fromkeys((p.video_id, p.chapter) for p in choice.evidence)
    return tuple(moment_of(known[key], score=0.0) for key in keys if key in known)


def _scored(options: Sequence[str], choice: Choice) -> tuple[ScoredOption, ...]:
    return tuple(
        ScoredOption(
            text=option,
            score=choice.scores[place],
            parts={name: scores[place] for name, scores in choice.parts.items()},
        )
        for place, option in enumerate(options)
    )
