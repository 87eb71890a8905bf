"""A control for made films: a chooser that knows how their questions are worded.

It finds the answer wherever the words about a film contain it. What it misses was lost before any
question was asked; the gap between it and another chooser is that chooser's fault.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

from fdvs.answers.choice.chooser import Choice
from fdvs.answers.evidence import Evidence
from fdvs.answers.question import Question
from fdvs.datasets.synthetic.questions import TIMES
from fdvs.datasets.synthetic.words import TITLES

_CAPITALS = re.compile(r"\b[A-Z]{4,}\b")
_SAYING = "someone says: "


class RuleReader:
    """A Chooser for the questions of `fdvs.datasets.synthetic` and for nothing else."""

    backend = "rules"

    def choose(self, question: Question, evidence: Evidence) -> Choice:
        """Return the option that the words support; where they support none, the first by text."""
        options = question.options
        right = self._supported(question.text, options, _chapters(evidence))
        order = sorted(range(len(options)), key=lambda i: (options[i] not in right, options[i]))
        scores = tuple(float(option in right) for option in options)
        return Choice(scores=scores, chosen=order[0], backend=self.backend)

    def _supported(
        self, question: str, options: Sequence[str], chapters: Sequence[str]
    ) -> list[str]:
        shown = [title for text in chapters for title in _titles(text)]
        asked = _titles(question)
        if question.endswith(" first?"):
            return shown[:1]
        if question.endswith(" last?"):
            return shown[-1:]
        if asked and question.startswith("How many times"):
            count = shown.count(asked[0])
            return [TIMES[count - 1]] if 0 < count <= len(TIMES) else []
        if asked and " right before " in question:
            return [a for a, b in pairwise(shown) if b == asked[0]]
        if asked and " right after " in question:
            return [b for a, b in pairwise(shown) if a == asked[0]]
        near = [text for text in chapters if not asked or asked[0] in text]
        if _SAYING in question:
            said = question.split(_SAYING)[1]
            near = sorted(near, key=lambda text: -_common(text, said))[:1]
        best = max((_common(text, option) for text in near for option in options), default=0)
        return [o for o in options if best and any(_common(text, o) == best for text in near)]


def _chapters(material: Evidence) -> list[str]:
    """Return the texts of the chapters in order of time, each as one."""
    texts: dict[tuple[float, int], str] = {}
    for passage in material.passages:
        key = (passage.start_s, passage.chapter)
        texts[key] = f"{texts.get(key, '')} {passage.text}"
    return [texts[key] for key in sorted(texts)]


def _titles(text: str) -> list[str]:
    return [word for word in _CAPITALS.findall(text) if word in TITLES]


def _common(text: str, other: str) -> int:
    """Return how many words two texts share."""
    return len({*re.findall(r"\w+", text.lower())} & {*re.findall(r"\w+", other.lower())})
