"""Answers written by a language model from story and evidence; only what is supported is kept."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from fdvs.answers.check import Checked, check_reply, with_citations
from fdvs.answers.evidence import Evidence
from fdvs.answers.prompt import AskPrompt, ask_prompt
from fdvs.answers.question import Question
from fdvs.answers.quote import REFUSAL, quote
from fdvs.answers.reply import OnText, Reply, ask_model, is_refusal, read_reply
from fdvs.answers.retrieve import BY_STORY, Retriever
from fdvs.config import AskConfig
from fdvs.protocols import LanguageModel
from fdvs.types import Answer, AnswerSentence, Moment

UNSUPPORTED_REPLY = "no chapter supports what the language model wrote"
EMPTY_REPLY = "the language model found no answer in the material"


def write(
    question: Question,
    evidence: Evidence,
    retriever: Retriever,
    writer: LanguageModel,
    config: AskConfig,
    on_text: OnText | None,
) -> Answer:
    """Let a model answer; what no chapter supports is removed.

    Where nothing is left, the answer is a refusal, or, with `ask.answerer` "combined", quotes.
    """
    index = retriever.index
    videos = dict.fromkeys(moment.video_id for moment in evidence.moments)
    stories = [index.stories[video_id] for video_id in videos if video_id in index.stories]
    prompt = ask_prompt(
        question, stories=stories, moments=evidence.moments, writer=writer, config=config
    )
    reply = ask_model(writer, prompt, max_tokens=config.max_tokens, on_text=on_text)
    began = time.monotonic()
    written = [sentence for sentence in read_reply(reply.text) if not is_refusal(sentence.text)]
    if stories:
        evidence = retriever.with_story_chapters(evidence, [sentence.text for sentence in written])
    checked = check_reply(
        written,
        question=question.text,
        evidence=evidence,
        embedder=retriever.embedder,
        min_support=config.min_support,
    )
    found = _answer(question, evidence, checked, prompt, reply, writer)
    if not checked.supported:
        found = _without_support(found, question, evidence, checked, retriever, config)
    timing = replace(reply.timing, check_s=round(time.monotonic() - began, 3))
    return replace(found, timing=timing)


def _answer(
    question: Question,
    evidence: Evidence,
    checked: Checked,
    prompt: AskPrompt,
    reply: Reply,
    writer: LanguageModel,
) -> Answer:
    good = checked.supported
    return Answer(
        question=question.text,
        text=with_citations(good),
        evidence=_used(evidence, good),
        backend=writer.identity.label(),
        attention=writer.attention,
        num_prompt_tokens=reply.num_prompt_tokens,
        num_answer_tokens=reply.num_tokens,
        sentences=good,
        removed=checked.unsupported,
        support=round(float(np.mean([s.support for s in good])), 6) if good else 0.0,
        fit=evidence.fit,
        notes=(*prompt.notes, *_notes(checked)),
    )


def _without_support(
    found: Answer,
    question: Question,
    evidence: Evidence,
    checked: Checked,
    retriever: Retriever,
    config: AskConfig,
) -> Answer:
    """Return the answer where nothing of a model's reply is supported."""
    if config.answerer != "combined" or not checked.sentences:
        reason = UNSUPPORTED_REPLY if checked.sentences else EMPTY_REPLY
        return replace(found, text=REFUSAL, refused=True, reason=reason)
    quoted = quote(question, evidence, retriever.embedder)
    return replace(
        found,
        text=quoted.text,
        sentences=quoted.sentences,
        evidence=_used(evidence, quoted.sentences),
        support=quoted.support,
        notes=(*found.notes, f"{UNSUPPORTED_REPLY}: the evidence is quoted"),
    )


def _notes(checked: Checked) -> list[str]:
    notes = []
    if checked.unsupported:
        num = len(checked.unsupported)
        notes.append(f"{num} of {len(checked.sentences)} sentences removed: not in the evidence")
    if checked.num_citations_removed:
        notes.append(
            f"{checked.num_citations_removed} citations of the model removed: they lie outside of "
            "the evidence, or do not support the sentence"
        )
    if checked.num_injected:
        notes.append(
            f"{checked.num_injected} chapters look like a prompt injection: they support nothing"
        )
    return notes


def _used(evidence: Evidence, sentences: Sequence[AnswerSentence]) -> tuple[Moment, ...]:
    """Return the chapters that retrieval found, and what else was cited."""
    cited = {(c.video_id, c.start_s) for s in sentences for c in s.citations}
    return tuple(
        moment
        for moment in evidence.moments
        if moment.matched_by != BY_STORY or (moment.video_id, moment.start_s) in cited
    )
