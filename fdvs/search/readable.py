"""Whether a query says anything that its words or an embedder can carry.

An embedder turns what it cannot read into one vector: to a small English model 狗 is 🦄, and both
are very near to any other such sign. A query of signs, of stop words, or of words that are mostly
unreadable to the embedder is therefore not searched by meaning, nor by pictures; its words are
still looked up.
"""

from __future__ import annotations

import unicodedata

import numpy as np

from fdvs.protocols import TextEmbedder
from fdvs.search.fulltext import is_unspaced, query_words, runs_of

UNREADABLE = "𓀀"  # a sign that models for texts of today do not know
SAME = 0.999  # the cosine from which two texts are the same to an embedder
MAX_PIECES = 32
MOST = 0.5  # the share of unreadable pieces from which a query is unreadable


def has_meaning(query: str, embedder: TextEmbedder) -> bool:
    """Return whether a query has telling words that the embedder can read."""
    words = query_words(query)
    if not words:
        return False
    runs = [run for word in words for run in runs_of(word)]
    pieces = [p for run in runs for p in (list(run) if is_unspaced(run) else [run])][:MAX_PIECES]
    foreign = [piece for piece in pieces if not _is_latin(piece)]
    if not foreign:
        return True
    texts = [UNREADABLE, *dict.fromkeys(foreign)]
    rows = embedder.embed_texts(texts)
    unreadable = {texts[i] for i in np.flatnonzero(rows @ rows[0] >= SAME)}
    return sum(piece in unreadable for piece in pieces) < MOST * len(pieces)


def _is_latin(piece: str) -> bool:
    return all(unicodedata.name(c, "").startswith("LATIN") or not c.isalpha() for c in piece)
