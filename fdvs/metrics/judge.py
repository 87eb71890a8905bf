"""The Video-ChatGPT judge rule: replies of a judging model, parsed and counted in two ways.

The rule (mbzuai-oryx/Video-ChatGPT, quantitative_evaluation/evaluate_activitynet_qa.py): the judge
replies with a Python dictionary {'pred': 'yes' or 'no', 'score': 0 to 5}. Its counting has pitfalls
that published numbers share, so both ways are reported:

official: the score is cut to a whole number (4.8, the example in the prompt, counts as 4); yes and
    no are looked for as parts of the text ("unknown" holds "no"); a reply with neither leaves the
    accuracy but stays in the mean score; a reply that cannot be read was asked again without end.
counted: the score as it is; only the word itself is yes or no; every question asked stays in both
    numbers, an unread reply as a no with score 0.
"""

from __future__ import annotations

import ast
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

MAX_REPLY_CHARS = 500
MAX_VERDICT_CHARS = 100
SCORES = (0.0, 5.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What a judge said: `pred` as it stands, and the score, from 0 to 5, not rounded."""

    pred: str
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedScore:
    """Accuracy (0 to 1) and mean score (0 to 5) under one rule; None where nothing counts."""

    accuracy: float | None
    mean_score: float | None
    num_yes: int
    num_no: int


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeReport:
    """Both rules on the same replies. `num_neither` were read, but say neither yes nor no.

    `num_fractions` scores are no whole numbers, a sign that the judge repeats the prompt's example.
    """

    official: JudgedScore
    counted: JudgedScore
    num_asked: int
    num_unread: int
    num_neither: int
    num_fractions: int


def parse_judgement(reply: str) -> Judgement | None:
    """Read one reply; None where it is no such dictionary.

    The whole reply must be one literal, as in the official script, of at most 500 characters;
    `ast.literal_eval` runs nothing. The score may be a number or the text of one (the script's
    `int` takes "4"). Unread are also replies that would stop the script with an error (no score, a
    list, `pred` that is no text), and scores outside 0 to 5, which it would take.
    """
    if len(reply) > MAX_REPLY_CHARS:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd escapes in a text that is not ours
            value = ast.literal_eval(reply.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None
    if not isinstance(value, dict):
        return None
    pred, score = value.get("pred"), _score(value.get("score"))
    if not isinstance(pred, str) or len(pred) > MAX_VERDICT_CHARS or score is None:
        return None
    return Judgement(pred=pred, score=score)


def judge_report(judgements: Sequence[Judgement | None]) -> JudgeReport:
    """Count the judgements of all questions asked; None is a reply that was never readable."""
    read = [one for one in judgements if one is not None]
    verdicts = [_official_verdict(one.pred) for one in read]
    return JudgeReport(
        official=_official(read, verdicts),
        counted=_counted(read, len(judgements)),
        num_asked=len(judgements),
        num_unread=len(judgements) - len(read),
        num_neither=verdicts.count(""),
        num_fractions=sum(not one.score.is_integer() for one in read),
    )


def _score(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        score = float(value)
    except (ValueError, OverflowError):
        return None
    low, high = SCORES
    return score if math.isfinite(score) and low <= score <= high else None


def _official_verdict(pred: str) -> str:
    lower = pred.lower()
    return "yes" if "yes" in lower else "no" if "no" in lower else ""


def _official(read: Sequence[Judgement], verdicts: Sequence[str]) -> JudgedScore:
    num_yes, num_no = verdicts.count("yes"), verdicts.count("no")
    decided = num_yes + num_no
    return JudgedScore(
        accuracy=num_yes / decided if decided else None,
        mean_score=sum(int(one.score) for one in read) / len(read) if read else None,
        num_yes=num_yes,
        num_no=num_no,
    )


def _counted(read: Sequence[Judgement], num_asked: int) -> JudgedScore:
    words = [one.pred.strip().lower() for one in read]
    num_yes = words.count("yes")
    return JudgedScore(
        accuracy=num_yes / num_asked if num_asked else None,
        mean_score=sum(one.score for one in read) / num_asked if num_asked else None,
        num_yes=num_yes,
        num_no=num_asked - num_yes,
    )
