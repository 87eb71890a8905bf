"""The observations of a clip: cleaned, merged where they repeat each other, in a fixed order.

Everything that a source says is untrusted: subtitles, text on screen and a model's words may
contain anything. Invisible characters are removed here, and the length is bounded.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from fdvs.text.clean import clean_text
from fdvs.text.vocabulary import same_words
from fdvs.types import Observation

MAX_OBSERVATION_CHARS = 2000
# the order of sources in a chapter; others follow alphabetically
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


def kind_of(source: str) -> str:
    """Return a source's name as `SOURCE_ORDER` writes it: lower case, spaces."""
    return source.strip().lower().replace("_", " ").replace("-", " ")


def arrange(
    observations: Iterable[Observation], *, max_chars: int = MAX_OBSERVATION_CHARS
) -> tuple[Observation, ...]:
    """Return observations with clean texts in the order of `SOURCE_ORDER`, then of time.

    What one source says twice (the same caption of several kept frames), or speech repeats from
    the subtitles, becomes one observation over both times, with the higher confidence.
    Observations without visible text are dropped.
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
