"""Chapters that a question names by time: at the end, in the beginning, after or before an event.

What is near in meaning to "what happens after the car stops" is the car stopping, not what comes
after it. So the chapters at the named time are given beside those that retrieval found.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from fdvs.answers.from_index import kept_chapters, moment_of
from fdvs.answers.question import read_question
from fdvs.search.index import Entry, Index
from fdvs.types import Moment

NUM_TIMED = 2  # chapters given for a named time
BY_TIME = ("time",)  # how such a chapter came to be evidence


def with_timed(
    evidence: Sequence[Moment], question: str, index: Index, find: Callable[[str], Sequence[Moment]]
) -> tuple[Moment, ...]:
    """Return the evidence and the chapters at the time that a question names, in time order.

    Args:
        find: returns the chapter nearest to an event, for "after" and "before".
    """
    asked = read_question(question)
    videos = list(dict.fromkeys(moment.video_id for moment in evidence))
    wanted: list[Entry] = []
    if asked.position in ("start", "end"):
        for video_id in videos:
            chapters = kept_chapters(index, [video_id])
            wanted += chapters[:NUM_TIMED] if asked.position == "start" else chapters[-NUM_TIMED:]
    elif asked.relation in ("after", "before") and asked.anchor:
        for anchor in find(asked.anchor):
            wanted += _beside(kept_chapters(index, [anchor.video_id]), anchor, asked.relation)
    known = {(moment.video_id, moment.clips[0]) for moment in evidence}
    more = [
        replace(moment_of(entry, score=0.0), matched_by=BY_TIME)
        for entry in wanted
        if (entry.video_id, entry.item) not in known
    ]
    videos += [moment.video_id for moment in more if moment.video_id not in videos]
    both = [*evidence, *more]
    return tuple(sorted(both, key=lambda m: (videos.index(m.video_id), m.start_s)))


def _beside(chapters: Sequence[Entry], anchor: Moment, relation: str) -> Sequence[Entry]:
    """Return the chapters just after or just before a moment."""
    if relation == "after":
        return [entry for entry in chapters if entry.start_s > anchor.start_s][:NUM_TIMED]
    return [entry for entry in chapters if entry.start_s < anchor.start_s][-NUM_TIMED:]
