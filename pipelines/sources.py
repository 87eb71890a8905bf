"""Which sources describe a library's videos: short names, `auto`, and what this machine lacks.

Settings name sources as a person does (`speech`, `ocr`, `subtitles`, `auto`, `-ocr`). Before a
build these become names of model cards, so that a stored result depends on what really ran.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from fdvs.config import Config
from fdvs.errors import UnknownName, how_to_install
from fdvs.models.cards import Card, card_names, load_card
from fdvs.pipelines.captioners import AUTO as AUTO_CAPTIONER
from fdvs.pipelines.captioners import ON_CPU, with_captioner
from fdvs.pipelines.presets import AUTO
from fdvs.pipelines.requirements import has_weights, missing_packages

WITHOUT = "-"
#: The cards of each short name, the preferred one first; in the order in which sources are trusted.
SHORT_NAMES = {
    "subtitles": ("subtitles",),
    "speech": ("speech-base", "speech-tiny-en"),
    "ocr": ("screen-text",),
}
ABOUT = {"subtitles": "subtitles", "speech": "speech", "ocr": "text on screen"}


@dataclass(frozen=True, slots=True)
class Resolved:
    """Settings that name cards; `notes` say which sources were left out and how to add them."""

    config: Config
    notes: tuple[str, ...] = ()


def resolve_sources(config: Config, own: Collection[str] = ()) -> Resolved:
    """Return the settings with cards instead of `auto` and short names.

    `own` are the names of models that a caller brings (`source:NAME`): these stay as they are.
    A source that is named but cannot run stays, too: the check before a build says what it lacks.
    """
    named = config.perceive.sources
    config = with_captioner(config, own=own)
    out = {name.removeprefix(WITHOUT) for name in named if name.startswith(WITHOUT)}
    wanted: list[str] = []
    notes: list[str] = []
    for name in named:
        if name == AUTO:
            for short in (short for short in SHORT_NAMES if short not in out | set(named)):
                if lacking := what_lacks(short):
                    notes.append(f"{ABOUT[short]} was not read: {lacking}")
                else:
                    wanted.append(card_of(short))
        elif not name.startswith(WITHOUT):
            wanted.append(name if f"source:{name}" in own else card_of(name))
    sources = tuple(one for one in dict.fromkeys(wanted) if one not in out)
    perceive = replace(config.perceive, sources=sources)
    return Resolved(replace(config, perceive=perceive), tuple(notes))


def change_models(config: Config, *, captioner: str | None, llm: str | None) -> Config:
    """Return settings with another captioner or language model, as specs name them.

    A language model that is named answers, too: quotes alone would not ask it.
    """
    if captioner:
        config = replace(config, perceive=replace(config.perceive, captioner=captioner))
    if llm:
        answerer = "combined" if config.ask.answerer == "evidence" else config.ask.answerer
        config = replace(
            config,
            models=replace(config.models, llm=llm),
            ask=replace(config.ask, answerer=answerer),
        )
    return config


def card_of(name: str) -> str:
    """Return the card of a short name: the first that can run here, or else the preferred one.
    Any other name is returned as it is."""
    cards = _cards(name)
    here = (card.name for card in cards if not _lacking(card, name))
    return next(here, cards[0].name if cards else name)


def preferred_card(name: str) -> str:
    """Return the card that a short name prefers; any other name is returned as it is."""
    return next((card.name for card in _cards(name)), name)


def what_lacks(short: str) -> str:
    """Return why a source cannot run here and the command that adds it, "" where it can."""
    lacking = [_lacking(card, short) for card in _cards(short)]
    return "" if "" in lacking else lacking[0]


def change_sources(
    config: Config,
    *,
    add: Iterable[str] = (),
    drop: Iterable[str] = (),
    language: str | None = None,
) -> Config:
    """Return the settings with sources added or left out, and the language replaced.

    Raises UnknownName for what is neither a short name nor the card of a source.
    """
    add, drop = [_checked(name) for name in add], [_checked(name) for name in drop]
    sources = [name for name in config.perceive.sources if not _is_one_of(name, (*add, *drop))]
    sources += add
    if AUTO in sources:
        sources += [f"{WITHOUT}{name}" for name in drop]
    language = config.perceive.language if language is None else language
    perceive = replace(config.perceive, sources=tuple(dict.fromkeys(sources)), language=language)
    return replace(config, perceive=perceive)


def without_auto(config: Config) -> Config:
    """Return settings for an evaluation, which must not depend on what a machine has."""
    named = tuple(s for s in config.perceive.sources if s != AUTO and not s.startswith(WITHOUT))
    captioner = ON_CPU if config.perceive.captioner == AUTO_CAPTIONER else config.perceive.captioner
    perceive = replace(config.perceive, sources=named, captioner=captioner)
    return replace(config, perceive=perceive)


def _is_one_of(source: str, names: Sequence[str]) -> bool:
    """Whether a source of the settings is meant by one of the names, as itself or by its card."""
    bare = source.removeprefix(WITHOUT)
    return any(bare == name or bare in SHORT_NAMES.get(name, ()) for name in names)


def _checked(name: str) -> str:
    name = name.strip()
    sources = [one for one in card_names() if load_card(one).role == "source"]
    known = {AUTO, *SHORT_NAMES, *sources}
    if name in known or ":" in name:
        return name
    raise UnknownName("source", name, known)


def _cards(short: str) -> list[Card]:
    known = card_names()
    return [load_card(one) for one in SHORT_NAMES.get(short, ()) if one in known]


def _lacking(card: Card, short: str) -> str:
    if missing_packages([card]):
        return f"its package is not installed; {how_to_install(short)}"
    if not has_weights(card):
        return f"its model is not on this machine; run: fdvs models fetch {short}"
    return ""
