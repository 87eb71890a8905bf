"""Answer a question from a library, with checked time stamps.

One way for every question: retrieve the evidence, measure whether it can answer the question, then
refuse, quote, let a language model write, or choose an option; what is said is checked against the
evidence.

As in the paper (arXiv 2412.06182): story plus the top K = 5 chapters go to the language model. We
hand the chapters over in time order (the authors' code sorts them by similarity), rank them by
meaning and words, and take kept chapters only, so that repeats do not fill the K places.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from fdvs.answers.choice.answer import choose
from fdvs.answers.choice.by_evidence import EvidenceChooser
from fdvs.answers.choice.chooser import Chooser
from fdvs.answers.evidence import Evidence, OnceEmbedder
from fdvs.answers.fit import GENERIC_FIT, MIN_FOREIGN_WORDS, Answerability, foreign_words
from fdvs.answers.overview import too_late
from fdvs.answers.question import Question
from fdvs.answers.quote import TOO_FEW_WORDS, refuse, too_little_fit
from fdvs.answers.quoting import quoted_in_words
from fdvs.answers.reply import OnText
from fdvs.answers.retrieve import Retriever
from fdvs.answers.write import write
from fdvs.config import AskConfig, SearchConfig
from fdvs.prompting.marks import shown_marks
from fdvs.protocols import LanguageModel, TextEmbedder
from fdvs.search.index import Index
from fdvs.text.timecode import citation
from fdvs.types import Answer, Moment

logger = logging.getLogger(__name__)

LEFT_OUT = "left out of the answer, since it reads like an instruction:"
MAX_LEFT_OUT, MAX_SHOWN_CHARS = 3, 160  # what of marked words is shown beside an answer


def answer(
    question: Question,
    *,
    index: Index,
    embedder: TextEmbedder,
    config: AskConfig,
    search: SearchConfig,
    writer: LanguageModel | None = None,
    make_chooser: Callable[[TextEmbedder], Chooser] = EvidenceChooser,
    video_id: str | None = None,
    answerability: Answerability | None = None,
    on_text: OnText | None = None,
) -> Answer:
    """Answer a question; each text is embedded once.

    `Answer.backend` names who answered; `notes` say what did not fit or was removed.

    Args:
        writer: writes answers to open questions; None quotes the evidence.
        make_chooser: returns what chooses among options, given the embedder to use; called once
            there is evidence.
        video_id: only this video.
        answerability: may be kept between questions.
        on_text: is given the model's words as they come, before they are checked.

    Raises:
        NotFound: there is no chapter to answer from, or none holds text.
        BadModelOutput: the model answered without a word.
        ModelError: the model failed, or its context does not even hold the question.
    """
    started = time.monotonic()
    once = OnceEmbedder(embedder)
    retriever = Retriever(index=index, embedder=once, search=search, video_id=video_id)
    evidence = retriever.retrieve(question, num=config.num_evidence)
    answerability = answerability or Answerability(embedder)
    evidence = replace(evidence, fit=answerability.fit(question, evidence, once))
    retrieve_s = round(time.monotonic() - started, 3)
    if question.options:
        found = choose(question, evidence, make_chooser(once), once, config)
    else:
        found = _in_words(question, evidence, retriever, writer, config, on_text)
    found = replace(found, notes=(*found.notes, *left_out_notes(found.evidence)))
    timing = replace(found.timing, retrieve_s=retrieve_s)
    seconds = round(time.monotonic() - started, 3)
    logger.info("ask: %d chapters as evidence, %.2f s", len(found.evidence), seconds)
    return replace(found, seconds=seconds, timing=timing)


def left_out_notes(moments: Sequence[Moment]) -> list[str]:
    """Return notes on words of the evidence that read like orders, and stand in no answer."""
    shown = [(m, shown_marks(m.text, max_chars=MAX_SHOWN_CHARS)) for m in moments]
    marked = [f"{citation(m.name, m.start_s, m.end_s)} {words}" for m, words in shown if words]
    if not marked:
        return []
    more = len(marked) - MAX_LEFT_OUT
    notes = [f"{LEFT_OUT} {one}" for one in marked[:MAX_LEFT_OUT]]
    return [*notes, f"{LEFT_OUT} words of {more} more chapters"] if more > 0 else notes


def _in_words(
    question: Question,
    evidence: Evidence,
    retriever: Retriever,
    writer: LanguageModel | None,
    config: AskConfig,
    on_text: OnText | None,
) -> Answer:
    lacking = _lacking(question, evidence, config)
    if lacking:
        return refuse(question, evidence, lacking)
    late = too_late(question, retriever.index, retriever.video_id)
    if late:
        return refuse(question, evidence, late)
    if writer is None or config.answerer == "evidence":
        return quoted_in_words(question, evidence, retriever)
    return write(question, evidence, retriever, writer, config, on_text)


def _lacking(question: Question, evidence: Evidence, config: AskConfig) -> str:
    """Return why the evidence cannot answer a question, "" where it may."""
    if config.min_fit <= -1 or evidence.fit == GENERIC_FIT:
        return ""
    words = foreign_words(question, evidence)
    if words is not None:
        return "" if words >= MIN_FOREIGN_WORDS else TOO_FEW_WORDS
    return too_little_fit(evidence, config.min_fit) if evidence.fit < config.min_fit else ""
