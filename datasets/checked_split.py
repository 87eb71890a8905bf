"""From a file's queries or questions to a checked split: what most datasets here have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from fdvs.datasets import checks
from fdvs.datasets.cards import DatasetCard
from fdvs.datasets.examples import Caption, ChoiceQuestion, OpenQuestion, Query, Split


def checked_split(
    card: DatasetCard,
    split: str,
    *,
    allow_partial: bool,
    queries: Sequence[Query] = (),
    questions: Sequence[OpenQuestion] = (),
    choices: Sequence[ChoiceQuestion] = (),
    durations_s: Mapping[str, float] | None = None,
) -> Split:
    """Return the split of these queries, questions or choices, one a record of the file.

    Raises PartialData and DataError as `checks.official_name`, DataError for a doubled id.
    """
    records: list[Query | OpenQuestion | ChoiceQuestion] = [*queries, *questions, *choices]
    checks.unique((record.id for record in records), where=f"{card.title} {split}")
    ids = checks.in_order(record.video_id for record in records)
    name, is_partial = checks.official_name(
        card, split, num_videos=len(ids), num_records=len(records), allow_partial=allow_partial
    )
    return Split(
        dataset=card.name,
        name=name,
        is_partial=is_partial,
        video_ids=ids,
        questions=tuple(questions),
        queries=tuple(queries),
        choices=tuple(choices),
        durations_s=durations_s or {},
        expected=checks.expected_counts(card, split),
    )


def add_captions(
    split: Split, captions: Mapping[str, tuple[Caption, ...]], *, where: str, allow_partial: bool
) -> Split:
    """Return the split with its own videos' captions out of those of a file.

    Raises PartialData as `checks.without_captions`; where allowed, the split is partial.
    """
    own = {one: captions[one] for one in split.video_ids if one in captions}
    lacking = checks.without_captions(
        split.video_ids, own, where=where, allow_partial=allow_partial
    )
    return replace(
        split,
        captions=own,
        without_captions=lacking,
        is_partial=split.is_partial or bool(lacking),
    )
