"""Answer a question from a story and the chapters that match best, with time stamps.

As in the paper (arXiv 2412.06182): story plus the top K = 5 chapters go to the language model.
We hand the chapters over in time order (the authors' code sorts them by similarity), rank them by
meaning and words, and take kept chapters only, so that repeats do not fill the K places. Without a
language model the answer is extractive and says so.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from fdvs.answer_prompt import fitted_prompt
from fdvs.config import AskConfig, SearchConfig
from fdvs.errors import NotFound
from fdvs.index import Entry, Index
from fdvs.protocols import TextEmbedder, TextWriter
from fdvs.ranking import Match, clean_query
from fdvs.replies import ask_writer
from fdvs.search import NEAR_BEST, ranked_matches
from fdvs.sentences import finish, unique_sentences
from fdvs.types import Answer, Moment
from fdvs.vectors import unit_rows

log = logging.getLogger(__name__)

MAX_EXTRACTED_SENTENCES = 3


def answer(
    question: str,
    *,
    index: Index,
    embedder: TextEmbedder,
    writer: TextWriter | None,
    config: AskConfig,
    search: SearchConfig,
    video_id: str | None = None,
) -> Answer:
    """Answer a question; the evidence is the chapters given, video by video in time order.

    `backend` names who answered and, where the material did not fit, what was left out.

    Raises:
        InvalidValue: the question holds no visible text.
        NotFound: there is no chapter to answer from.
        BadModelOutput: the model answered without a word.
        ModelError: the model failed, or its context does not even hold the question.
    """
    started = time.monotonic()
    question = clean_query(question)
    evidence = find_evidence(
        index, question, embedder, search, num=config.num_evidence, video_id=video_id
    )
    if not evidence:
        raise NotFound(
            f"no chapter to answer {question[:60]!r} from; build a video first: fdvs build PATH"
        )
    if writer is None:
        found = _extract(question, evidence, embedder)
    else:
        found = _ask(question, index, evidence, writer, max_tokens=config.max_tokens)
    seconds = round(time.monotonic() - started, 3)
    log.info("ask: %d chapters as evidence, %.2f s", len(evidence), seconds)
    return replace(found, seconds=seconds)


def find_evidence(
    index: Index,
    question: str,
    embedder: TextEmbedder,
    search: SearchConfig,
    *,
    num: int,
    video_id: str | None = None,
) -> tuple[Moment, ...]:
    """Return the `num` best kept chapters: the best one's video first, each in time order.

    Where fewer than `num` match, the nearest are given, however far: the model is told to say so
    where the material does not answer. `matched_by` says "meaning" from `min_score` on.
    """
    best: list[Match] = []
    for min_score in (search.min_score, -1.0):  # the second is slow: it ranks every chapter
        config = replace(search, min_score=min_score)
        ranked = ranked_matches(index, question, embedder, config, video_id=video_id)
        best = [m for m in ranked if _is_kept(index, index.entries[m.place])][:num]
        if len(best) == num:
            break
    videos = list(dict.fromkeys(index.entries[m.place].video_id for m in best))
    moments = [_moment(index.entries[m.place], m, search) for m in best]
    return tuple(sorted(moments, key=lambda m: (videos.index(m.video_id), m.start_s)))


def _is_kept(index: Index, entry: Entry) -> bool:
    """Return False for a chapter that textual redundancy dropped; True before that is known."""
    kept = index.kept_clips.get(entry.video_id)
    return kept is None or entry.item in kept


def _moment(entry: Entry, match: Match, search: SearchConfig) -> Moment:
    honest = replace(match, by_meaning=match.by_meaning and match.cosine >= search.min_score)
    return Moment(
        video_id=entry.video_id,
        name=entry.name,
        start_s=entry.start_s,
        end_s=entry.end_s,
        score=match.cosine,
        text=entry.text,
        clips=(entry.item,),
        matched_by=honest.matched_by,
    )


def _extract(question: str, evidence: Sequence[Moment], embedder: TextEmbedder) -> Answer:
    """Answer with the sentences of the evidence that are nearest to the question."""
    sentences = unique_sentences(" ".join(finish(m.text) for m in evidence))
    if not sentences:
        raise NotFound(f"the chapters found for {question[:60]!r} hold no text; build them again")
    rows = unit_rows(embedder.embed_texts([question, *sentences]))
    cosines = np.round(rows[1:] @ rows[0], 6)
    best = sorted(range(len(sentences)), key=lambda i: (-cosines[i], i))[:MAX_EXTRACTED_SENTENCES]
    near = sorted(i for i in best if cosines[i] >= NEAR_BEST * cosines[best[0]] or i == best[0])
    return Answer(
        question=question,
        text=" ".join(sentences[i] for i in near),
        evidence=tuple(evidence),
        backend="extractive: the evidence's sentences nearest to the question, no language model",
        attention="none",
    )


def _ask(
    question: str,
    index: Index,
    evidence: Sequence[Moment],
    writer: TextWriter,
    *,
    max_tokens: int,
) -> Answer:
    videos = dict.fromkeys(moment.video_id for moment in evidence)
    stories = [index.stories[video_id] for video_id in videos if video_id in index.stories]
    fitted = fitted_prompt(question, stories, evidence, writer, max_tokens=max_tokens)
    written = ask_writer(writer, fitted.prompt, max_tokens=max_tokens, what="an answer")
    return Answer(
        question=question,
        text=written.text,
        evidence=tuple(evidence),
        backend="; ".join([writer.identity.label(), *fitted.left_out]),
        attention=writer.attention,
        num_prompt_tokens=written.num_prompt_tokens,
        num_answer_tokens=written.num_tokens,
    )
