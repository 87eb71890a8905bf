"""Passages of a library's chapters: what an answer may rest on.

Takes an index, gives passages, moments and `Material`. Chapters that textual redundancy dropped
are left out, as everywhere in answers. Of a library too large to read, the chapters nearest to the
question are taken.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fdvs.answers.evidence import Material, Passage, make_material
from fdvs.protocols import TextEmbedder
from fdvs.search.index import Entry, Index
from fdvs.text.sentences import split_sentences
from fdvs.types import Moment

MAX_SENTENCES = 32  # of one chapter; captions have a few
MAX_PASSAGE_CHARS = 600  # embedders read a few hundred words


def is_kept(index: Index, entry: Entry) -> bool:
    """Return False for a chapter that textual redundancy dropped; True before that is known."""
    kept = index.kept_clips.get(entry.video_id)
    return kept is None or entry.item in kept


def kept_chapters(index: Index, video_ids: Iterable[str] | None = None) -> list[Entry]:
    """Return the kept chapters of some videos (None: all) in the index's order."""
    wanted = None if video_ids is None else set(video_ids)
    return [
        entry
        for entry in index.entries
        if entry.level == "chapter"
        and (wanted is None or entry.video_id in wanted)
        and is_kept(index, entry)
    ]


def passages_of(entries: Iterable[Entry]) -> list[Passage]:
    """Return the sentences of chapters, each with its chapter's times."""
    return [
        Passage(
            video_id=entry.video_id,
            name=entry.name,
            chapter=entry.item,
            start_s=entry.start_s,
            end_s=entry.end_s,
            text=sentence[:MAX_PASSAGE_CHARS],
        )
        for entry in entries
        for sentence in split_sentences(entry.text)[:MAX_SENTENCES]
    ]


def material_of(index: Index, embedder: TextEmbedder, entries: Sequence[Entry]) -> Material:
    """Return the material of chapters, with the stories of their videos."""
    videos = dict.fromkeys(entry.video_id for entry in entries)
    told = [index.stories[video_id] for video_id in videos if video_id in index.stories]
    sentences = [sentence.text for story in told for sentence in story.sentences]
    return make_material(passages_of(entries), embedder, story=sentences)


def moment_of(entry: Entry, *, score: float) -> Moment:
    """Return a chapter as a moment of evidence."""
    return Moment(
        video_id=entry.video_id,
        name=entry.name,
        start_s=entry.start_s,
        end_s=entry.end_s,
        score=score,
        text=entry.text,
        clips=(entry.item,),
    )


def nearest_chapters(
    index: Index, entries: Sequence[Entry], query: str, embedder: TextEmbedder, *, num: int
) -> list[Entry]:
    """Return the `num` chapters of `entries` nearest to a query in meaning, in the given order."""
    scores = index.similar(
        embedder.embed_texts([query])[0], min_score=-1.0, level="chapter", video_id=None
    )
    places = {entry.key: index.place(entry.key) for entry in entries}
    ranked = sorted(entries, key=lambda e: (-scores.get(places[e.key] or 0, -1.0), e.key))
    wanted = {entry.key for entry in ranked[:num]}
    return [entry for entry in entries if entry.key in wanted]
