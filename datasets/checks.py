"""Is this the dataset's file, whole? Where the files lie, counts against the card, ids once."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path

from fdvs.datasets.cards import DatasetCard
from fdvs.datasets.errors import AbsentData, DataError, PartialData

logger = logging.getLogger(__name__)


def find_files(
    folder: Path, card: DatasetCard, split: str, *, roles: Iterable[str] | None = None
) -> dict[str, Path]:
    """Return the split's files by role.

    `folder` is the dataset's own folder or the parent that holds one folder a dataset. A folder
    of the dataset's name inside wins, so that another's `val.json` beside it is not taken.

    Raises AbsentData with every place and name that was looked for.
    """
    wanted = card.split(split).files
    wanted = wanted if roles is None else {role: wanted[role] for role in roles}
    folder = Path(folder)
    if not folder.is_dir():
        raise AbsentData(f"{folder}: no such folder; give the folder with {card.title}'s files")
    places = [p for name in card.folders if (p := folder / name).is_dir()] + [folder]
    for place in places:
        found = {role: _first(place, names) for role, names in wanted.items()}
        if all(found.values()):
            return {role: path for role, path in found.items() if path is not None}
    missing = [
        " or ".join(names) for names in wanted.values() if not any(_first(p, names) for p in places)
    ]
    what = ", ".join(missing) or "one folder with all of " + _listed(wanted)
    raise AbsentData(
        f"{card.title} {split}: no {what} in {' or '.join(map(str, places))}; give the folder with "
        f"these files or the one that holds {' or '.join(f'{n}/' for n in card.folders)} "
        f"({card.source})"
    )


def _first(place: Path, names: Iterable[str]) -> Path | None:
    return next((place / name for name in names if (place / name).is_file()), None)


def _listed(files: Mapping[str, tuple[str, ...]]) -> str:
    return ", ".join(" or ".join(names) for names in files.values())


def unique(ids: Iterable[str], *, where: str) -> None:
    """Raise DataError where an id comes twice."""
    seen: set[str] = set()
    for one in ids:
        if one in seen:
            raise DataError(f"{where}: id {one!r} twice; expected each once")
        seen.add(one)


def in_order(ids: Iterable[str]) -> tuple[str, ...]:
    """Return ids each once, in the order of their first appearance."""
    return tuple(dict.fromkeys(ids))


def official_name(
    card: DatasetCard, split: str, *, num_videos: int, num_records: int, allow_partial: bool
) -> tuple[str, bool]:
    """Hold the counts against the card's; return what a score is to be called, and if partial.

    Raises:
        PartialData: fewer videos or records than the official files hold, and not allowed.
        DataError: more of them: another split or dataset.
    """
    official = card.split(split)
    name = f"{card.name} {official.label}"
    for what, found, due in (
        ("videos", num_videos, official.videos),
        ("records", num_records, official.records),
    ):
        if found > due:
            raise DataError(f"{card.title} {split}: {found} {what}; the official files hold {due}")
    if (num_videos, num_records) == (official.videos, official.records):
        return name, False
    if not allow_partial:
        raise PartialData(
            f"{card.title} {split}: {num_videos} videos and {num_records} records of the official "
            f"{official.videos} and {official.records}; get the whole files ({card.source}) or "
            "allow partial ones (--allow-partial), which the score's name will carry"
        )
    logger.warning("%s %s is partial: %d of %d", card.name, split, num_records, official.records)
    return f"{name} (partial, {num_records} of {official.records})", True


def expected_counts(card: DatasetCard, split: str) -> dict[str, int]:
    """Return the official number of videos and records."""
    official = card.split(split)
    return {"videos": official.videos, "records": official.records}


def without_captions(
    video_ids: Iterable[str], captions: Mapping[str, object], *, where: str, allow_partial: bool
) -> tuple[str, ...]:
    """Return the videos that no caption was published for. Raises PartialData if not allowed."""
    missing = tuple(one for one in video_ids if one not in captions)
    if missing and not allow_partial:
        raise PartialData(
            f"{where}: no captions of {len(missing)} videos that are asked about, e.g. "
            f"{', '.join(missing[:3])}; get the whole file, or allow partial ones (--allow-partial)"
        )
    if missing:
        logger.warning("%s: no captions of %d videos: %s", where, len(missing), ", ".join(missing))
    return missing
