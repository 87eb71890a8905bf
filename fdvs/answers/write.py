"""Answers written by a language model from story and evidence; only what is supported is kept."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from fdvs.answers.answering import answering
from fdvs.answers.check import Checked, check_reply, with_citations
from fdvs.answers.evidence import Evidence
from fdvs.answers.prompt import AskPrompt, ask_prompt
from fdvs.answers.question import Question
from fdvs.answers.quote import REFUSAL
from fdvs.answers.quoting import quoted_in_words
from fdvs.answers.reply import OnText, Reply, ask_model, is_refusal, read_reply
from fdvs.answers.retrieve import BY_STORY, Retriever
from fdvs.config import AskConfig
from fdvs.protocols import LanguageModel
from fdvs.text.context import in_context
from fdvs.types import Answer, AnswerSentence, Moment

UNSUPPORTED_REPLY = "no chapter supports what the language model wrote"
BESIDE_THE_QUESTION = "what the language model wrote does not answer the question"
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

    Nor is what does not answer the question kept (`fdvs.answers.answering`). Where nothing is left,
    the answer is a refusal, or, with `ask.answerer` "combined", quotes.
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
    good = answering(question, checked.supported)
    found = _answer(question, evidence, checked, good, prompt, reply, writer)
    if not good:
        found = _without_support(found, question, evidence, checked, retriever, config)
    timing = replace(reply.timing, check_s=round(time.monotonic() - began, 3))
    return replace(found, timing=timing)


def _in_context(sentences: Sequence[AnswerSentence], evidence: Evidence) -> list[AnswerSentence]:
    """Return sentences, those as quotes that stand behind an opening in what they rest on."""
    told: list[AnswerSentence] = []
    for sentence in sentences:
        cited = {(c.video_id, c.start_s) for c in sentence.citations}
        passages = [p.text for p in evidence.passages if (p.video_id, p.start_s) in cited]
        told.append(replace(sentence, text=in_context(sentence.text, passages)))
    return list({sentence.text: sentence for sentence in told}.values())


def _answer(
    question: Question,
    evidence: Evidence,
    checked: Checked,
    good: Sequence[AnswerSentence],
    prompt: AskPrompt,
    reply: Reply,
    writer: LanguageModel,
) -> Answer:
    missing = [s for s in checked.supported if s not in good]
    good = _in_context(good, evidence)
    return Answer(
        question=question.text,
        text=with_citations(good),
        evidence=_used(evidence, good),
        backend=writer.identity.label(),
        attention=writer.attention,
        num_prompt_tokens=reply.num_prompt_tokens,
        num_answer_tokens=reply.num_tokens,
        sentences=tuple(good),
        removed=(*checked.unsupported, *missing),
        support=round(float(np.mean([s.support for s in good])), 6) if good else 0.0,
        fit=evidence.fit,
        notes=(*prompt.notes, *_notes(checked), *_missing_notes(missing)),
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
        reason = _why(checked) if checked.sentences else EMPTY_REPLY
        return replace(found, text=REFUSAL, refused=True, reason=reason)
    quoted = quoted_in_words(question, evidence, retriever)
    return replace(
        found,
        text=quoted.text,
        sentences=quoted.sentences,
        evidence=_used(evidence, quoted.sentences),
        support=quoted.support,
        notes=(*found.notes, *quoted.notes, f"{_why(checked)}: the evidence is quoted"),
    )


def _why(checked: Checked) -> str:
    return BESIDE_THE_QUESTION if checked.supported else UNSUPPORTED_REPLY


def _missing_notes(missing: Sequence[AnswerSentence]) -> list[str]:
    if not missing:
        return []
    return [f"{len(missing)} sentences removed: they repeat, or do not answer the question"]


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
