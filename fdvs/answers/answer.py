"""Answer a question from a story and the chapters that match best, with checked time stamps.

As in the paper (arXiv 2412.06182): story plus the top K = 5 chapters go to the language model.
We hand the chapters over in time order (the authors' code sorts them by similarity), rank them by
meaning and words, and take kept chapters only, so that repeats do not fill the K places. What the
model says is held against the chapters (`fdvs.answers.check`); what none supports is not said. A
question that no chapter fits is not answered (`fdvs.answers.fit`). Without a language model the
evidence itself is quoted.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import replace

from fdvs.answers.fit import FitJudge
from fdvs.answers.from_index import is_kept, kept_chapters, material_of
from fdvs.answers.history import Turn, looked_up
from fdvs.answers.reply import OnText
from fdvs.answers.retrieve import with_timed
from fdvs.answers.write import Given, quoted, refused, written_answer
from fdvs.config import AskConfig, SearchConfig
from fdvs.errors import NotFound
from fdvs.protocols import LanguageModel, TextEmbedder
from fdvs.search.index import Entry, Index
from fdvs.search.moments import ranked_matches
from fdvs.search.ranking import Match
from fdvs.text.clean import clean_query
from fdvs.types import Answer, Moment

log = logging.getLogger(__name__)

NUM_NEAR = 16  # chapters nearest in meaning, that decide whether a question fits at all


def answer(
    question: str,
    *,
    index: Index,
    embedder: TextEmbedder,
    writer: LanguageModel | None,
    config: AskConfig,
    search: SearchConfig,
    video_id: str | None = None,
    history: Sequence[Turn] = (),
    on_text: OnText | None = None,
    judge: FitJudge | None = None,
) -> Answer:
    """Answer a question; the evidence is the chapters given, video by video in time order.

    `backend` names who answered; `notes` say what did not fit or was taken out. `on_text` is given
    the model's words as they come, before they are checked. `judge` may be kept between questions.

    Raises:
        InvalidValue: the question holds no visible text.
        NotFound: there is no chapter to answer from, or none holds text.
        BadModelOutput: the model answered without a word.
        ModelError: the model failed, or its context does not even hold the question.
    """
    started = time.monotonic()
    question = clean_query(question)
    asked = looked_up(question, history)
    judge = judge or FitJudge(embedder)
    given = _given(question, asked, index, embedder, config, search, video_id, judge)
    retrieve_s = round(time.monotonic() - started, 3)
    if given.fit < config.min_fit:
        found = refused(given, f"no chapter fits the question (fit {given.fit:.2f}, "
                        f"needed {config.min_fit:g})")  # fmt: skip
    elif writer is None or config.answerer == "evidence":
        found = quoted(given, embedder)
    else:
        found = written_answer(given, index, embedder, writer, config, history, on_text)
    timing = replace(found.timing, retrieve_s=retrieve_s)
    seconds = round(time.monotonic() - started, 3)
    log.info("ask: %d chapters as evidence, %.2f s", len(found.evidence), seconds)
    return replace(found, seconds=seconds, timing=timing)


def _given(
    question: str,
    asked: str,
    index: Index,
    embedder: TextEmbedder,
    config: AskConfig,
    search: SearchConfig,
    video_id: str | None,
    judge: FitJudge,
) -> Given:
    """Return the evidence of a question and how well the question fits what is nearest."""
    evidence = find_evidence(
        index, asked, embedder, search, num=config.num_evidence, video_id=video_id
    )
    if not evidence:
        raise NotFound(
            f"no chapter to answer {question[:60]!r} from; build a video first: fdvs build PATH"
        )
    evidence = with_timed(
        evidence,
        question,
        index,
        lambda event: find_evidence(index, event, embedder, search, num=1, video_id=video_id),
    )
    near = find_evidence(
        index, asked, embedder, replace(search, word_weight=0.0), num=NUM_NEAR, video_id=video_id
    )
    keys = dict.fromkeys((m.video_id, "chapter", m.clips[0]) for m in (*evidence, *near))
    places = [place for key in keys if (place := index.place(key)) is not None]
    material = material_of(index, embedder, [index.entries[place] for place in places])
    if not material.passages:
        raise NotFound(f"the chapters found for {question[:60]!r} hold no text; build them again")
    in_scope = len(kept_chapters(index, None if video_id is None else [video_id]))
    num_passages = round(len(material.passages) * in_scope / len(places))
    fit = judge.fit(asked, material, num_passages=num_passages)
    return Given(question=question, evidence=evidence, material=material, fit=fit)


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
        best = [m for m in ranked if is_kept(index, index.entries[m.place])][:num]
        if len(best) == num:
            break
    videos = list(dict.fromkeys(index.entries[m.place].video_id for m in best))
    moments = [_moment(index.entries[m.place], m, search) for m in best]
    return tuple(sorted(moments, key=lambda m: (videos.index(m.video_id), m.start_s)))


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
