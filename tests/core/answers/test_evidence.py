"""Evidence is built once: a question embeds each text once, whoever answers it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from fdvs.answers.answer import answer
from fdvs.answers.choice.combined import make_chooser
from fdvs.answers.evidence import OnceEmbedder, evidence_of, kept_chapters
from fdvs.answers.fit import Answerability, everyday_sentences
from fdvs.answers.question import Question
from fdvs.config import AskConfig, SearchConfig
from fdvs.fingerprint import digest
from fdvs.models.scripted import HashTextEmbedder, ScriptedLanguageModel
from fdvs.search.index import SENTENCES, Index
from fdvs.store.store import Store
from fdvs.text.sentences import sentences_of
from fdvs.types import Answer, Vectors

FILMS = {
    "forest.mp4": [
        "A fox sleeps under leaves.",
        "One rabbit digs deep holes.",
        "Rain falls.",
        "One rabbit eats grass.",
        "Snow falls.",
        "The rabbit hides.",
    ],
    "road.mp4": ["A red car waits.", "A rabbit crosses asphalt.", "Nobody comes."],
}


@pytest.fixture
def index(make_library: Callable[..., Store]) -> Index:
    return Index.load(make_library(FILMS))


class Counting(HashTextEmbedder):
    """Remembers every text that it embeds."""

    def __init__(self) -> None:
        super().__init__(2048)
        self.texts: list[str] = []

    def embed_texts(self, texts: Sequence[str]) -> Vectors:
        self.texts.extend(texts)
        return super().embed_texts(texts)


OPTIONS = ("eats grass", "hides in the snow")
LONG_OPTIONS = (
    "one rabbit eats grass on a hill all day",
    "the rabbit hides from a fox in the snow",
)


@pytest.mark.parametrize("options", [(), OPTIONS, LONG_OPTIONS], ids=["open", "short", "long"])
@pytest.mark.parametrize("answerer", ["evidence", "llm", "combined"])
@pytest.mark.parametrize(
    "question", ["What does one rabbit eat?", "What happens after rain falls?"]
)
def test_a_question_embeds_each_text_once(
    question: str, answerer: Any, options: Sequence[str], index: Index
) -> None:
    embedder = Counting()
    answerability = Answerability(embedder)
    config = AskConfig(min_fit=-1, min_support=0.5, answerer=answerer)
    writer = ScriptedLanguageModel(lambda system, user: "One rabbit eats grass. It flies. Yes.")

    def ask(text: str) -> Answer:
        return answer(
            Question.parse(text, options=options),
            index=index,
            embedder=embedder,
            config=config,
            search=SearchConfig(),
            writer=writer,
            make_chooser=lambda once: make_chooser(answerer, once, writer),
            answerability=answerability,
        )

    ask("Where is the car?")  # embeds the everyday sentences, once for all questions
    embedder.texts.clear()
    ask(question)
    assert len(embedder.texts) == len(set(embedder.texts)) > 0
    assert not set(embedder.texts) & set(everyday_sentences())


def test_an_open_question_embeds_itself_its_statement_and_the_passages(index: Index) -> None:
    embedder = Counting()
    answerability = Answerability(embedder)
    for question in ("Where is the car?", "What does one rabbit eat?"):
        embedder.texts.clear()
        answer(
            Question.parse(question),
            index=index,
            embedder=embedder,
            config=AskConfig(min_fit=-1),
            search=SearchConfig(),
            answerability=answerability,
        )
    passages = [text for chapters in FILMS.values() for text in chapters]
    own = ["What does one rabbit eat?", "one rabbit eat"]
    assert sorted(embedder.texts) == sorted([*own, *passages])


def test_a_text_embedded_before_gets_the_same_row_in_any_company() -> None:
    embedder = Counting()
    once = OnceEmbedder(embedder)
    first = once.embed_texts(["a", "b", "a"])
    again = once.embed_texts(["c", "b"])
    assert embedder.texts == ["a", "b", "c"]
    assert np.array_equal(first[0], first[2])
    assert np.array_equal(again[1], first[1])
    assert once.embed_texts([]).shape == (0, 2048)
    assert once.identity == embedder.identity


def test_stored_vectors_of_sentences_are_not_embedded_again(
    make_library: Callable[..., Store], embedder: HashTextEmbedder
) -> None:
    texts = ["A fox sleeps. It dreams.", "Rain falls."]
    store = make_library({"a.mp4": texts})
    (video,) = store.videos()
    sentences = sentences_of(texts[0])
    with store.build_lock():
        for item, of in ((0, digest(sentences)), (1, digest(["Snow falls."]))):
            rows = embedder.embed_texts(sentences_of(texts[item]))
            store.put(
                video.video_id, SENTENCES, item, fingerprint="f", payload={"of": of}, vectors=rows
            )
    index = Index.load(store)
    asked: list[str] = []

    class Watched(HashTextEmbedder):
        def embed_texts(self, texts: Sequence[str]) -> Vectors:
            asked.extend(texts)
            return super().embed_texts(texts)

    found = evidence_of(index, OnceEmbedder(Watched(embedder.num_dims)), kept_chapters(index))
    assert asked == ["Rain falls."]  # whose stored vectors are those of another sentence
    wanted = embedder.embed_texts([*sentences, "Rain falls."])
    assert np.allclose(found.vectors, wanted, atol=1e-6)
