"""Observations of one clip in the order of trust, cleaned, and without what two voices repeat.

Everything that a source says is untrusted: subtitles, text on screen and a model's words may
contain anything. Observations lose invisible characters, get a bounded length and a fixed order,
and are merged where they repeat each other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

from fdvs.text.plain import clean_words
from fdvs.text.sentences import finish
from fdvs.text.vocabulary import same_words
from fdvs.types import Observation

MAX_OBSERVATION_CHARS = 2000
#: The order of trust, in which sources stand in a chapter; others follow alphabetically.
SOURCE_ORDER = (
    "heading",
    "subtitles",
    "speech",
    "screen text",
    "caption",
    "action",
    "objects",
    "tags",
    "motion",
)
#: The sources of what is said.
SPOKEN = ("subtitles", "speech")

# a text repeats a more trusted source that has this share of its words
SAME_SPEECH = 0.6
SAME_TEXT = 0.8
# up to this many words, all of them must be known
FEW_WORDS = 3
# a line without a full stop goes on in the next one, unless it is this long or the pause that long
MAX_OPEN_CHARS = 240
MAX_PAUSE_S = 3.0


def kind_of(source: str) -> str:
    """Return a source's name as `SOURCE_ORDER` writes it: lower case, spaces."""
    return source.strip().lower().replace("_", " ").replace("-", " ")


def arrange(
    observations: Iterable[Observation], *, max_chars: int = MAX_OBSERVATION_CHARS
) -> tuple[Observation, ...]:
    """Return observations with clean texts in the order of `SOURCE_ORDER`, then of time.

    What one source says twice (the same caption of several kept frames) becomes one observation
    over both times, with the higher confidence. Speech that the subtitles hold, and text on screen
    that is said or is the heading, is left out. Observations without visible text are dropped.
    """
    cleaned = [
        replace(o, source=kind_of(o.source), text=clean_words(o.text, max_chars=max_chars))
        for o in observations
    ]
    ordered = sorted((o for o in cleaned if o.text), key=_place)
    merged: dict[tuple[str, str], Observation] = {}
    for observation in ordered:
        key = (observation.source, same_words(observation.text) or observation.text)
        known = merged.get(key)
        merged[key] = observation if known is None else _join(known, observation)
    return _without_echoes(list(merged.values()))


def _place(observation: Observation) -> tuple[int, str, float, float]:
    source = observation.source
    rank = SOURCE_ORDER.index(source) if source in SOURCE_ORDER else len(SOURCE_ORDER)
    return rank, source, observation.start_s, observation.end_s


def _join(first: Observation, again: Observation) -> Observation:
    known = [c for c in (first.confidence, again.confidence) if c is not None]
    return replace(
        first,
        start_s=min(first.start_s, again.start_s),
        end_s=max(first.end_s, again.end_s),
        confidence=max(known) if known else None,
    )


def _without_echoes(observations: Sequence[Observation]) -> tuple[Observation, ...]:
    """Return observations without speech and text on screen that more trusted sources hold."""
    subtitles = _words(observations, ("subtitles",))
    said = subtitles + _words(observations, ("speech",))
    heading = _words(observations, ("heading",))

    def repeats(observation: Observation) -> bool:
        if observation.source == "speech":
            return _is_held(observation.text, subtitles, SAME_SPEECH)
        if observation.source == "screen text":
            return any(_is_held(observation.text, words, SAME_TEXT) for words in (said, heading))
        return False

    return tuple(o for o in observations if not repeats(o))


def _words(observations: Iterable[Observation], sources: Sequence[str]) -> Counter[str]:
    texts = [same_words(o.text) for o in observations if o.source in sources]
    return Counter(" ".join(texts).split())


def _is_held(text: str, words: Counter[str], share: float) -> bool:
    """Return whether `words` hold this share of a text's words; all where it has only a few."""
    wanted = Counter(same_words(text).split())
    total = wanted.total()
    needed = 1.0 if total <= FEW_WORDS else share
    return total > 0 and (wanted & words).total() >= needed * total


def texts_of(observations: Sequence[Observation], source: str) -> list[str]:
    """Return the texts of one source, in order."""
    return [o.text for o in observations if o.source == source]


def goes_on(passage: str, pause_s: float) -> bool:
    """Return whether a passage so far is no whole sentence, and goes on after a pause."""
    return (
        finish(passage) != passage[:1].upper() + passage[1:]
        and len(passage) < MAX_OPEN_CHARS
        and pause_s <= MAX_PAUSE_S
    )
