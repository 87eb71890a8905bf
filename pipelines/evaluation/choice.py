"""Multiple-choice questions about videos with words: a Chooser's answers, their floor and controls.

Takes questions and the words about their videos; logs each answer on disk and returns accuracies.
Knows no model: the Chooser and the embedder are passed in.

Controls: another video's words (what remains is guessing from the options' style), and the question
itself as the only passage (what remains is which option resembles the question). The floor is the
option nearest by TF-IDF to all words about the video.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from fdvs.answers.choice.chooser import Choice, Chooser
from fdvs.answers.evidence import Evidence, Passage, make_evidence
from fdvs.answers.question import Question
from fdvs.datasets.examples import Caption, ChoiceQuestion
from fdvs.pipelines.record_log import RecordLog
from fdvs.protocols import TextEmbedder
from fdvs.text.sentences import split_sentences
from fdvs.types import Chapter

Captions = Mapping[str, tuple[Caption, ...]]
MaterialOf = Callable[[ChoiceQuestion], Evidence]

logger = logging.getLogger(__name__)


class CaptionMaterial:
    """The words of each video as passages, one per sentence; embeds a video on first use."""

    def __init__(self, captions: Captions, embedder: TextEmbedder) -> None:
        self._captions = captions
        self._embedder = embedder
        self._video_id = ""
        self._material: Evidence | None = None

    def of_video(self, video_id: str) -> Evidence:
        """Return a video's material; that of the last video is kept."""
        if self._material is None or self._video_id != video_id:
            passages = passages_of(video_id, self._captions[video_id])
            self._material = make_evidence(passages, self._embedder)
            self._video_id = video_id
        return self._material

    def of_question(self, question: ChoiceQuestion) -> Evidence:
        """Return the material of a question that is its own only passage."""
        own = Caption(start_s=0.0, end_s=1.0, text=question.question)
        return make_evidence(passages_of(question.video_id, (own,)), self._embedder)


def passages_of(
    video_id: str, captions: Sequence[Caption | Chapter], places: Iterable[int] | None = None
) -> list[Passage]:
    """Return the sentences of captions or chapters, each with its caption's times and place.

    `places` are the captions' numbers; by default their positions.
    """
    return [
        Passage(
            video_id=video_id,
            name=video_id,
            chapter=place,
            start_s=caption.start_s,
            end_s=caption.end_s,
            text=sentence,
        )
        for place, caption in zip(places or range(len(captions)), captions, strict=True)
        for sentence in split_sentences(caption.text)
    ]


def next_video(video_ids: Sequence[str]) -> dict[str, str]:
    """Return another video for each: the next in the order of a hash, the first for the last."""
    mixed = sorted(set(video_ids), key=_mixed)
    return dict(zip(mixed, (*mixed[1:], *mixed[:1]), strict=True))


def sample_of(questions: Sequence[ChoiceQuestion], num: int) -> list[ChoiceQuestion]:
    """Return whole videos' questions, videos in the order of a hash, at least `num` if there are.

    The order is fixed, so a larger sample holds a smaller one.
    """
    by_video: dict[str, list[ChoiceQuestion]] = {}
    for question in questions:
        by_video.setdefault(question.video_id, []).append(question)
    taken: list[ChoiceQuestion] = []
    for video_id in sorted(by_video, key=_mixed):
        if len(taken) >= num:
            break
        taken.extend(by_video[video_id])
    return taken


def _mixed(video_id: str) -> str:
    return hashlib.sha256(f"choice {video_id}".encode()).hexdigest()


def answer_all(
    questions: Sequence[ChoiceQuestion],
    chooser: Chooser,
    material_of: MaterialOf,
    log: RecordLog,
) -> dict[str, int]:
    """Return the index of the chosen option by question id; logged questions are not asked again.

    The log holds ids and numbers, no text. Questions without any passage stay unanswered.
    """
    began = time.monotonic()
    for question in sorted(questions, key=lambda one: _mixed(one.video_id)):
        if question.id in log:
            continue
        material = material_of(question)
        if material.passages:
            log.add(
                _record(
                    question,
                    chooser.choose(Question.of(question.question, question.options), material),
                )
            )
        else:
            log.add({"id": question.id, "chosen": None})
    logger.info(
        "%s: %d questions, %d of them found on disk, %.0f s",
        log.path.name, len(questions), log.num_resumed, time.monotonic() - began,
    )  # fmt: skip
    return {
        question.id: int(chosen)
        for question in questions
        if (chosen := log.done[question.id]["chosen"]) is not None
    }


def _record(question: ChoiceQuestion, choice: Choice) -> dict[str, object]:
    return {
        "id": question.id,
        "chosen": choice.chosen,
        "scores": list(choice.scores),
        "parts": {name: list(scores) for name, scores in choice.parts.items()},
        "evidence": [passage.chapter for passage in choice.evidence],
        "num_prompt_tokens": choice.num_prompt_tokens,
        "seconds": round(choice.seconds, 4),
    }


def tfidf_floor(questions: Sequence[ChoiceQuestion], captions: Captions) -> dict[str, int]:
    """Return the option nearest by TF-IDF to all words about the video, by question id.

    Term weights come from all videos and options here; ties go to the first option by text.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    videos = sorted({question.video_id for question in questions})
    documents = [" ".join(caption.text for caption in captions[video]) for video in videos]
    options = sorted({option for question in questions for option in question.options})
    vectorizer = TfidfVectorizer(stop_words="english")
    vectorizer.fit([*documents, *options])
    of_video = dict(zip(videos, vectorizer.transform(documents), strict=True))
    of_option = dict(zip(options, vectorizer.transform(options), strict=True))
    chosen: dict[str, int] = {}
    for question in questions:
        row = of_video[question.video_id]
        scores = [float(row.multiply(of_option[option]).sum()) for option in question.options]
        chosen[question.id] = min(
            range(len(scores)), key=lambda place: (-scores[place], question.options[place])
        )
    return chosen


def rights(
    questions: Sequence[ChoiceQuestion], chosen: Mapping[str, int]
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return 1.0 for each question answered right, else 0.0; unanswered ones are wrong. [N]."""
    return np.array([float(chosen.get(one.id) == one.answer) for one in questions])
