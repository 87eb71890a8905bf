"""Write a text that must be looked up in: facts between prose, later questions with their answers.

    python research/lookup_text.py PROSE.txt --out lookup.txt

Texts of one kind of prose hardly ask for what stood far back. A plan of attention by head
(`plan_attention.py`) that was chosen on them alone starves the heads that fetch such things; a text
of this kind beside them lets those heads be seen. Names, places and numbers are drawn, so nothing
but the text itself tells them. Needles for measuring (`eval_needles.py`) are worded otherwise.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

KINDS = ("brass", "wooden", "green", "old", "broken", "silver", "striped", "heavy", "blue", "small")
THINGS = (
    "lamp", "kettle", "ladder", "bicycle", "violin", "suitcase", "umbrella", "telescope", "compass",
    "typewriter", "barrel", "armchair", "lantern", "toolbox", "mirror", "piano", "anchor", "camera",
)  # fmt: skip
PLACES = (
    "harbour", "attic", "bakery", "garden", "station", "library", "barn", "chapel", "workshop",
    "market", "cellar", "museum",
)  # fmt: skip
#: Words of prose before a fact, and before a question: from, to.
BEFORE_FACT, BEFORE_QUESTION = (20, 40), (5, 12)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One thing with its place and its number."""

    name: str
    place: str
    number: int

    @property
    def statement(self) -> str:
        return f"The {self.name} stands in the {self.place} and bears the number {self.number}."

    @property
    def asked(self) -> str:
        return (
            f"Where is the {self.name}? It stands in the {self.place}. "
            f"Which number does it bear? It bears the number {self.number}."
        )


def lookup_text(prose: str, *, num_facts: int, seed: int = 0) -> str:
    """Return facts in one order and, after all of them, questions with answers in another.

    Raises:
        ValueError: more facts than there are names, or too little prose to stand between them.
    """
    draw = random.Random(seed)
    names = [f"{kind} {thing}" for kind in KINDS for thing in THINGS]
    if not 0 < num_facts <= len(names):
        raise ValueError(f"num_facts is {num_facts}; from 1 to {len(names)} are possible")
    facts = [
        Fact(name=name, place=draw.choice(PLACES), number=draw.randint(1000, 9999))
        for name in draw.sample(names, num_facts)
    ]
    told = [(fact.statement, BEFORE_FACT) for fact in facts]
    asked = [(fact.asked, BEFORE_QUESTION) for fact in draw.sample(facts, num_facts)]
    words, lines = iter(prose.split()), []
    for sentence, (least, most) in (*told, *asked):
        between = [word for _, word in zip(range(draw.randint(least, most)), words, strict=False)]
        if len(between) < least:
            raise ValueError(f"too little prose for {num_facts} facts; give more or ask for fewer")
        lines += [" ".join(between), sentence]
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the text; return 0."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("prose", type=Path, help="a text file, UTF-8")
    parser.add_argument("--facts", type=int, default=30, metavar="N")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--skip", type=int, default=0, metavar="CHARS", help="of the prose")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args(arguments)
    prose = options.prose.read_text("utf-8")[options.skip :]
    options.out.write_text(lookup_text(prose, num_facts=options.facts, seed=options.seed), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
