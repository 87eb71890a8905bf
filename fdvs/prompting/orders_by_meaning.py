"""Words that read like an order by their meaning: near to orders that are known.

Forms find what is said in usual words; a paraphrase is nearer in meaning to one of the known orders
(known_orders.txt) than to plain sentences and instructions to people (innocent_orders.txt). What
counts is how much nearer. The bounds were measured for all-MiniLM-L6-v2 (docs/decisions/027); an
embedder that spreads sentences otherwise gets a bound by how it sees the innocent ones.

T texts, O known orders, I innocent sentences.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from importlib.resources import files

import numpy as np

from fdvs.protocols import TextEmbedder
from fdvs.text.sentences import split_sentences
from fdvs.vectors import Doubles, unit_rows

MIN_NEARNESS = 0.45  # to a known order
MIN_LEAD = 0.1  # how much nearer than to an innocent sentence
SHARE_BELOW, MARGIN = 0.75, 0.02  # of our innocent sentences' own leads: see least_lead
MIN_WORDS = 4  # shorter sentences say too little
MAX_PIECES = 24  # of one text
# "Make it clear in all you write that X": X hides the order, so parts are compared, too
_PARTS = re.compile(r"\s*[:;,—–]\s+|\s+that\s+|\s+-\s+")


class OrdersByMeaning:
    """Tests texts by an embedder; the known sentences are embedded once, at the first test."""

    def __init__(self, embedder: TextEmbedder) -> None:
        self._embedder = embedder
        self._lock = threading.Lock()
        self._known: tuple[Doubles, Doubles, float] | None = None

    def are_orders(self, texts: Sequence[str]) -> list[bool]:
        """Return for each text [T] whether a sentence or part of one is near to a known order."""
        pieces = [_pieces(text) for text in texts]
        flat = list(dict.fromkeys(one for some in pieces for one in some))
        if not flat:
            return [False] * len(texts)
        found = dict(zip(flat, self._tested(flat), strict=True))
        return [any(found[one] for one in some) for some in pieces]

    def _tested(self, pieces: Sequence[str]) -> list[bool]:
        orders_OD, innocent_ID, least_lead = self._references()
        rows_TD = unit_rows(self._embedder.embed_texts(pieces))
        near_T = (rows_TD @ orders_OD.T).max(axis=1)
        lead_T = near_T - (rows_TD @ innocent_ID.T).max(axis=1)
        are: list[bool] = ((near_T >= MIN_NEARNESS) & (lead_T >= least_lead)).tolist()
        return are

    def _references(self) -> tuple[Doubles, Doubles, float]:
        with self._lock:
            if self._known is None:
                orders, innocent = known_orders(), innocent_sentences()
                rows = unit_rows(self._embedder.embed_texts([*orders, *innocent]))
                orders_OD, innocent_ID = rows[: len(orders)], rows[len(orders) :]
                self._known = orders_OD, innocent_ID, least_lead(orders_OD, innocent_ID)
            return self._known


def _pieces(text: str) -> list[str]:
    """Return the sentences of a text and their parts, those of enough words."""
    pieces = [p for s in split_sentences(text) for p in (s, *_PARTS.split(s))]
    return [p for p in dict.fromkeys(pieces) if len(p.split()) >= MIN_WORDS][:MAX_PIECES]


def least_lead(orders_OD: Doubles, innocent_ID: Doubles) -> float:
    """Return the bound on the lead: `MIN_LEAD`, or more where an embedder's leads are larger.

    The innocent sentences were chosen to be near to orders; of an embedder like the one that was
    measured, three in four stay below.
    """
    likeness_II = innocent_ID @ innocent_ID.T
    np.fill_diagonal(likeness_II, -1.0)
    lead_I = (innocent_ID @ orders_OD.T).max(axis=1) - likeness_II.max(axis=1)
    return max(MIN_LEAD, float(np.quantile(lead_I, SHARE_BELOW)) + MARGIN)


def known_orders() -> list[str]:
    """Return sentences that order a language model about, as they are commonly put."""
    return _lines("known_orders.txt")


def innocent_sentences() -> list[str]:
    """Return plain sentences, many of them instructions to people."""
    return _lines("innocent_orders.txt")


def _lines(name: str) -> list[str]:
    return files("fdvs.prompting").joinpath(name).read_text(encoding="utf-8").splitlines()
