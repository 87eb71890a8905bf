"""Dataset cards: one YAML file a dataset in `cards/`, the only place for facts about it.

Official counts, file names, licence, metric, and which published scores can be compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal

from fdvs.cardfiles import names_of_cards, read_card
from fdvs.errors import ConfigError, InvalidValue, UnknownName
from fdvs.excerpts import shortened, shown
from fdvs.typed import fill

PACKAGE = "fdvs.datasets"
Task = Literal["choice", "open", "retrieval"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitCard:
    """One split: official counts, and the accepted names of each file by its role.

    `label` stands for the split in a score's name. `captions` says who published the captions in
    the file of role `captions`; empty where there are none. `other_captions` are files of further
    captioners by name, as FOLDER/FILE beside or in the dataset's folder: ids of videos to texts in
    time order.
    """

    label: str
    videos: int
    records: int
    files: Mapping[str, tuple[str, ...]]
    captions: str = ""
    other_captions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """Published scores of one system for a benchmark row.

    `scores` are fractions from 0 to 1 by the metric's name, as our own results are; `points` are
    on other scales. `not_comparable` says why they are context and no comparison; empty where they
    can be compared.
    """

    row: str
    system: str
    scores: Mapping[str, float]
    source: str
    not_comparable: str
    points: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetCard:
    """Facts about a dataset. `rows` are its benchmark rows, `folders` the names of its folder.

    `version` changes when the same files would give other examples; `changes` says how.
    """

    name: str
    title: str
    about: str
    task: Task
    rows: tuple[str, ...]
    folders: tuple[str, ...]
    source: str
    licence: str
    metric: str
    comparable: str
    version: int
    changes: Mapping[int, str]
    default_split: str
    splits: Mapping[str, SplitCard]
    published: tuple[Published, ...] = field(default_factory=tuple)

    def split(self, name: str | None = None) -> SplitCard:
        """Return a split by name, the default one without. Raises UnknownName."""
        name = self.default_split if name is None else name
        if name not in self.splits:
            raise UnknownName("split", name, self.splits, where=self.title)
        return self.splits[name]


def card_names() -> list[str]:
    """Return the names of all datasets, sorted."""
    return names_of_cards(PACKAGE)


@cache
def load_card(name: str) -> DatasetCard:
    """Read one card. Raises UnknownName, or ConfigError where the file has a wrong field."""
    return card_from(name, read_card(PACKAGE, name, kind="dataset"))


def published_for(row: str) -> tuple[Published, ...]:
    """Return the published scores of a benchmark row in the order of the cards, or ()."""
    return tuple(
        entry for name in card_names() for entry in load_card(name).published if entry.row == row
    )


def card_from(name: str, values: Mapping[str, Any]) -> DatasetCard:
    """Return the card of a mapping. Raises ConfigError where a field is unknown or missing."""
    where = f"dataset card {name}"
    groups = _mapping(values, where).get("published", [])
    if not isinstance(groups, list):
        raise InvalidValue(f"{where}: published", groups, "a list")
    published = [
        entry for group in groups for entry in _published_from(group, where=f"{where}, published")
    ]
    card = fill(DatasetCard, {**values, "published": published, "name": name}, where=where)
    _check(card, where)
    return card


def _published_from(group: Mapping[str, Any], *, where: str) -> Iterator[dict[str, Any]]:
    """Yield one entry per system of a published table; YAML has percent, as papers print them."""
    shared = dict(_mapping(group, where))
    for system, values in _mapping(shared.pop("systems", {}), where).items():
        at = f"{where}, {system}"
        entry = {**shared, **_mapping(values, at), "system": system}
        percent = _mapping(entry.pop("percent", {}), at)
        for key, value in percent.items():
            if not isinstance(value, int | float) or not 0 <= value <= 100:
                wrong = f"{shortened(str(key))} {shown(value)}"
                raise ConfigError(f"{at}: {wrong}; allowed: percent from 0 to 100")
        yield {**entry, "scores": {key: round(value / 100, 6) for key, value in percent.items()}}


def _mapping(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise InvalidValue(where, value, "a mapping")
    return value


def _check(card: DatasetCard, where: str) -> None:
    if card.version not in card.changes:
        raise ConfigError(f"{where}: version {card.version} has no entry in changes")
    if stray := [entry.row for entry in card.published if entry.row not in card.rows]:
        raise ConfigError(f"{where}: published row {shown(stray[0])}; allowed: {shown(card.rows)}")
    card.split()
