"""When the words of a quote are said: citations of chapters become those of sentences.

A citation keeps the times of its chapter, which is the evidence; `said_s` is added where the
chapter holds the quoted sentences with times of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from fdvs.answers.check import with_citations
from fdvs.search.index import Index
from fdvs.text.vocabulary import same_words
from fdvs.types import Answer, AnswerSentence, Citation, Moment

Said = Sequence[tuple[str, tuple[float, float]]]


def with_said_times(answer: Answer, index: Index) -> Answer:
    """Return an answer of quotes whose citations say when the quoted words are said."""
    clips = {(m.video_id, m.start_s): m for m in answer.evidence if m.clips}
    sentences = [_timed(sentence, clips, index) for sentence in answer.sentences]
    if sentences == list(answer.sentences):
        return answer
    return replace(answer, sentences=tuple(sentences), text=with_citations(sentences))


def _timed(
    sentence: AnswerSentence, moments: dict[tuple[str, float], Moment], index: Index
) -> AnswerSentence:
    def timed(cited: Citation) -> Citation:
        moment = moments.get((cited.video_id, cited.start_s))
        if moment is None:
            return cited
        span_s = said_span(sentence.text, index.said(cited.video_id, moment.clips[0]))
        return cited if span_s is None else replace(cited, said_s=span_s)

    return replace(sentence, citations=tuple(map(timed, sentence.citations)))


def said_span(quote: str, said: Said) -> tuple[float, float] | None:
    """Return from when to when the sentences of a quote are said.

    None unless they make up the whole quote: part of it is then written or shown, not said.
    """
    left = f" {same_words(quote)} "
    spans_s: list[tuple[float, float]] = []
    for text, span_s in sorted(said, key=lambda one: -len(one[0])):
        words = f" {same_words(text)} "
        if words.strip() and words in left:
            left = left.replace(words, "  ", 1)
            spans_s.append(span_s)
    if left.strip() or not spans_s:
        return None
    return min(start_s for start_s, _ in spans_s), max(end_s for _, end_s in spans_s)
