"""Open-ended questions: ask them, log the answers, and score them by exact match.

Takes questions and anything that answers one. Each answer is logged at once, so that an interrupted
run goes on where it stopped. Scores are computed under the three rules of
`fdvs.metrics.open_ended`, by category, with an interval over videos. Knows no model.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from fdvs.datasets.activitynet_qa import KINDS
from fdvs.datasets.examples import OpenQuestion
from fdvs.errors import BadModelOutput, InvalidValue, NotFound
from fdvs.metrics.choice import Accuracy
from fdvs.metrics.interval import Interval, interval_of_mean
from fdvs.metrics.open_ended import RULES, MatchRule, exact_match, matches
from fdvs.pipelines.record_log import RecordLog
from fdvs.text.clean import clean_text

logger = logging.getLogger(__name__)

MAX_SAID_CHARS = 1000
PROGRESS_EVERY = 500
FREE_KINDS = frozenset("345678")  # of ActivityNet-QA, whose answers are free words
ACTIVITYNET_ORDER = (
    "Motion", "Spatial Relation", "Temporal Relation", "Free", "All",
    "Yes/No", "Color", "Object", "Location", "Number", "Other",
)  # fmt: skip

Answerer = Callable[[str, str], str]  # question, video id -> what is answered
Categories = Literal["activitynet", "kind"]
Said = Mapping[str, str | None]  # question id -> answer, None where there is none


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenScore:
    """Exact match of all questions asked; `groups` and `interval` are of rule `rule`.

    `num_unanswered` questions have no words: they count as wrong under every rule.
    """

    rule: MatchRule
    by_rule: dict[MatchRule, Accuracy]
    interval: Interval
    groups: dict[str, Accuracy]
    num_questions: int
    num_videos: int
    num_unanswered: int

    @property
    def accuracy(self) -> float:
        """The fraction right under `rule`."""
        return self.by_rule[self.rule].value

    def named(self) -> dict[str, float]:
        """Return the fractions right by name, one a rule."""
        return {f"exact_match_{rule}": self.by_rule[rule].value for rule in self.by_rule}


def answer_questions(
    questions: Sequence[OpenQuestion],
    answerer: Answerer,
    log: RecordLog,
    *,
    video_of: Mapping[str, str] | None = None,
) -> dict[str, str | None]:
    """Return the answer to each question, by its id, in the order of the questions.

    Questions that `log` holds already are not asked again. Where there is nothing to answer from
    (NotFound) or the reply holds no word (BadModelOutput) the question stays unanswered, with the
    reason in the log. Every other error ends the run; the next run goes on from there.

    Args:
        video_of: video id -> the video whose texts are given instead (the other-video control).
    """
    for number, asked in enumerate(questions, 1):
        if asked.id not in log:
            video_id = asked.video_id if video_of is None else video_of[asked.video_id]
            log.add({"id": asked.id, "video_id": video_id, **_ask(asked, video_id, answerer)})
        if number % PROGRESS_EVERY == 0:
            logger.info("%d of %d questions answered", number, len(questions))
    return {asked.id: log.done[asked.id]["said"] for asked in questions}


def _ask(asked: OpenQuestion, video_id: str, answerer: Answerer) -> dict[str, str | None]:
    try:
        said = clean_text(answerer(asked.question, video_id), max_chars=MAX_SAID_CHARS)
    except (NotFound, BadModelOutput) as error:
        return {"said": None, "why": clean_text(str(error), max_chars=MAX_SAID_CHARS)}
    return {"said": said} if said else {"said": None, "why": "no visible text"}


def score_open(
    questions: Sequence[OpenQuestion],
    said: Said,
    *,
    rule: MatchRule = "paper",
    categories: Categories = "kind",
) -> OpenScore:
    """Score the answers; questions without an entry in `said` count as unanswered.

    Args:
        rule: the headline: that of the interval and the groups.
        categories: "activitynet" for the official groups of ActivityNet-QA, "kind" for the
            questions' own kinds.

    Raises InvalidValue for no question, a repeated id, or an unknown kind of ActivityNet-QA.
    """
    if len({asked.id for asked in questions}) != len(questions):
        raise InvalidValue("ids of the questions", "not unique", "one question an id")
    if not questions:
        raise InvalidValue("number of questions", 0, "at least 1")
    words = [said.get(asked.id) for asked in questions]
    answers = [asked.answer for asked in questions]
    videos = [asked.video_id for asked in questions]
    return OpenScore(
        rule=rule,
        by_rule={one: exact_match(words, answers, rule=one) for one in RULES},
        interval=interval_of_mean(matches(words, answers, rule=rule), videos),
        groups=_groups(questions, words, rule=rule, categories=categories),
        num_questions=len(questions),
        num_videos=len(set(videos)),
        num_unanswered=words.count(None),
    )


def _groups(
    questions: Sequence[OpenQuestion],
    words: Sequence[str | None],
    *,
    rule: MatchRule,
    categories: Categories,
) -> dict[str, Accuracy]:
    """Return the accuracy of each group that has a question.

    ActivityNet-QA's groups come in the official order, and Free pools kinds 3 to 8 on both sides of
    the division. (The official script takes its right answers by kind but its totals by first
    appearance in the answer file: on the test split it divides the right answers to 5,600 questions
    by 4,021.)
    """
    names_of = _activitynet_groups if categories == "activitynet" else _own_kind
    members: dict[str, list[int]] = {}
    for place, asked in enumerate(questions):
        for name in names_of(asked.kind):
            members.setdefault(name, []).append(place)
    order = ACTIVITYNET_ORDER if categories == "activitynet" else sorted(members)
    return {
        name: exact_match(
            [words[i] for i in members[name]],
            [questions[i].answer for i in members[name]],
            rule=rule,
        )
        for name in order
        if name in members
    }


def _own_kind(kind: str) -> tuple[str, ...]:
    return (kind,) if kind else ()


def _activitynet_groups(kind: str) -> tuple[str, ...]:
    if kind not in KINDS:
        raise InvalidValue("a kind of ActivityNet-QA question", kind, '"0" to "8"')
    free = ("Free",) if kind in FREE_KINDS else ()
    return ("All", KINDS[kind], *free)


def constant_answers(questions: Sequence[OpenQuestion], *, by_kind: bool) -> dict[str, str | None]:
    """Answer every question with the most frequent right answer: a floor that knows the answers.

    No constant answer (for each kind, with `by_kind`) can score higher: a method that scores lower
    has used neither the video nor the question.
    """
    counts: dict[str, Counter[str]] = {}
    for asked in questions:
        counts.setdefault(asked.kind if by_kind else "", Counter())[asked.answer] += 1
    best = {kind: min(found, key=lambda a: (-found[a], a)) for kind, found in counts.items()}
    return {asked.id: best[asked.kind if by_kind else ""] for asked in questions}
