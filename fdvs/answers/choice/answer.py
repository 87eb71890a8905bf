"""Answer a multiple-choice question: a Chooser scores, the chosen option is checked and cited.

The chosen option is cited by the passages that decided for it, where a chapter supports it. Where
the videos show no answer, the nearest option is still named: some option is asked for.
"""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np

from fdvs.answers.check import Checked, check_reply, with_citations
from fdvs.answers.choice.chooser import Choice, Chooser
from fdvs.answers.evidence import Evidence
from fdvs.answers.question import Question
from fdvs.answers.quote import REFUSAL, too_little_fit
from fdvs.answers.reply import WrittenSentence
from fdvs.config import AskConfig
from fdvs.protocols import TextEmbedder
from fdvs.types import Answer, AskTiming, Moment, ScoredOption


def choose(
    question: Question,
    evidence: Evidence,
    chooser: Chooser,
    embedder: TextEmbedder,
    config: AskConfig,
) -> Answer:
    """Answer with one of the question's options. Raises what the chooser raises."""
    began = time.monotonic()
    choice = chooser.choose(question, evidence)
    write_s = round(time.monotonic() - began, 3)
    evidence = replace(evidence, moments=_moments(choice, evidence))
    checked = check_reply(
        [WrittenSentence(text=question.options[choice.chosen], citations=())],
        question=question.text,
        evidence=evidence,
        embedder=embedder,
        min_support=config.min_support,
    )
    found = _answer(question, choice, checked, evidence, config)
    check_s = round(time.monotonic() - began - write_s, 3)
    return replace(found, timing=AskTiming(write_s=write_s, check_s=check_s))


def _answer(
    question: Question, choice: Choice, checked: Checked, evidence: Evidence, config: AskConfig
) -> Answer:
    is_refused = evidence.fit < config.min_choice_fit
    text = with_citations(checked.sentences)
    return Answer(
        question=question.text,
        text=f"{REFUSAL} The nearest option: {text}" if is_refused else text,
        evidence=evidence.moments,
        backend=choice.backend,
        attention="none",
        num_prompt_tokens=choice.num_prompt_tokens,
        sentences=checked.sentences,
        refused=is_refused,
        reason=too_little_fit(evidence, config.min_choice_fit) if is_refused else "",
        support=float(np.mean([sentence.support for sentence in checked.sentences])),
        fit=evidence.fit,
        options=_scored(question, choice),
        chosen=choice.chosen,
        num_background=choice.num_background,
    )


def _moments(choice: Choice, evidence: Evidence) -> tuple[Moment, ...]:
    """Return the chapters of the passages that decided for the option, each once."""
    known = {(moment.video_id, moment.clips[0]): moment for moment in evidence.moments}
    keys = dict.fromkeys((p.video_id, p.chapter) for p in choice.evidence)
    return tuple(known[key] for key in keys if key in known)


def _scored(question: Question, choice: Choice) -> tuple[ScoredOption, ...]:
    return tuple(
        ScoredOption(
            text=option,
            score=choice.scores[place],
            parts={name: scores[place] for name, scores in choice.parts.items()},
        )
        for place, option in enumerate(question.options)
    )
