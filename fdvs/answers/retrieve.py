"""Retrieve the evidence for a question from a library's index.

An open question gets the chapters that match best by meaning and words, those at the time that it
names, and, to judge whether it can be answered at all, those nearest in meaning. What is near in
meaning to "what happens after the car stops" is the car stopping, not what comes after it: hence
the chapters at the named time. A question with options gets every kept chapter in question; of a
library too large to read, the nearest.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from fdvs.answers.evidence import Evidence, evidence_of, kept_chapters, moment_of, num_kept
from fdvs.answers.question import Question
from fdvs.answers.reach import Part
from fdvs.config import SearchConfig
from fdvs.errors import NotFound
from fdvs.protocols import TextEmbedder
from fdvs.search.index import Entry, Index
from fdvs.search.moments import ranked_matches
from fdvs.search.ranking import Match
from fdvs.types import Moment, in_time_order
from fdvs.vectors import embed_queries

NUM_NEAR = 16  # chapters nearest in meaning, for the fit
NUM_TIMED = 2  # chapters for a named time
NUM_STORY_CHAPTERS = 3  # nearest to a sentence that was written from the story
MAX_CHAPTERS = 400  # for a question with options: an hour of film in clips of 9 s
NUM_RANKED = 200  # chapters ranked for "which videos"
BY_MEANING = ("meaning",)
BY_TIME = ("time",)  # `Moment.matched_by` of a chapter at a named time
BY_STORY = ("story",)  # and of one that a sentence written from the story is near to


@dataclass(frozen=True, slots=True, kw_only=True)
class Retriever:
    """Finds evidence in an index; `video_id` limits it to one video."""

    index: Index
    embedder: TextEmbedder
    search: SearchConfig
    video_id: str | None = None

    def retrieve(self, question: Question, *, num: int) -> Evidence:
        """Return the evidence for a question.

        Args:
            num: how many chapters an open question gets, besides those at a named time.

        Raises NotFound where there is no chapter, or none that holds text.
        """
        found = self._for_options(question) if question.options else self._open(question, num)
        if not found.moments:
            raise NotFound(
                f"no chapter to answer {question.text[:60]!r} from; "
                "build a video first: fdvs build PATH"
            )
        if not found.passages:
            raise NotFound(
                f"the chapters found for {question.text[:60]!r} hold no text; build them again"
            )
        return found

    def chapters(self, text: str, *, num: int) -> list[Moment]:
        """Return the `num` best kept chapters: the best one's video first, each in time order."""
        return _in_time_order(self.best_chapters(text, num=num))

    def best_chapters(self, text: str, *, num: int) -> list[Moment]:
        """Return the `num` best kept chapters, best first.

        Where fewer than `num` match, the nearest are returned, however far: a model is instructed
        to say so where the evidence does not answer. `matched_by` holds "meaning" from
        `search.min_score` on.
        """
        best: list[Match] = []
        for min_score in (self.search.min_score, -1.0):  # the second ranks every chapter: slow
            search = replace(self.search, min_score=min_score)
            ranked = ranked_matches(self.index, text, self.embedder, search, video_id=self.video_id)
            best = list(islice((m for m in ranked if self.index.is_kept(m.place)), num))
            if len(best) == num:
                break
        return [self._moment(match) for match in best]

    def per_video(self, question: Question, *, num: int) -> Evidence:
        """Return the best chapters of each of the `num` videos that match best, best first."""
        matter = question.reach.matter(question.search_text)
        ranked = self.best_chapters(matter, num=NUM_RANKED)
        groups: dict[str, list[Moment]] = {}
        for moment in ranked:
            groups.setdefault(moment.video_id, []).append(moment)
        moments = [m for group in list(groups.values())[:num] for m in group[:NUM_TIMED]]
        return replace(self._evidence(self._places(moments)), moments=tuple(moments))

    def with_story_chapters(self, evidence: Evidence, sentences: Sequence[str]) -> Evidence:
        """Add the chapters nearest to each sentence: a model that read the story saw them, too."""
        videos = dict.fromkeys(moment.video_id for moment in evidence.moments)
        found: dict[int, float] = {}
        for row in self.embedder.embed_texts(sentences):
            for video_id in videos:
                near = self.index.nearest_kept(row, num=NUM_STORY_CHAPTERS, video_id=video_id)
                found |= {p: max(score, found.get(p, -1.0)) for p, score in near.items()}
        more = [
            moment_of(self.index.entries[place], score=score, matched_by=BY_STORY)
            for place, score in sorted(found.items())
        ]
        moments = _joined(evidence.moments, more)
        wider = self._evidence(self._places(moments))
        return replace(wider, moments=tuple(moments), fit=evidence.fit)

    def _open(self, question: Question, num: int) -> Evidence:
        best = self.best_chapters(question.search_text, num=max(num, NUM_NEAR))
        moments = _in_time_order(best[:num])
        moments = _joined(moments, self._at_named_time(question, moments))
        (row,) = embed_queries(self.embedder, [question.search_text])
        nearest = self.index.nearest_kept(row, num=NUM_NEAR, video_id=self.video_id)
        found = self._evidence(dict.fromkeys([*self._places([*moments, *best]), *nearest]))
        num_near = len(dict.fromkeys([*self._places(moments), *nearest]))
        num_in_scope = len(found.passages) * num_kept(self.index, self.video_id) / max(1, num_near)
        near = [
            *best,
            *(moment_of(self.index.entries[p], score=nearest[p], matched_by=BY_MEANING)
              for p in nearest),
        ]  # fmt: skip
        return replace(
            found, moments=tuple(moments), near=_besides(moments, near),
            num_in_scope=round(num_in_scope),
        )  # fmt: skip

    def _for_options(self, question: Question) -> Evidence:
        if num_kept(self.index, self.video_id) <= MAX_CHAPTERS:
            entries = kept_chapters(self.index, None if self.video_id is None else [self.video_id])
        else:
            (row,) = embed_queries(self.embedder, [" ".join([question.text, *question.options])])
            near = self.index.nearest_kept(row, num=MAX_CHAPTERS, video_id=self.video_id)
            entries = [self.index.entries[place] for place in sorted(near)]
        found = evidence_of(self.index, self.embedder, entries)
        return replace(found, moments=tuple(moment_of(entry, score=0.0) for entry in entries))

    def _evidence(self, places: Iterable[int]) -> Evidence:
        return evidence_of(self.index, self.embedder, [self.index.entries[p] for p in places])

    def _places(self, moments: Iterable[Moment]) -> list[int]:
        """Return the places of chapters in the index."""
        places = [self.index.place((m.video_id, "chapter", m.clips[0])) for m in moments]
        return [place for place in places if place is not None]

    def _moment(self, match: Match) -> Moment:
        is_near = match.by_meaning and match.cosine >= self.search.min_score
        matched_by = replace(match, by_meaning=is_near).matched_by
        return moment_of(self.index.entries[match.place], score=match.cosine, matched_by=matched_by)

    def _at_named_time(self, question: Question, moments: Sequence[Moment]) -> list[Moment]:
        """Return the chapters at the time that a question names."""
        wanted: list[Entry] = []
        part = question.reach.part
        if part is not None and part.in_seconds:
            for video_id in dict.fromkeys(moment.video_id for moment in moments):
                wanted += self.in_part(part, video_id)
        elif question.position in ("start", "end"):
            for video_id in dict.fromkeys(moment.video_id for moment in moments):
                chapters = kept_chapters(self.index, [video_id])
                is_start = question.position == "start"
                wanted += chapters[:NUM_TIMED] if is_start else chapters[-NUM_TIMED:]
        elif question.relation in ("after", "before"):
            for event in self.chapters(question.anchor, num=1):
                chapters = kept_chapters(self.index, [event.video_id])
                wanted += _beside(chapters, event, question.relation)
        return [moment_of(entry, score=0.0, matched_by=BY_TIME) for entry in wanted]

    def in_part(self, part: Part, video_id: str) -> list[Entry]:
        """Return the first kept chapters in a part of a video's time; none without its story."""
        story = self.index.stories.get(video_id)
        if story is None:
            return []
        start_s, end_s = part.of(story.duration_s)
        chapters = kept_chapters(self.index, [video_id])
        return [c for c in chapters if c.start_s < end_s and c.end_s > start_s][:NUM_NEAR]


