"""Answers without a language model: the telling sentences are quoted, or the question is refused.

What is quoted depends on how far the question reaches (`fdvs.answers.reach`): sentences of chapters
for one matter, the story or its scenes for the whole or a part of the time, the best sentence of
each video for "which videos ...".
"""

from __future__ import annotations

from collections.abc import Sequence

from fdvs.answers.check import with_citations
from fdvs.answers.evidence import Evidence, Passage
from fdvs.answers.expects import expected, holds
from fdvs.answers.question import Question
from fdvs.answers.telling import InPart, Telling, how_telling
from fdvs.protocols import TextEmbedder
from fdvs.story.candidates import leans, repeats
from fdvs.story.chapters import ON_SCREEN, PICTURES
from fdvs.text.plain import plain_words
from fdvs.text.sentences import finish, shorten
from fdvs.types import Answer, AnswerSentence, Citation, Moment

MAX_QUOTED = 3
MAX_VIDEOS = 5
# A further sentence is quoted where it tells nearly as much as the best one, and of "which videos"
# where a video's best sentence does.
NEARLY, NEARLY_VIDEO = 0.12, 0.2
ADDED_WORDS = 0.3  # how far behind a sentence may be that holds all words the others lack
MAX_QUOTE_CHARS = 400
REFUSAL = "Not in the evidence: the videos do not show an answer to this."
TOO_FEW_WORDS = "no chapter holds the words of the question"
FIT_BACKEND = "the fit of question and chapters"
QUOTE_BACKEND = "evidence: the telling sentences of the chapters, no language model"

ChapterKey = tuple[str, int]


def too_little_fit(evidence: Evidence, needed: float) -> str:
    """Return the reason of a refusal for want of fit."""
    return f"no chapter fits the question (fit {evidence.fit:.2f}, needed {needed:g})"


def refuse(question: Question, evidence: Evidence, reason: str) -> Answer:
    """Say that the evidence does not hold an answer; the nearest chapters are shown."""
    return Answer(
        question=question.text,
        text=REFUSAL,
        evidence=evidence.moments,
        backend=FIT_BACKEND,
        attention="none",
        refused=True,
        reason=reason,
        fit=evidence.fit,
    )


def quote(
    question: Question,
    evidence: Evidence,
    embedder: TextEmbedder,
    in_part: InPart | None = None,
) -> Answer:
    """Quote the sentences of the evidence that tell the answer, in time order.

    Args:
        in_part: says whether a passage lies in the part of the time that the question names.
    """
    telling = how_telling(question, evidence, embedder, in_part)
    places = _best_places(question, evidence, telling)
    return quoted_answer(question, evidence, [_quoted(evidence, place) for place in places])


def quote_videos(question: Question, evidence: Evidence, embedder: TextEmbedder) -> Answer:
    """Quote the best sentence of each video that tells of what is asked, the best video first."""
    telling = how_telling(question, evidence, embedder)
    best: dict[str, int] = {}
    for place in _by_score(telling):
        best.setdefault(evidence.passages[place].video_id, place)
    top = max((telling.scores[place] for place in best.values()), default=0.0)
    near = [p for p in best.values() if telling.scores[p] >= top - NEARLY_VIDEO][:MAX_VIDEOS]
    return quoted_answer(question, evidence, [_quoted(evidence, place) for place in near])


def quoted_answer(
    question: Question,
    evidence: Evidence,
    sentences: Sequence[AnswerSentence],
    notes: Sequence[str] = (),
) -> Answer:
    """Return an answer of quotes, with the chapters found and those that are cited beside them."""
    return Answer(
        question=question.text,
        text=with_citations(sentences),
        evidence=(*evidence.moments, *_cited_besides(evidence, sentences)),
        backend=QUOTE_BACKEND,
        attention="none",
        sentences=tuple(sentences),
        support=1.0,
        fit=evidence.fit,
        notes=tuple(notes),
    )


