"""From a file's queries to a checked split: what every text-to-video dataset here has in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fdvs.datasets import checks
from fdvs.datasets.cards import DatasetCard
from fdvs.datasets.examples import Query, Split


def retrieval_split(
    card: DatasetCard,
    split: str,
    queries: Sequence[Query],
    *,
    allow_partial: bool,
    durations_s: Mapping[str, float] | None = None,
) -> Split:
    """Return the split of these queries, one a record of the file.

    Raises PartialData and DataError as `checks.official_name`, DataError for a doubled id.
    """
    checks.unique((query.id for query in queries), where=f"{card.title} {split}")
    ids = checks.in_order(query.video_id for query in queries)
    name, is_partial = checks.official_name(
        card, split, num_videos=len(ids), num_records=len(queries), allow_partial=allow_partial
    )
    return Split(
        dataset=card.name,
        name=name,
        is_partial=is_partial,
        video_ids=ids,
        queries=tuple(queries),
        durations_s=durations_s or {},
        expected=checks.expected_counts(card, split),
    )
