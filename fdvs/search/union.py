"""Several libraries as one index, as if they had been merged, for questions over all of them.

All texts and vectors are copied into memory: some seconds and 2 KB for each chapter. A search needs
no such copy (`fdvs.search.together`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fdvs.search.columns import LEVELS, ColumnWriter
from fdvs.search.fulltext import FullText
from fdvs.search.index import Index, Read
from fdvs.stopping import check_stop
from fdvs.store.store import Artifact


def united(indexes: Sequence[Index], reads: Sequence[Read], names: Mapping[str, str]) -> Index:
    """Return one index of all videos of several; of a video that two hold, the first counts.

    Args:
        reads: returns a stored row (video_id, stage, item) of each library.
        names: by video id, where a video is shown under another name than its library gives it.
    """
    owners: dict[str, tuple[Index, Read]] = {}
    shown: dict[str, str] = {}
    for index, read in zip(indexes, reads, strict=True):
        for video_id, name in zip(index.columns.video_ids, index.columns.names, strict=True):
            if video_id not in owners:
                owners[video_id] = index, read
                shown[video_id] = names.get(video_id, name)
    writer = ColumnWriter()
    for video_id in sorted(owners, key=lambda one: (shown[one], one)):
        check_stop()
        _copy(writer, owners[video_id][0], video_id, shown[video_id])
    columns = writer.finish()

    def read_row(video_id: str, stage: str, item: int) -> Artifact | None:
        return owners[video_id][1](video_id, stage, item) if video_id in owners else None

    owned = enumerate(columns.videos.tolist())
    texts = ((columns.video_ids[video], columns.text(place)) for place, video in owned)
    return Index(columns, FullText(texts), read_row)


def _copy(writer: ColumnWriter, index: Index, video_id: str, name: str) -> None:
    """Add one video of an index, with its looks."""
    writer.add_video(video_id, name, has_story=video_id in index.stories)
    for level in LEVELS:
        for place in range(*index.span(level, video_id)):
            rows = index.vectors(place)
            entry = index.entries[place]
            writer.add_text(entry, rows if len(rows) else None, is_kept=index.is_kept(place))