def quoted(text: str, where: Moment | Passage | Citation) -> AnswerSentence:
    """Return a text in quotation marks with its citation."""
    inside = finish(shorten(plain_words(text), max_chars=MAX_QUOTE_CHARS))
    inside = inside.replace("“", "‘").replace("”", "’")
    cited = Citation(**where.where(), support=1.0)
    return AnswerSentence(text=f"“{inside}”", support=1.0, citations=(cited,))


def _best_places(question: Question, evidence: Evidence, telling: Telling) -> list[int]:
    """Return the places of what is quoted: the best, and others that tell nearly as much."""
    order = _by_score(telling)
    best = order[0]
    kind = expected(question.text)
    is_kind = holds(kind, evidence.passages[best].text)
    chosen = [best]
    for place in order[1:]:
        behind = telling.scores[best] - telling.scores[place]
        if behind > NEARLY + ADDED_WORDS * telling.gain(place, chosen):
            continue
        text = evidence.passages[place].text
        if is_kind and not holds(kind, text):
            continue
        if not repeats(text, (evidence.passages[one].text for one in chosen)):
            chosen.append(place)
        if len(chosen) == MAX_QUOTED:
            break
    spoken = _spoken_beside(evidence, order, best)
    if spoken is not None and spoken not in chosen:
        chosen = [*chosen[: MAX_QUOTED - 1], spoken]
    return sorted(chosen, key=lambda p: _in_time(evidence, p))


def _spoken_beside(evidence: Evidence, order: Sequence[int], best: int) -> int | None:
    """Return the best sentence of the same chapter where the best one stands on the screen.

    Slides name a matter; the sentences beside them explain it.
    """
    passage = evidence.passages[best]
    if not passage.text.startswith(ON_SCREEN):
        return None
    key = (passage.video_id, passage.chapter)
    for place in order:
        other = evidence.passages[place]
        if (other.video_id, other.chapter) == key and not other.text.startswith(
            (ON_SCREEN, PICTURES)
        ):
            return None if other.is_heading else place
    return None


def _by_score(telling: Telling) -> list[int]:
    return sorted(range(len(telling.scores)), key=lambda p: (-telling.scores[p], p))


def _in_time(evidence: Evidence, place: int) -> tuple[int, float, int]:
    """Return what orders passages: the best found video first, then time."""
    passage = evidence.passages[place]
    videos = list(dict.fromkeys(m.video_id for m in (*evidence.moments, *evidence.near)))
    video = videos.index(passage.video_id) if passage.video_id in videos else len(videos)
    return video, passage.start_s, place


def _quoted(evidence: Evidence, place: int) -> AnswerSentence:
    """Quote a passage, with the sentence before it where it leans on that, or after a question."""
    passage = evidence.passages[place]
    parts = [passage.text]
    before, after = _neighbour(evidence, place, -1), _neighbour(evidence, place, 1)
    if before is not None and leans(passage.text):
        parts.insert(0, before.text)
    if after is not None and passage.text.endswith("?"):
        parts.append(after.text)
    return quoted(" ".join(map(finish, parts)), passage)


def _neighbour(evidence: Evidence, place: int, step: int) -> Passage | None:
    """Return the sentence before or after a passage in its chapter, None for the heading."""
    passage, other = evidence.passages[place], place + step
    if not 0 <= other < len(evidence.passages):
        return None
    found = evidence.passages[other]
    is_same = (found.video_id, found.chapter) == (passage.video_id, passage.chapter)
    return found if is_same and not found.is_heading else None


def _cited_besides(evidence: Evidence, sentences: Sequence[AnswerSentence]) -> list[Moment]:
    known = {(moment.video_id, moment.start_s) for moment in evidence.moments}
    cited = {(c.video_id, c.start_s) for s in sentences for c in s.citations} - known
    return [moment for moment in evidence.near if (moment.video_id, moment.start_s) in cited]
