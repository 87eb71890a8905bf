"""Questions about the whole of a video, or about a part of its time: answered by its story.

Of a short part ("at 3:20") its chapters are quoted, of a longer one its scenes and story, of the
whole a sentence of each scene, and of a library a sentence of each video: what is said or written
comes first, guesses of pictures last.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fdvs.answers.evidence import Evidence, kept_chapters, moment_of
from fdvs.answers.question import Question
from fdvs.answers.quote import MAX_VIDEOS, quoted, quoted_answer
from fdvs.answers.reach import Part
from fdvs.prompting.marks import is_suspect
from fdvs.search.index import Entry, Index
from fdvs.story.candidates import candidates_of, is_remark, repeats
from fdvs.story.extractive import is_guess
from fdvs.text.timecode import end_code
from fdvs.text.vocabulary import same_words
from fdvs.types import Answer, AnswerSentence, Moment, Sentence, Story

MAX_SENTENCES = 6
MIN_SCENES = 3  # fewer scenes than that do not stand for the whole
MAX_TOPICS = 12
SHORT_PART_S = 45.0  # of so short a named time every sentence is looked at, not the scenes'
BY_STORY = ("story",)

Telling = tuple[str, Moment]  # a sentence and the chapter that it stands in


def overview(
    question: Question, evidence: Evidence, index: Index, video_id: str | None
) -> Answer | None:
    """Answer a question about the whole, None where no story is told.

    Args:
        evidence: what was retrieved: the videos found first come first.
        video_id: only this video.
    """
    found = [video_id] if video_id else [m.video_id for m in evidence.moments]
    videos = [v for v in dict.fromkeys([*found, *index.stories]) if v in index.stories]
    videos = videos[:1] if video_id else sorted(videos, key=lambda v: _is_guessed(index.stories[v]))
    if not videos:
        return None
    notes: list[str] = []
    if len(videos) == 1:
        sentences, moments = _of_video(question, index, videos[0])
    else:
        parts = [_of_video(question, index, video, limit=1) for video in videos[:MAX_VIDEOS]]
        sentences = [s for part, _ in parts for s in part]
        moments = [m for _, part in parts for m in part]
        shown = "" if len(videos) <= MAX_VIDEOS else f"{MAX_VIDEOS} of "
        notes.append(
            f"a sentence of each of {shown}{len(videos)} videos; ask one alone with --video NAME"
        )
    if not sentences:
        return None
    material = Evidence(
        moments=tuple(dict.fromkeys(moments)),
        passages=(), vectors=evidence.vectors[:0], fit=evidence.fit,
    )  # fmt: skip
    return quoted_answer(question, material, sentences, notes)


def too_late(question: Question, index: Index, video_id: str | None) -> str:
    """Return why there is nothing at the time that a question names, "" where there is something.

    Only of a single video: in a library another one may be long enough.
    """
    part = question.reach.part
    videos = [video_id] if video_id else list(index.stories)
    if part is None or len(videos) != 1 or videos[0] not in index.stories:
        return ""
    duration_s = index.stories[videos[0]].duration_s
    start_s, end_s = part.of(duration_s)
    if start_s < end_s:
        return ""
    return f"the video is only {end_code(duration_s)} long"


def _is_guessed(story: Story) -> bool:
    """Return whether a story has nothing but guesses of its pictures, or a lead that says so."""
    return all(is_guess(sentence.text) for sentence in story.sentences[:1])


def _of_video(
    question: Question, index: Index, video_id: str, limit: int = MAX_SENTENCES
) -> tuple[list[AnswerSentence], list[Moment]]:
    story, part = index.stories[video_id], question.reach.part
    chapters = {entry.item: entry for entry in kept_chapters(index, [video_id])}
    if question.reach.kind == "topics":
        told = _titles(story, chapters)
    else:
        told = _told(story, chapters, part, limit)
    if part is not None:
        told = [one for one in told if _overlaps(one[1], part, story.duration_s)]
    told = _spread(told, max(limit, MAX_TOPICS) if question.reach.kind == "topics" else limit)
    return [quoted(text, where) for text, where in told], [where for _, where in told]


def _told(story: Story, chapters: dict[int, Entry], part: Part | None, limit: int) -> list[Telling]:
    if part is None:
        firsts = [scene.sentences[0] for scene in story.scenes if scene.sentences]
        sentences = firsts if MIN_SCENES <= len(firsts) <= limit else list(story.sentences)
        return _placed(sentences, chapters)
    start_s, end_s = part.of(story.duration_s)
    scenes = [s for scene in story.scenes for s in scene.sentences]
    told = _placed([*story.sentences, *scenes], chapters)
    told = [one for one in told if _overlaps(one[1], part, story.duration_s)]
    if told and not (part.in_seconds and end_s - start_s <= SHORT_PART_S):
        return told
    inside = [c for c in chapters.values() if c.start_s < end_s and c.end_s > start_s]
    return _best_sentences(inside, story) or told


def _placed(sentences: Iterable[Sentence], chapters: dict[int, Entry]) -> list[Telling]:
    """Return different sentences with the first chapter that each stands in, in time order."""
    placed: list[Telling] = []
    for sentence in sentences:
        entry = next((chapters[clip] for clip in sentence.clips if clip in chapters), None)
        if entry is None or is_remark(sentence.text) or is_suspect(sentence.text):
            continue
        if not repeats(sentence.text, (text for text, _ in placed)):
            placed.append((sentence.text, moment_of(entry, score=0.0, matched_by=BY_STORY)))
    return sorted(placed, key=lambda one: one[1].start_s)


def _titles(story: Story, chapters: dict[int, Entry]) -> list[Telling]:
    """Return the headings that are shown, else the titles of scenes or their first sentences."""
    headings = [
        (c.title, (c.index,)) for c in story.chapters if c.title and not is_suspect(c.title)
    ]
    scenes = [(s.title or s.sentences[0].text, s.chapters) for s in story.scenes if s.sentences]
    told: list[Telling] = []
    for text, clips in headings if len(headings) >= len(scenes) else scenes:
        first = next((chapters[clip] for clip in clips if clip in chapters), None)
        if (
            first is not None
            and not is_suspect(text)
            and same_words(text) not in {same_words(known) for known, _ in told}
        ):
            told.append((text, moment_of(first, score=0.0, matched_by=BY_STORY)))
    return told


def _best_sentences(entries: Sequence[Entry], story: Story) -> list[Telling]:
    """Return the sentences of chapters that can be told alone, by their quality, in time order."""
    told = {chapter.index: chapter for chapter in story.chapters}
    places = {entry.item: entry for entry in entries}
    candidates = candidates_of([told[item] for item in places if item in told])
    told_alone = (c for c in candidates if not is_remark(c.text) and not is_suspect(c.text))
    best = sorted(told_alone, key=lambda c: -c.quality)
    good = [c for c in best if c.quality >= best[0].quality / 2]
    return [
        (c.text, moment_of(places[c.clips[0]], score=0.0, matched_by=BY_STORY))
        for c in sorted(good[:MAX_SENTENCES], key=lambda c: (c.start_s, c.place))
    ]


def _overlaps(moment: Moment, part: Part, duration_s: float) -> bool:
    start_s, end_s = part.of(duration_s)
    middle_s = (moment.start_s + moment.end_s) / 2
    return start_s <= middle_s < end_s or (
        end_s - start_s <= SHORT_PART_S and moment.start_s < end_s and moment.end_s > start_s
    )


def _spread(told: Sequence[Telling], limit: int) -> list[Telling]:
    """Return at most `limit` of them, evenly spread, the first among them."""
    if len(told) <= limit:
        return list(told)
    step = len(told) / limit
    return [told[int(i * step)] for i in range(limit)]
