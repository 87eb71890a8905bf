"""All datasets by name: how each is loaded, and its card."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

from fdvs.datasets import (
    activitynet_captions,
    activitynet_qa,
    charades_sta,
    didemo,
    egoschema,
    msrvtt,
    msrvtt_qa,
    msvd_qa,
    nextqa,
    youcook2,
)
from fdvs.datasets.cards import DatasetCard, load_card
from fdvs.datasets.examples import Split
from fdvs.errors import UnknownName


class Load(Protocol):
    """How a dataset is loaded; `split` None is the card's default."""

    def __call__(
        self, folder: Path, *, split: str | None = None, allow_partial: bool = False
    ) -> Split: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """A dataset's name, its loader and its card, which is read when asked for."""

    name: str
    load: Load

    @property
    def card(self) -> DatasetCard:
        return load_card(self.name)


_LOADERS: dict[str, Load] = {
    activitynet_captions.NAME: activitynet_captions.load,
    activitynet_qa.NAME: activitynet_qa.load,
    charades_sta.NAME: charades_sta.load,
    didemo.NAME: didemo.load,
    egoschema.NAME: egoschema.load,
    msrvtt.NAME: msrvtt.load,
    msrvtt_qa.NAME: msrvtt_qa.load,
    msvd_qa.NAME: msvd_qa.load,
    nextqa.NAME: nextqa.load,
    youcook2.NAME: youcook2.load,
}
DATASETS: Mapping[str, Dataset] = MappingProxyType(
    {name: Dataset(name=name, load=load) for name, load in _LOADERS.items()}
)


def get_dataset(name: str) -> Dataset:
    """Return a dataset. Raises UnknownName with near matches."""
    if name not in DATASETS:
        raise UnknownName("dataset", name, DATASETS)
    return DATASETS[name]


def load_split(
    name: str,
    folder: Path,
    *,
    split: str | None = None,
    allow_partial: bool = False,
    with_captions: bool = True,
) -> Split:
    """Load a split of a dataset; without `with_captions` no file of published captions is read.

    Raises UnknownName for the dataset or split, DataError and PartialData as the loaders.
    """
    dataset = get_dataset(name)
    if not with_captions and name == egoschema.NAME:
        return egoschema.load(folder, split=split, allow_partial=allow_partial, with_captions=False)
    if not with_captions and name == nextqa.NAME:
        return nextqa.load(folder, split=split, allow_partial=allow_partial, with_captions=False)
    return dataset.load(folder, split=split, allow_partial=allow_partial)
