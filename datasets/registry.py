"""All datasets by name: the adapter that parses each one's files, and how a split is loaded."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

from fdvs.datasets import (
    activitynet_captions,
    activitynet_qa,
    charades_sta,
    checks,
    didemo,
    egoschema,
    generated_qa,
    intentqa,
    msrvtt,
    nextqa,
    youcook2,
)
from fdvs.datasets.cards import DatasetCard, load_card
from fdvs.datasets.examples import Caption, Parsed, Split
from fdvs.errors import UnknownName

#: Takes a split's files by role and its name; raises DataError for what is malformed.
Parse = Callable[[Mapping[str, Path], str], Parsed]


class ReadCaptions(Protocol):
    """Reads a file of published captions of at most `most` videos; raises DataError."""

    def __call__(
        self, path: Path, video_ids: Collection[str], *, most: int
    ) -> Mapping[str, tuple[Caption, ...]]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """A dataset's name and its adapter; `read_captions` where captions were published."""

    name: str
    parse: Parse
    read_captions: ReadCaptions | None = None

    @property
    def card(self) -> DatasetCard:
        return load_card(self.name)

    def load(
        self,
        folder: Path,
        card: DatasetCard,
        *,
        split: str | None = None,
        allow_partial: bool = False,
        with_captions: bool = True,
    ) -> Split:
        """Load a split (by default the card's) and check it against a card; see `load_split`."""
        split = card.default_split if split is None else split
        files = checks.find_files(folder, card, split, with_captions=with_captions)
        parsed = self.parse(files, split)
        found = checks.checked_split(card, split, parsed, allow_partial=allow_partial)
        if self.read_captions is None or "captions" not in files:
            return found
        path, most = files["captions"], card.split(split).videos
        captions = self.read_captions(path, found.video_ids, most=most)
        return checks.with_captions(found, captions, where=str(path), allow_partial=allow_partial)


_ADAPTERS = (
    Dataset(name="activitynet_captions", parse=activitynet_captions.parse),
    Dataset(name="activitynet_qa", parse=activitynet_qa.parse),
    Dataset(name="charades_sta", parse=charades_sta.parse),
    Dataset(name="didemo", parse=didemo.parse),
    Dataset(name="egoschema", parse=egoschema.parse, read_captions=egoschema.read_captions),
    Dataset(name="intentqa", parse=intentqa.parse, read_captions=intentqa.read_captions),
    Dataset(name="msrvtt", parse=msrvtt.parse),
    Dataset(name="msrvtt_qa", parse=generated_qa.parse_msrvtt),
    Dataset(name="msvd_qa", parse=generated_qa.parse_msvd),
    Dataset(name="nextqa", parse=nextqa.parse, read_captions=nextqa.read_captions),
    Dataset(name="youcook2", parse=youcook2.parse),
)
DATASETS: Mapping[str, Dataset] = MappingProxyType({one.name: one for one in _ADAPTERS})


def load_split(
    name: str,
    folder: Path,
    *,
    split: str | None = None,
    allow_partial: bool = False,
    with_captions: bool = True,
) -> Split:
    """Load a split of a dataset from its official files.

    Args:
        folder: the dataset's own folder, or the parent that holds one folder a dataset.
        split: a name in the card; by default the card's own choice.
        allow_partial: accept fewer videos, records or captions than the official files hold.
        with_captions: read published captions where the split has them.

    Raises:
        UnknownName: no such dataset or split.
        AbsentData: a file is missing.
        PartialData: fewer records or captions than official, and not allowed.
        DataError: a file is malformed, or another split's.
    """
    if name not in DATASETS:
        raise UnknownName("dataset", name, DATASETS)
    dataset = DATASETS[name]
    return dataset.load(
        folder, dataset.card, split=split, allow_partial=allow_partial, with_captions=with_captions
    )