def _joined(moments: Sequence[Moment], more: Sequence[Moment]) -> list[Moment]:
    """Return moments and those of `more` that are not among them, in time order."""
    known = {(moment.video_id, moment.clips[0]) for moment in moments}
    added = [moment for moment in more if (moment.video_id, moment.clips[0]) not in known]
    return _in_time_order([*moments, *added])


def _besides(moments: Sequence[Moment], more: Iterable[Moment]) -> tuple[Moment, ...]:
    """Return those of `more` that are not among `moments`, each once."""
    known = {(moment.video_id, moment.clips[0]) for moment in moments}
    added: dict[tuple[str, int], Moment] = {}
    for moment in more:
        key = (moment.video_id, moment.clips[0])
        if key not in known:
            added.setdefault(key, moment)
    return tuple(added.values())


def _in_time_order(moments: Sequence[Moment]) -> list[Moment]:
    """Return moments video by video, as the videos come; each in time order."""
    videos = list(dict.fromkeys(moment.video_id for moment in moments))
    return list(in_time_order(moments, videos=videos))


def _beside(chapters: Sequence[Entry], event: Moment, relation: str) -> Sequence[Entry]:
    """Return the chapters just after or just before an event."""
    if relation == "after":
        return [entry for entry in chapters if entry.start_s > event.start_s][:NUM_TIMED]
    return [entry for entry in chapters if entry.start_s < event.start_s][-NUM_TIMED:]
