"""Questions about the whole and about a part of the time are answered by the story."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fdvs.answers.answer import answer
from fdvs.answers.question import Question
from fdvs.config import AskConfig, SearchConfig
from fdvs.models.scripted import HashTextEmbedder
from fdvs.search.index import Index
from fdvs.store.store import Store
from fdvs.types import Answer

FILMS = {
    "talk.mp4": [
        "Snow falls on mountains here.", "Ice grows under heavy pressure.",
        "Glaciers slide over wet rock.", "Valleys become wide and round.",
        "Rivers carry stones away slowly.", "The sea rises every single year.",
    ],
    "bread.mp4": ["Yeast lifts the dough overnight.", "An oven bakes the bread brown."],
}  # fmt: skip


@pytest.fixture
def ask(make_library: Callable[..., Store], embedder: HashTextEmbedder) -> Callable[..., Answer]:
    index = Index.load(make_library(FILMS))
    ids = {entry.name: entry.video_id for entry in index.entries}

    def ask(question: str, video: str = "") -> Answer:
        return answer(
            Question.parse(question), index=index, embedder=embedder,
            config=AskConfig(answerer="evidence", min_fit=-1), search=SearchConfig(),
            video_id=ids[video] if video else None,
        )  # fmt: skip

    return ask


def told(found: Answer) -> list[str]:
    return [s.text.strip("“”") for s in found.sentences]


def test_the_whole_of_a_film_is_told_by_sentences_from_all_of_it(
    ask: Callable[..., Answer],
) -> None:
    found = ask("What is this about?", "talk.mp4")
    starts = [s.citations[0].start_s for s in found.sentences]
    assert not found.refused
    assert starts == sorted(starts)
    assert starts[0] == 0.0
    assert starts[-1] >= 40.0
    assert {m.start_s for m in found.evidence} == set(starts)


def test_the_whole_of_a_library_is_told_by_a_sentence_a_video(ask: Callable[..., Answer]) -> None:
    found = ask("What is this about?")
    assert {s.citations[0].name for s in found.sentences} == {"talk.mp4", "bread.mp4"}
    assert len(found.sentences) == 2
    assert "a sentence of each of 2 videos" in found.notes[0]


def test_of_a_library_guesses_of_pictures_come_last(
    make_library: Callable[..., Store], embedder: HashTextEmbedder
) -> None:
    films = {"a.mp4": ["Pictures: parking meter?"], "b.mp4": FILMS["bread.mp4"]}
    found = answer(
        Question.parse("What is this about?"), index=Index.load(make_library(films)),
        embedder=embedder, config=AskConfig(answerer="evidence", min_fit=-1),
        search=SearchConfig(), video_id=None,
    )  # fmt: skip
    assert [s.citations[0].name for s in found.sentences] == ["b.mp4", "a.mp4"]


@pytest.mark.parametrize(
    ("question", "first_s", "last_s"),
    [
        ("Summarise the second half.", 30.0, 60.0),
        ("What happens at the end?", 40.0, 60.0),
        ("How does it start?", 0.0, 20.0),
        ("What is said at 0:25?", 20.0, 30.0),
        ("What is said between 0:10 and 0:30?", 10.0, 30.0),
        ("Was passiert am Ende?", 40.0, 60.0),
    ],
)
def test_a_part_of_the_time_is_told_from_there(
    ask: Callable[..., Answer], question: str, first_s: float, last_s: float
) -> None:
    found = ask(question, "talk.mp4")
    cited = [c for s in found.sentences for c in s.citations]
    assert cited
    assert all(first_s <= c.start_s and c.end_s <= last_s for c in cited)


def test_a_time_after_the_end_is_refused_with_the_length(ask: Callable[..., Answer]) -> None:
    found = ask("What is said at 9:00?", "talk.mp4")
    assert found.refused
    assert found.reason == "the video is only 1:00 long"


def test_videos_are_named_by_their_best_sentence(ask: Callable[..., Answer]) -> None:
    found = ask("Which videos talk about dough?")
    assert [
        (s.citations[0].name, t) for s, t in zip(found.sentences, told(found), strict=True)
    ] == [("bread.mp4", "Yeast lifts the dough overnight.")]


def test_a_matter_is_never_answered_by_the_story_alone(ask: Callable[..., Answer]) -> None:
    assert told(ask("What does an oven do with bread?")) == ["An oven bakes the bread brown."]
