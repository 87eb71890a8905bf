"""What the sources said about a clip, made safe to read and put in a fixed order.

Everything a source says is untrusted: subtitles, text on screen and a model's words may hold
anything. Here it loses what a reader cannot see, gets a bounded length, and is said once.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import replace

from fdvs.escapes import ESCAPES
from fdvs.types import Observation

# sources in the order in which a chapter tells them; others follow in alphabetical order
SOURCE_ORDER = (
    "caption",
    "tags",
    "motion",
    "action",
    "objects",
    "screen text",
    "subtitles",
    "speech",
)

CUT_MARK = "..."

# what a reader sees nothing of, besides the categories below: fillers and variation selectors
_UNSEEN = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0]")
_UNSEEN_CATEGORIES = frozenset({"Cc", "Cf", "Cn", "Co", "Cs"})
# a text is looked at no further than this many characters for each one that may remain
_READ_AHEAD = 20


def clean_text(text: str, *, max_chars: int) -> str:
    """Return one line of visible text, at most `max_chars` long.

    Unicode NFKC; terminal escape sequences, control, format, bidirectional and other invisible
    characters removed; white space folded to single spaces; cut at a word's end where too long,
    marked by `...`.
    """
    if max_chars < len(CUT_MARK):
        raise ValueError(f"max_chars is {max_chars}; need at least {len(CUT_MARK)}")
    cut_early = len(text) > max_chars * _READ_AHEAD
    folded = " ".join(_visible(text[: max_chars * _READ_AHEAD]).split())
    if len(folded) <= max_chars and not cut_early:
        return folded
    return _cut(folded, max_chars)


def _visible(text: str) -> str:
    """Normalise, drop what is invisible, and normalise what thereby came to stand together."""
    shown = (_shown(c) for c in unicodedata.normalize("NFKC", ESCAPES.sub("", text)))
    return unicodedata.normalize("NFKC", _UNSEEN.sub("", "".join(shown)))


def _shown(character: str) -> str:
    if character.isspace():
        return " "
    return "" if unicodedata.category(character) in _UNSEEN_CATEGORIES else character


def _cut(text: str, max_chars: int) -> str:
    room = max_chars - len(CUT_MARK)
    head = text[:room]
    space = head.rfind(" ")
    # a word is left whole, unless it alone is longer than half of the room
    if not text[room : room + 1].isspace() and space > room // 2:
        head = head[:space]
    return head.rstrip(" .") + CUT_MARK


def kind_of(source: str) -> str:
    """Return a source's name as `SOURCE_ORDER` writes it: lower case, spaces."""
    return source.strip().lower().replace("_", " ").replace("-", " ")


def same_words(text: str) -> str:
    """Return what decides whether two texts say the same: their words, without case and marks."""
    return " ".join(re.findall(r"\w+", text.casefold()))


def arrange(
    observations: Iterable[Observation], *, max_chars: int = 2000
) -> tuple[Observation, ...]:
    """Return observations with clean texts in the order of `SOURCE_ORDER`, then of time.

    What one source says twice (the same caption of several kept frames), and what speech repeats
    from the subtitles, is merged into one observation over both times, with the higher confidence.
    Observations without visible text are left out.
    """
    cleaned = [
        replace(o, source=kind_of(o.source), text=clean_text(o.text, max_chars=max_chars))
        for o in observations
    ]
    ordered = sorted((o for o in cleaned if o.text), key=_place)
    merged: dict[tuple[str, str], Observation] = {}
    for observation in ordered:
        key = (_family(observation.source), same_words(observation.text) or observation.text)
        known = merged.get(key)
        merged[key] = observation if known is None else _join(known, observation)
    return tuple(merged.values())


def _place(observation: Observation) -> tuple[int, str, float, float]:
    source = observation.source
    rank = SOURCE_ORDER.index(source) if source in SOURCE_ORDER else len(SOURCE_ORDER)
    return rank, source, observation.start_s, observation.end_s


def _family(source: str) -> str:
    return "subtitles" if source == "speech" else source


def _join(first: Observation, again: Observation) -> Observation:
    known = [c for c in (first.confidence, again.confidence) if c is not None]
    return replace(
        first,
        start_s=min(first.start_s, again.start_s),
        end_s=max(first.end_s, again.end_s),
        confidence=max(known) if known else None,
    )


def texts_of(observations: Sequence[Observation], source: str) -> list[str]:
    """Return the texts of one source, in order."""
    return [o.text for o in observations if o.source == source]
