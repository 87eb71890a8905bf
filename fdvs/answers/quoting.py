"""Choose how a question is answered in quotes: by sentences, by the story, or video by video."""

from __future__ import annotations

from dataclasses import replace

from fdvs.answers.evidence import Evidence, Passage
from fdvs.answers.overview import overview
from fdvs.answers.question import Question
from fdvs.answers.quote import MAX_VIDEOS, quote, quote_videos
from fdvs.answers.retrieve import Retriever
from fdvs.answers.said_times import with_said_times
from fdvs.answers.telling import InPart
from fdvs.types import Answer


def quoted_in_words(question: Question, evidence: Evidence, retriever: Retriever) -> Answer:
    """Answer an open question in quotes, each cited with the seconds in which it is said."""
    return with_said_times(_quoted(question, evidence, retriever), retriever.index)


def _quoted(question: Question, evidence: Evidence, retriever: Retriever) -> Answer:
    index = retriever.index
    if question.reach.kind in ("whole", "topics"):
        found = overview(question, evidence, index, retriever.video_id)
        if found is not None:
            return found
    if question.reach.kind == "videos" and retriever.video_id is None:
        per_video = retriever.per_video(question, num=2 * MAX_VIDEOS)
        about = replace(question, search_text=question.reach.matter(question.search_text))
        return quote_videos(about, replace(per_video, fit=evidence.fit), retriever.embedder)
    return quote(question, evidence, retriever.embedder, _in_part(question, retriever))


def _in_part(question: Question, retriever: Retriever) -> InPart | None:
    """Return what says whether a passage lies in the part of the time that is named."""
    part, stories = question.reach.part, retriever.index.stories
    if part is None:
        return None

    def lies_in(passage: Passage) -> bool:
        story = stories.get(passage.video_id)
        if story is None:
            return False
        start_s, end_s = part.of(story.duration_s)
        return passage.start_s < end_s and passage.end_s > start_s

    return lies_in
