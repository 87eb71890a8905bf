"""From a file's queries or questions to a checked split: what most datasets here have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fdvs.datasets import checks
from fdvs.datasets.cards import DatasetCard
from fdvs.datasets.examples import OpenQuestion, Query, Split


def checked_split(
    card: DatasetCard,
    split: str,
    *,
    allow_partial: bool,
    queries: Sequence[Query] = (),
    questions: Sequence[OpenQuestion] = (),
    durations_s: Mapping[str, float] | None = None,
) -> Split:
    """Return the split of these queries, or of these questions, one a record of the file.

    Raises PartialData and DataError as `checks.official_name`, DataError for a doubled id.
    """
    records: list[Query | OpenQuestion] = [*queries, *questions]
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
        durations_s=durations_s or {},
        expected=checks.expected_counts(card, split),
    )
