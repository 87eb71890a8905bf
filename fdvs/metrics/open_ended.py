"""Exact match of short answers under three rules, from strict to lenient.

Numbers under different rules are not comparable, so a score names its rule:

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


def _folded(text: str) -> str:
    return " ".join(text.lower().split())


def _bare(text: str) -> str:
    words = [word for word in _WORD.findall(text.lower()) if word not in _ARTICLES]
    return " ".join(_NUMBERS.get(word, word) for word in words)
