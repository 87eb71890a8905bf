"""Check that files are a dataset's own and whole: where they lie, counts against the card, ids.

Takes a folder and a card, gives the paths of a split's files; takes what was parsed from them,
gives the checked split.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from fdvs.datasets.cards import DatasetCard
from fdvs.datasets.examples import Caption, ChoiceQuestion, OpenQuestion, Parsed, Query, Split
from fdvs.errors import AbsentData, DataError, PartialData, UnknownName

logger = logging.getLogger(__name__)


def find_files(
    folder: Path, card: DatasetCard, split: str, *, with_captions: bool = True
) -> dict[str, Path]:
    """Return the split's files by role; without `with_captions` none of role `captions`.

    `folder` is the dataset's own folder or the parent that holds one folder a dataset. A folder
    of the dataset's name inside wins, so that another's `val.json` beside it is not taken.

    Raises UnknownName for another split, AbsentData with every place and name that was looked for.
    """
    files = card.split(split).files
    wanted = {role: names for role, names in files.items() if with_captions or role != "captions"}
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


def find_other_captions(folder: Path, card: DatasetCard, split: str, captioner: str) -> Path:
    """Return the file of another captioner's texts: in its folder, or beside the dataset's files.

    Raises UnknownName for a captioner that the card does not name, AbsentData without the file.
    """
    known = card.split(split).other_captions
    if captioner not in known:
        raise UnknownName("captioner", captioner, known, where=f"{card.title} {split}")
    named = Path(known[captioner])
    own = [folder / name for name in card.folders]
    places = [folder / named, folder.parent / named]
    places += [place / named.name for place in (folder, *own)]
    for place in places:
        if place.is_file():
            return place
    raise AbsentData(
        f"{card.title} {split}: no {named} in {folder} or beside it; give the folder that holds "
        f"{named.parent}/ with --data, or the file with --captions"
    )


def _first(place: Path, names: Iterable[str]) -> Path | None:
    return next((place / name for name in names if (place / name).is_file()), None)


def _listed(files: Mapping[str, tuple[str, ...]]) -> str:
    return ", ".join(" or ".join(names) for names in files.values())


def unique(ids: Iterable[str], *, where: str) -> None:
    """Raise DataError if an id occurs twice."""
    seen: set[str] = set()
    for one in ids:
        if one in seen:
            raise DataError(f"{where}: id {one!r} twice; expected each once")
        seen.add(one)


def checked_split(card: DatasetCard, split: str, parsed: Parsed, *, allow_partial: bool) -> Split:
    """Return what was parsed as a split with unique ids and the card's counts.

    Raises:
        PartialData: fewer videos or records than the official files hold, and not allowed.
        DataError: more of them (another split or dataset), or an id twice.
    """
    records: list[Query | OpenQuestion | ChoiceQuestion]
    records = [*parsed.queries, *parsed.questions, *parsed.choices]
    unique((record.id for record in records), where=f"{card.title} {split}")
    video_ids = tuple(dict.fromkeys(record.video_id for record in records))
    official, counts = card.split(split), (len(video_ids), len(records))
    name, is_partial = _official_name(card, split, *counts, allow_partial=allow_partial)
    return Split(
        dataset=card.name,
        name=name,
        is_partial=is_partial,
        video_ids=video_ids,
        choices=tuple(parsed.choices),
        questions=tuple(parsed.questions),
        queries=tuple(parsed.queries),
        durations_s=parsed.durations_s,
        expected={"videos": official.videos, "records": official.records},
    )


def _official_name(
    card: DatasetCard, split: str, num_videos: int, num_records: int, *, allow_partial: bool
) -> tuple[str, bool]:
    """Return what a score on this many videos and records is called, and whether it is partial."""
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


def with_captions(
    split: Split, captions: Mapping[str, tuple[Caption, ...]], *, where: str, allow_partial: bool
) -> Split:
    """Return the split with the captions of its own videos.

    Where the files give no durations, a video lasts until the end of its last caption.

    Raises PartialData where a video has none; if that is allowed, the split is partial.
    """
    found = {one: captions[one] for one in split.video_ids if one in captions}
    missing = tuple(one for one in split.video_ids if one not in captions)
    if missing and not allow_partial:
        raise PartialData(
            f"{where}: no captions of {len(missing)} videos that are asked about, e.g. "
            f"{', '.join(missing[:3])}; get the whole file, or allow partial ones (--allow-partial)"
        )
    if missing:
        logger.warning("%s: no captions of %d videos: %s", where, len(missing), ", ".join(missing))
    return replace(
        split,
        captions=found,
        without_captions=missing,
        is_partial=split.is_partial or bool(missing),
        durations_s=split.durations_s or {one: last[-1].end_s for one, last in found.items()},
    )
