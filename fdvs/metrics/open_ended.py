"""Exact match of short answers, in the rules that are in use, and ActivityNet-QA's categories.

Three ways to compare, from hard to soft, because numbers under different rules are not comparable:

official: equal texts, character by character (MILVLG/activitynet-qa, evaluation/eval.py; also what
    the classifiers over a fixed set of answers on MSRVTT-QA and MSVD-QA amount to).
paper: equal without case and spaces around or doubled (FDVS compares in lower case).
lenient: like `paper`, also without articles, punctuation and the difference of "two" and "2" (in
    the manner of VQA, Antol et al. 2015).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fdvs.errors import InvalidValue
from fdvs.metrics.choice import Accuracy

MatchRule = Literal["official", "paper", "lenient"]
RULES: tuple[MatchRule, ...] = ("official", "paper", "lenient")

# the `type` of ActivityNet-QA's answer files
ACTIVITYNET_KINDS = {
    "0": "Motion",
    "1": "Spatial Relation",
    "2": "Temporal Relation",
    "3": "Yes/No",
    "4": "Color",
    "5": "Object",
    "6": "Location",
    "7": "Number",
    "8": "Other",
}
FREE_KINDS = frozenset("345678")
ACTIVITYNET_ORDER = (
    "Motion", "Spatial Relation", "Temporal Relation", "Free", "All",
    "Yes/No", "Color", "Object", "Location", "Number", "Other",
)  # fmt: skip

_ARTICLES = frozenset({"a", "an", "the"})
_NUMBER_WORDS = (
    "zero", "one", "two", "three", "four", "five", "six",
    "seven", "eight", "nine", "ten", "eleven", "twelve",
)  # fmt: skip
_NUMBERS = {word: str(number) for number, word in enumerate(_NUMBER_WORDS)}
_WORD = re.compile(r"[^\W_]+")


def is_match(said: str, answer: str, *, rule: MatchRule) -> bool:
    """Return whether an answer is the right one under a rule.

    >>> [is_match("The 2 dogs.", "two dogs", rule=rule) for rule in RULES]
    [False, False, True]
    """
    if rule == "official":
        return said == answer
    normal = _folded if rule == "paper" else _bare
    return normal(said) == normal(answer)


def matches(
    said: Sequence[str | None], answers: Sequence[str], *, rule: MatchRule
) -> NDArray[np.float64]:
    """Return 1.0 for each right answer [N]; None, no answer, is wrong and stays counted."""
    if len(said) != len(answers):
        raise InvalidValue("number of answers given", len(said), f"{len(answers)}, one a question")
    pairs = zip(said, answers, strict=True)
    return np.array(
        [float(one is not None and is_match(one, right, rule=rule)) for one, right in pairs]
    )


def exact_match(said: Sequence[str | None], answers: Sequence[str], *, rule: MatchRule) -> Accuracy:
    """Return the accuracy of open answers under a rule."""
    return Accuracy(
        num_right=int(matches(said, answers, rule=rule).sum()),
        num_questions=len(answers),
        num_unread=sum(one is None for one in said),
    )


def activitynet_accuracy(
    said: Sequence[str | None],
    answers: Sequence[str],
    kinds: Sequence[str],
    *,
    rule: MatchRule = "official",
) -> dict[str, Accuracy]:
    """Return ActivityNet-QA's categories in the official order; empty ones are left out.

    `kinds` [N] are the numbers "0" to "8" of the answer files. Free pools 3 to 8 on both sides of
    the division. The official script takes its right answers by number but its totals by first
    appearance in the answer file, and the published files begin with type 3: under a Python that
    keeps insertion order it divides 5,600 questions' right answers by 4,021 on the test split.

    Raises InvalidValue for an unknown kind.
    """
    unknown = sorted(set(kinds) - set(ACTIVITYNET_KINDS))
    if unknown:
        raise InvalidValue("a kind of ActivityNet-QA question", unknown[0], '"0" to "8"')
    if len(kinds) != len(answers):
        raise InvalidValue("number of kinds", len(kinds), f"{len(answers)}, one a question")
    right = matches(said, answers, rule=rule)
    found = {}
    for group in ACTIVITYNET_ORDER:
        members = [i for i, kind in enumerate(kinds) if group in _groups(kind)]
        if members:
            found[group] = Accuracy(
                num_right=int(right[members].sum()),
                num_questions=len(members),
                num_unread=sum(said[i] is None for i in members),
            )
    return found


def _groups(kind: str) -> tuple[str, ...]:
    free = ("Free",) if kind in FREE_KINDS else ()
    return ("All", ACTIVITYNET_KINDS[kind], *free)


def _folded(text: str) -> str:
    return " ".join(text.lower().split())


def _bare(text: str) -> str:
    words = [word for word in _WORD.findall(text.lower()) if word not in _ARTICLES]
    return " ".join(_NUMBERS.get(word, word) for word in words)
