"""Answers in words: quoted from the evidence, or written by a model and checked.

Takes what retrieval found (`Given`) and returns an `Answer`; every way to end without one says so
and shows the nearest chapters.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from fdvs.answers.check import Checked, check_reply, told
from fdvs.answers.citations import WrittenSentence, read_reply
from fdvs.answers.evidence import Material
from fdvs.answers.from_index import is_kept, material_of, moment_of
from fdvs.answers.history import Turn
from fdvs.answers.prompt import AskPrompt, ask_prompt
from fdvs.answers.reply import OnText, Reply, ask_model, says_nothing
from fdvs.config import AskConfig
from fdvs.protocols import LanguageModel, TextEmbedder
from fdvs.search.index import Index
from fdvs.search.moments import NEAR_BEST
from fdvs.text.sentences import finish
from fdvs.types import Answer, AnswerSentence, AskTiming, Citation, Moment
from fdvs.vectors import unit_rows

MAX_QUOTED = 3
NUM_STORY_CHAPTERS = 3  # looked at beside the evidence for each sentence, where the story was read
BY_STORY = ("story",)  # how a chapter came to be evidence that retrieval did not find
REFUSAL = "Not in the evidence: the videos do not show an answer to this."
QUOTING = "evidence: the sentences of the chapters nearest to the question, no language model"


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """A question with the chapters found for it, their sentences, and how well it fits them."""

    question: str
    evidence: tuple[Moment, ...]
    material: Material
    fit: float


def refused(
    given: Given, reason: str, *, backend: str = "the fit of question and chapters"
) -> Answer:
    """Say that the evidence does not hold an answer; the nearest chapters are shown."""
    return Answer(
        question=given.question,
        text=REFUSAL,
        evidence=given.evidence,
        backend=backend,
        attention="none",
        refused=True,
        reason=reason,
        fit=given.fit,
    )


def quoted(given: Given, embedder: TextEmbedder) -> Answer:
    """Quote the sentences of the evidence that are nearest to the question, in time order."""
    keys = {(m.video_id, m.clips[0]): m for m in given.evidence}
    places = [
        i
        for i, passage in enumerate(given.material.passages)
        if (passage.video_id, passage.chapter) in keys
    ]
    first = {given.material.passages[i].text: i for i in reversed(places)}  # each text once
    places = [i for i in places if first[given.material.passages[i].text] == i]
    asked = unit_rows(embedder.embed_texts([given.question]))[0]
    cosines = np.round(unit_rows(given.material.vectors[places]) @ asked, 6)
    best = sorted(range(len(places)), key=lambda i: (-cosines[i], i))[:MAX_QUOTED]
    near = [i for i in best if cosines[i] >= NEAR_BEST * cosines[best[0]] or i == best[0]]
    sentences = []
    for i in sorted(near):
        passage = given.material.passages[places[i]]
        moment = keys[passage.video_id, passage.chapter]
        sentences.append(_quote(passage.text, moment))
    return Answer(
        question=given.question,
        text=told(sentences),
        evidence=given.evidence,
        backend=QUOTING,
        attention="none",
        sentences=tuple(sentences),
        support=1.0,
        fit=given.fit,
    )


def _quote(text: str, moment: Moment) -> AnswerSentence:
    inside = finish(text).replace("“", "‘").replace("”", "’")
    cited = Citation(
        video_id=moment.video_id,
        name=moment.name,
        start_s=moment.start_s,
        end_s=moment.end_s,
        support=1.0,
    )
    return AnswerSentence(text=f"“{inside}”", support=1.0, citations=(cited,))


def written_answer(
    given: Given,
    index: Index,
    embedder: TextEmbedder,
    writer: LanguageModel,
    config: AskConfig,
    history: Sequence[Turn],
    on_text: OnText | None,
) -> Answer:
    """Let a model answer from story and evidence; only what the chapters carry is said."""
    videos = dict.fromkeys(moment.video_id for moment in given.evidence)
    stories = [index.stories[video_id] for video_id in videos if video_id in index.stories]
    prompt = ask_prompt(
        given.question,
        stories=stories,
        evidence=given.evidence,
        history=history,
        writer=writer,
        config=config,
    )
    reply = ask_model(writer, prompt, max_tokens=config.max_tokens, on_text=on_text)
    began = time.monotonic()
    written = [sentence for sentence in read_reply(reply.text) if not says_nothing(sentence.text)]
    given = with_story_chapters(given, written, index, embedder) if stories else given
    checked = check_reply(
        written,
        question=given.question,
        evidence=given.evidence,
        material=given.material,
        embedder=embedder,
        min_support=config.min_support,
    )
    made = _answer(given, checked, prompt, reply, writer, config, embedder)
    timing = replace(reply.timing, check_s=round(time.monotonic() - began, 3))
    return replace(made, timing=timing)


def with_story_chapters(
    given: Given, written: Sequence[WrittenSentence], index: Index, embedder: TextEmbedder
) -> Given:
    """Add the chapters nearest to each sentence: the model was shown them in the story, too."""
    videos = dict.fromkeys(moment.video_id for moment in given.evidence)
    known = {(m.video_id, m.clips[0]) for m in given.evidence}
    found: dict[int, float] = {}
    for row in embedder.embed_texts([sentence.text for sentence in written]):
        for video_id in videos:
            near = index.similar(row, min_score=-1.0, level="chapter", video_id=video_id)
            kept = [p for p in near if is_kept(index, index.entries[p])]
            for place in sorted(kept, key=lambda p: (-near[p], p))[:NUM_STORY_CHAPTERS]:
                found[place] = max(near[place], found.get(place, -1.0))
    more = [
        replace(moment_of(index.entries[p], score=score), matched_by=BY_STORY)
        for p, score in sorted(found.items())
        if (index.entries[p].video_id, index.entries[p].item) not in known
    ]
    order = list(videos)
    evidence = sorted([*given.evidence, *more], key=lambda m: (order.index(m.video_id), m.start_s))
    places = [index.place((m.video_id, "chapter", m.clips[0])) for m in evidence]
    entries = [index.entries[p] for p in places if p is not None]
    material = material_of(index, embedder, entries)
    return replace(given, evidence=tuple(evidence), material=material)


def _answer(
    given: Given,
    checked: Checked,
    prompt: AskPrompt,
    reply: Reply,
    writer: LanguageModel,
    config: AskConfig,
    embedder: TextEmbedder,
) -> Answer:
    good = [sentence for sentence in checked.sentences if sentence.is_supported]
    shown = checked.sentences if config.unsupported == "mark" else tuple(good)
    notes = (*prompt.notes, *_notes(checked, config))
    base = Answer(
        question=given.question,
        text=told(shown),
        evidence=_used(given, shown),
        backend=writer.identity.label(),
        attention=writer.attention,
        num_prompt_tokens=reply.num_prompt_tokens,
        num_answer_tokens=reply.num_tokens,
        sentences=tuple(shown),
        removed=() if config.unsupported == "mark" else checked.unsupported,
        support=round(float(np.mean([s.support for s in good])), 6) if good else 0.0,
        fit=given.fit,
        timing=AskTiming(),
        notes=notes,
    )
    if good:
        return base
    if config.answerer == "combined" and checked.sentences:
        quote = quoted(given, embedder)
        note = "no chapter supports what the language model wrote: the evidence is quoted"
        return replace(
            base,
            text=quote.text,
            sentences=quote.sentences,
            removed=checked.unsupported,
            evidence=_used(given, quote.sentences),
            support=quote.support,
            notes=(*notes, note),
        )
    why = "no chapter supports what the language model wrote"
    reason = why if checked.sentences else "the language model found no answer in the material"
    return replace(base, text=_refusal(base), refused=True, reason=reason)


def _refusal(base: Answer) -> str:
    return f"{REFUSAL} {base.text}".strip()


def _notes(checked: Checked, config: AskConfig) -> list[str]:
    notes = []
    if checked.unsupported:
        verb = "marked" if config.unsupported == "mark" else "removed"
        num = len(checked.unsupported)
        notes.append(f"{num} of {len(checked.sentences)} sentences {verb}: not in the evidence")
    if checked.num_citations_removed:
        notes.append(
            f"{checked.num_citations_removed} citations of the model removed: they lie outside of "
            "the evidence, or do not carry the sentence"
        )
    if checked.num_orders:
        notes.append(
            f"{checked.num_orders} chapters read like orders to a reader: nothing rests on them"
        )
    return notes


def _used(given: Given, sentences: Sequence[AnswerSentence]) -> tuple[Moment, ...]:
    """Return the evidence that retrieval found, and what else was cited."""
    cited = {(c.video_id, c.start_s) for s in sentences for c in s.citations}
    return tuple(
        moment
        for moment in given.evidence
        if moment.matched_by != BY_STORY or (moment.video_id, moment.start_s) in cited
    )
