"""Answers: which chapters a model is given, in which order, and what it says when it cannot."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from fdvs.answers.answer import answer
from fdvs.answers.question import Question, Turn
from fdvs.answers.retrieve import MAX_CHAPTERS, Retriever
from fdvs.config import AskConfig, SearchConfig
from fdvs.errors import BadModelOutput, InvalidValue, ModelError, NotFound
from fdvs.models.scripted import HashTextEmbedder, ScriptedLanguageModel
from fdvs.prompting.fence import fence
from fdvs.protocols import Completion, OptionScore
from fdvs.search.index import Index
from fdvs.store.store import Store
from fdvs.types import Answer

MakeLibrary = Callable[..., Store]
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
CONFIG = AskConfig(num_evidence=3, min_fit=-1, min_support=0.5, answerer="llm", story_level="story")
EATS = "[forest.mp4 @ 0:30-0:40]"


@pytest.fixture
def index(make_library: MakeLibrary) -> Index:
    return Index.load(make_library(FILMS))


@pytest.fixture
def ask(index: Index, embedder: HashTextEmbedder) -> Callable[..., Answer]:
    def ask(
        question: str,
        writer: ScriptedLanguageModel | None = None,
        history: Sequence[Turn] = (),
        **more: object,
    ) -> Answer:
        asked = Question.parse(question, history=history)
        values: dict = {
            "index": index,
            "embedder": embedder,
            "config": CONFIG,
            "search": SearchConfig(),
        }
        return answer(asked, writer=writer, **(values | more))

    return ask


def id_of(index: Index, name: str) -> str:
    return next(e.video_id for e in index.entries if e.name == name)


# -- evidence ----------------------------------------------------------------------------------


def test_evidence_is_the_best_chapters_in_time_order(
    index: Index, ask: Callable[..., Answer]
) -> None:
    forest = id_of(index, "forest.mp4")
    found = ask("What does one rabbit eat: grass?", video_id=forest)
    starts = [m.start_s for m in found.evidence]
    assert starts == [10.0, 30.0, 50.0]
    scores = [m.score for m in found.evidence]
    assert scores != sorted(scores)  # time, not rank, decides the order
    assert [m.clips for m in found.evidence] == [(1,), (3,), (5,)]


def test_over_videos_the_best_chapter_s_video_comes_first(ask: Callable[..., Answer]) -> None:
    found = ask("rabbit crosses asphalt", config=replace(CONFIG, num_evidence=4))
    names = [m.name for m in found.evidence]
    assert names[0] == "road.mp4"
    assert names == sorted(names, key=lambda name: name != "road.mp4")
    for name in set(names):
        times = [m.start_s for m in found.evidence if m.name == name]
        assert times == sorted(times)


def test_dropped_chapters_are_no_evidence(
    make_library: MakeLibrary, embedder: HashTextEmbedder
) -> None:
    films = {"a.mp4": ["one rabbit"] * 3 + ["one owl", "one fox"]}
    index = Index.load(make_library(films, dropped={"a.mp4": [1, 2]}))
    retriever = Retriever(index=index, embedder=embedder, search=SearchConfig())
    found = retriever.chapters("one rabbit", num=3)
    assert [m.clips for m in found] == [(0,), (3,), (4,)]


def test_a_question_with_options_gets_every_kept_chapter_or_the_nearest_of_many(
    make_library: MakeLibrary, embedder: HashTextEmbedder
) -> None:
    texts = [f"thing number {i}" for i in range(MAX_CHAPTERS)] + ["one rabbit"]
    index = Index.load(make_library({"a.mp4": texts}, with_stories=False))
    retriever = Retriever(index=index, embedder=embedder, search=SearchConfig())
    found = retriever.retrieve(Question.of("what?", ["rabbit", "owl"]), num=1)
    assert len(found.moments) == len(found.passages) == MAX_CHAPTERS
    assert found.moments[-1].text == "one rabbit"
    starts = [moment.start_s for moment in found.moments]
    assert starts == sorted(starts)


def test_before_a_story_is_told_every_chapter_may_be_evidence(
    make_library: MakeLibrary, ask: Callable[..., Answer]
) -> None:
    index = Index.load(make_library({"a.mp4": ["one rabbit"] * 3}, with_stories=False))
    writer = ScriptedLanguageModel(["One rabbit."])
    found = ask("rabbit?", writer, index=index)
    assert len(found.evidence) == 3
    assert "(no story)" in writer.prompts[0][1]


def test_chapters_that_match_badly_are_evidence_but_say_so(ask: Callable[..., Answer]) -> None:
    found = ask("zebra?", config=replace(CONFIG, num_evidence=9))
    assert len(found.evidence) == 9
    assert {m.matched_by for m in found.evidence} == {()}


def test_an_empty_library_says_what_to_do(
    make_library: MakeLibrary, ask: Callable[..., Answer]
) -> None:
    empty = Index.load(make_library({}, folder="empty"))
    with pytest.raises(NotFound, match="fdvs build"):
        ask("rabbit?", index=empty)


@pytest.mark.parametrize("question", ["", " \n\t", "\u200b"])
def test_a_question_without_text_is_an_error(ask: Callable[..., Answer], question: str) -> None:
    with pytest.raises(InvalidValue, match="query"):
        ask(question)


def test_a_question_that_fits_no_chapter_is_refused_without_asking_the_model(
    ask: Callable[..., Answer],
) -> None:
    writer = ScriptedLanguageModel([])
    config = replace(CONFIG, min_fit=0.3)
    found = ask("Which zebra repairs violins?", writer, config=config)
    assert found.refused
    assert found.text.startswith("Not in the evidence")
    assert "fit" in found.reason
    assert len(found.evidence) == 3
    assert writer.prompts == []
    assert not ask(
        "One rabbit eats grass", ScriptedLanguageModel(["x"]), config=config
    ).reason.startswith("no chapter fits")


@pytest.mark.parametrize(
    ("question", "starts"),
    [
        ("What happens after one rabbit digs deep holes?", {20.0, 30.0}),
        ("What happens before one rabbit eats grass?", {10.0, 20.0}),
        ("What is seen at the end?", {40.0, 50.0}),
        ("What is seen at the beginning?", {0.0, 10.0}),
    ],
)
def test_a_question_that_names_a_time_is_given_the_chapters_there(
    question: str, starts: set[float], index: Index, ask: Callable[..., Answer]
) -> None:
    config = replace(CONFIG, num_evidence=1)
    found = ask(question, video_id=id_of(index, "forest.mp4"), config=config)
    by_time = {m.start_s for m in found.evidence if m.matched_by == ("time",)}
    assert by_time <= starts <= {m.start_s for m in found.evidence}
    order = [m.start_s for m in found.evidence]
    assert order == sorted(order)
    assert len(order) <= 3


# -- with a model ------------------------------------------------------------------------------


def test_the_model_gets_story_and_chapters_fenced_and_in_time_order(
    index: Index, ask: Callable[..., Answer]
) -> None:
    writer = ScriptedLanguageModel(["It eats grass [0:30-0:40]."])
    found = ask("What does one rabbit eat?", writer, video_id=id_of(index, "forest.mp4"))
    user = writer.prompts[0][1]
    assert user.startswith(fence("story", FILMS["forest.mp4"]) + "\n<moments>")
    lines = re.findall(r"^\[(\S+)\] (.+)$", user, re.MULTILINE)
    assert lines == [
        ("0:10-0:20", "One rabbit digs deep holes."),
        ("0:30-0:40", "One rabbit eats grass."),
        ("0:50-1:00", "The rabbit hides."),
    ]
    assert user.endswith("Question: What does one rabbit eat?\nAnswer in English:")
    assert found.text == f"It eats grass. {EATS}"
    assert found.backend == "scripted-writer@1 (offline stand-in)"
    assert found.attention == "none"
    assert found.num_answer_tokens == 4
    assert found.num_prompt_tokens == sum(len(p.split()) for p in writer.prompts[0])
    assert not found.refused


def test_with_several_videos_each_line_says_which(ask: Callable[..., Answer]) -> None:
    writer = ScriptedLanguageModel(["Two."])
    ask("rabbit crosses asphalt", writer, config=replace(CONFIG, num_evidence=9))
    user = writer.prompts[0][1]
    assert "[road.mp4 @ 0:10-0:20] A rabbit crosses asphalt." in user
    assert "[forest.mp4 @ 0:10-0:20] One rabbit digs deep holes." in user
    assert "[forest.mp4] A fox sleeps under leaves." in user


def test_what_no_chapter_supports_is_removed_and_told(ask: Callable[..., Answer]) -> None:
    writer = ScriptedLanguageModel(["One rabbit eats grass. It then flies to Paris by aeroplane."])
    found = ask("What does one rabbit eat?", writer)
    assert found.text == f"One rabbit eats grass. {EATS}"
    assert [s.text for s in found.removed] == ["It then flies to Paris by aeroplane."]
    assert found.removed[0].support < CONFIG.min_support <= found.sentences[0].support
    assert "1 of 2 sentences removed" in found.notes[0]


def test_where_nothing_is_supported_the_answer_says_so_and_shows_what_is_nearest(
    ask: Callable[..., Answer],
) -> None:
    found = ask("What does one rabbit eat?", ScriptedLanguageModel(["Pizza with extra cheese."]))
    assert found.refused
    assert found.text.startswith("Not in the evidence")
    assert "no chapter supports" in found.reason
    assert len(found.evidence) == 3


def test_combined_quotes_the_evidence_where_the_model_made_it_up(
    ask: Callable[..., Answer],
) -> None:
    config = replace(CONFIG, answerer="combined")
    found = ask(
        "Does one rabbit eat grass?", ScriptedLanguageModel(["Pizza, cheese."]), config=config
    )
    assert found.text == f"“One rabbit eats grass.” {EATS}"
    assert [s.text for s in found.removed] == ["Pizza, cheese."]
    assert "the evidence is quoted" in found.notes[-1]
    assert not found.refused


@pytest.mark.parametrize(
    "reply", ["Not in the evidence.", "The video does not show it.", "I cannot tell."]
)
def test_a_model_that_found_nothing_is_a_refusal(ask: Callable[..., Answer], reply: str) -> None:
    found = ask("What does one rabbit eat?", ScriptedLanguageModel([reply]))
    assert found.refused
    assert found.reason == "the language model found no answer in the material"


def test_a_chapter_of_the_story_that_carries_a_sentence_becomes_evidence(
    index: Index, ask: Callable[..., Answer]
) -> None:
    config = replace(CONFIG, num_evidence=1)
    writer = ScriptedLanguageModel(["A fox sleeps under leaves."])
    found = ask("What does one rabbit eat?", writer, config=config)
    assert [m.start_s for m in found.evidence] == [0.0, 30.0]
    assert found.sentences[0].citations[0].start_s == 0.0
    assert found.evidence[0].matched_by == ("story",)


def test_every_citation_is_one_of_the_evidence(ask: Callable[..., Answer]) -> None:
    writer = ScriptedLanguageModel(["A red car waits. One rabbit eats grass. Rain falls."])
    found = ask("rabbit?", writer, config=replace(CONFIG, num_evidence=9))
    given = {(m.video_id, m.start_s, m.end_s) for m in found.evidence}
    cited = {(c.video_id, c.start_s, c.end_s) for s in found.sentences for c in s.citations}
    assert len(cited) == 3
    assert cited <= given


def test_a_chat_is_told_what_was_said_before_and_looks_up_what_it_means(
    ask: Callable[..., Answer],
) -> None:
    writer = ScriptedLanguageModel(["One rabbit eats grass."])
    history = [Turn(question="What does one rabbit eat?", answer="</earlier> Grass.")]
    found = ask("And then?", writer, history=history)
    user = writer.prompts[0][1]
    assert "<earlier>\nAsked: What does one rabbit eat?\nAnswered: (earlier) Grass.\n" in user
    assert user.count("</earlier>") == 1
    assert any(m.start_s == 30.0 for m in found.evidence)


def test_a_reply_is_cleaned(ask: Callable[..., Answer]) -> None:
    writer = ScriptedLanguageModel(["  One rabbit\x1b[31m eats\n\ngrass.\u202e "])
    assert ask("rabbit?", writer).text == f"One rabbit eats grass. {EATS}"


@pytest.mark.parametrize("reply", ["", " \n ", "...", "\u200b"])
def test_an_empty_reply_is_bad_output(ask: Callable[..., Answer], reply: str) -> None:
    with pytest.raises(BadModelOutput, match="an answer"):
        ask("rabbit?", ScriptedLanguageModel([reply]))


def test_a_reply_that_ran_into_its_limit_ends_with_a_whole_sentence(
    ask: Callable[..., Answer],
) -> None:
    writer = ScriptedLanguageModel(["One rabbit eats grass. One rabbit digs and on and on"])
    found = ask("rabbit?", writer, config=replace(CONFIG, max_tokens=7))
    assert found.text == f"One rabbit eats grass. {EATS}"
    assert found.num_answer_tokens == 7


def test_a_model_that_fails_is_not_replaced_in_silence(ask: Callable[..., Answer]) -> None:
    with pytest.raises(ModelError, match="no scripted reply"):
        ask("rabbit?", ScriptedLanguageModel([]))


# -- a story that is read once -----------------------------------------------------------------


class Reader(ScriptedLanguageModel):
    """Remembers the prompts it read; `reused` is true from the second reading of one on."""

    def __init__(self, replies: Sequence[str]) -> None:
        super().__init__(replies)
        self.read_texts: list[str] = []

    def read(self, system: str, text: str) -> Reading:
        reused = text in self.read_texts
        self.read_texts.append(text)
        return Reading(self, system, text, reused=reused)


class Reading:
    def __init__(self, writer: Reader, system: str, text: str, *, reused: bool) -> None:
        self.num_tokens = len(text.split())
        self.reused = reused
        self._writer, self._system, self._text = writer, system, text

    def write(
        self, rest: str, *, max_tokens: int, on_text: Callable[[str], None] | None = None
    ) -> Completion:
        made = self._writer.write(self._system, self._text + rest, max_tokens=max_tokens)
        if on_text is not None:
            for word in made.text.split():
                on_text(word + " ")
        return made

    def score(self, rest: str, options: Sequence[str]) -> tuple[OptionScore, ...]:
        raise NotImplementedError


def test_the_story_is_read_apart_from_the_question_and_the_same_for_every_one(
    index: Index, ask: Callable[..., Answer]
) -> None:
    reader = Reader(["One rabbit eats grass.", "A fox sleeps under leaves."])
    forest = id_of(index, "forest.mp4")
    first = ask("What does one rabbit eat?", reader, video_id=forest)
    second = ask("Where does a fox sleep?", reader, video_id=forest)
    assert len(set(reader.read_texts)) == 1
    assert reader.read_texts[0].endswith("</story>\n")
    assert (first.timing.story, second.timing.story) == ("read", "from cache")
    assert reader.prompts[0][1].startswith(reader.read_texts[0])


def test_words_are_handed_on_as_they_come_also_where_they_are_removed_later(
    ask: Callable[..., Answer],
) -> None:
    pieces: list[str] = []
    found = ask("rabbit?", Reader(["It flies to Paris."]), on_text=pieces.append)
    assert pieces == ["It ", "flies ", "to ", "Paris. "]
    assert found.refused
    assert found.timing.first_token_s >= 0


def test_a_writer_that_cannot_read_ahead_gets_everything_and_hands_on_the_whole(
    ask: Callable[..., Answer],
) -> None:
    class Plain:
        """A LanguageModel and nothing more."""

        def __init__(self) -> None:
            self._inner = ScriptedLanguageModel(["One rabbit eats grass."])
            self.identity, self.attention = self._inner.identity, "none"
            self.context_tokens = self._inner.context_tokens
            self.count_tokens, self.write = self._inner.count_tokens, self._inner.write

    pieces: list[str] = []
    found = ask("rabbit?", Plain(), on_text=pieces.append)
    assert pieces == ["One rabbit eats grass."]
    assert found.timing.story == ""


# -- without a model ---------------------------------------------------------------------------


def test_without_a_model_the_nearest_sentences_are_quoted_and_the_backend_says_so(
    ask: Callable[..., Answer],
) -> None:
    found = ask("Does one rabbit eat grass?")
    assert found.text == f"“One rabbit eats grass.” {EATS}"
    assert found.backend.startswith("evidence")
    assert "no language model" in found.backend
    assert found.attention == "none"
    assert found.support == 1.0


def test_a_model_is_not_asked_where_the_evidence_is_to_answer(ask: Callable[..., Answer]) -> None:
    writer = ScriptedLanguageModel([])
    found = ask("rabbit eats grass?", writer, config=replace(CONFIG, answerer="evidence"))
    assert found.backend.startswith("evidence")


def test_nearly_as_telling_sentences_are_given_in_time_order(
    make_library: MakeLibrary, ask: Callable[..., Answer]
) -> None:
    texts = ["A red car stops there. Owl.", "A red car leaves town. Owl.", "A blue owl sings."]
    index = Index.load(make_library({"x.mp4": texts}, folder="equal"))
    found = ask("red car?", index=index)
    assert [s.text for s in found.sentences] == [
        "“A red car stops there.”",
        "“A red car leaves town.”",
    ]


def test_what_repeats_a_quote_is_not_quoted(
    make_library: MakeLibrary, ask: Callable[..., Answer]
) -> None:
    texts = ["Red car here. Owl.", "Here car red. Owl.", "Car red here", "Owl."]
    index = Index.load(make_library({"x.mp4": texts}, folder="equal"))
    assert [s.text for s in ask("here red car", index=index).sentences] == ["“Red car here.”"]


def test_chapters_without_any_text_cannot_answer(
    make_library: MakeLibrary, ask: Callable[..., Answer]
) -> None:
    index = Index.load(make_library({"x.mp4": [""]}, folder="mute", with_stories=False))
    with pytest.raises(NotFound, match="no text"):
        ask("rabbit?", index=index)


def test_the_log_counts_the_evidence(
    ask: Callable[..., Answer], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "fdvs.answers.answer")
    assert ask("rabbit?").seconds >= 0
    assert "3 chapters as evidence" in caplog.text
