"""`Library.ask` on a built library: open questions, options, a second look, a cache on disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fdvs.answers.choice.by_evidence import EvidenceChooser
from fdvs.answers.choice.chooser import Choice
from fdvs.answers.evidence import Evidence, evidence_of, kept_chapters
from fdvs.answers.question import Question
from fdvs.config import AskConfig, Config
from fdvs.errors import ModelUnavailable, NotFound
from fdvs.models.scripted import ScriptedLanguageModel
from fdvs.pipelines.ask.asker import Asker
from fdvs.pipelines.library import Library
from fdvs.pipelines.model_set import ModelSet
from fdvs.pipelines.results import answer_json
from fdvs.search.index import Index
from fdvs.store.store import Store
from fdvs.types import Answer, AskTiming, ClipView

ASK = AskConfig(min_fit=-1, min_choice_fit=-1, min_support=0.5, answerer="llm")
GREEN = "A wall painted green fills the picture."


def look(clips: Sequence[ClipView], question: str) -> list[str]:
    return [f"{len(view.frames)} frames: {question}" for view in clips]


class FirstWord:
    """A Chooser that takes the option that shares most words with the passages."""

    backend = "scripted"

    def choose(self, question: Question, evidence: Evidence) -> Choice:
        options = question.options
        texts = " ".join(p.text.lower() for p in evidence.passages)
        scores = tuple(float(texts.count(option.lower())) for option in options)
        chosen = max(range(len(options)), key=lambda i: scores[i])
        carrying = [p for p in evidence.passages if options[chosen].lower() in p.text.lower()]
        return Choice(
            scores=scores,
            chosen=chosen,
            evidence=tuple(carrying),
            backend=self.backend,
            parts={"words": scores},
        )


def index_of(library: Library) -> Index:
    return Index.load(Store.open(library.path, create=False))


@pytest.fixture
def film(tmp_path: Path, make_film: Any) -> Path:
    path: Path = make_film(tmp_path / "a.mp4", [("red", 3), ("green", 3), ("blue", 3)])
    return path


@pytest.fixture
def models(models: dict[str, Any]) -> dict[str, Any]:
    models["captioner"].look = look
    models["llm"] = ScriptedLanguageModel(lambda system, user: f"{GREEN} It sings.")
    return models


@pytest.fixture
def library(tmp_path: Path, film: Path, models: dict[str, Any]) -> Any:
    with Library.open(tmp_path / "l", config=Config(ask=ASK), models=models) as library:
        library.build([film])
        yield library


def test_an_answer_cites_the_clip_and_leaves_the_rest_out(library: Library) -> None:
    found = library.ask("Which wall is green?", video="a.mp4")
    assert found.text == f"{GREEN} [a.mp4 @ 0:03-0:06]"
    assert found.said == GREEN
    assert [s.text for s in found.removed] == ["It sings."]
    assert found.timing.story == "read"


def test_without_a_writer_the_evidence_is_quoted(library: Library) -> None:
    found = library.ask("Which wall is green?", writer=None)
    assert f"“{GREEN}” [a.mp4 @ 0:03-0:06]" in found.text


def test_an_option_is_chosen_with_its_scores_evidence_and_citation(library: Library) -> None:
    found = library.ask(
        "Which colour has the wall?", options=["green", "pink"], chooser=FirstWord()
    )
    assert found.chosen == 0
    assert [(o.text, o.score, o.parts) for o in found.options] == [
        ("green", 1.0, {"words": 1.0}),
        ("pink", 0.0, {"words": 0.0}),
    ]
    assert found.text == "Green. [a.mp4 @ 0:03-0:06]"
    assert [m.start_s for m in found.evidence] == [3.0]
    assert not found.refused


@pytest.fixture
def asking(library: Library, models: dict[str, Any]) -> Any:
    """Return a function that asks the library with other settings."""

    def ask(question: str, *, settings: AskConfig, **more: Any) -> Answer:
        config = Config(ask=settings)
        with Library.open(library.path, config=config, models=models) as opened:
            return opened.ask(question, **more)

    return ask


def test_an_option_that_fits_nothing_is_refused_but_named(asking: Any) -> None:
    settings = replace(ASK, min_choice_fit=1.0)
    options = ["green", "pink"]
    found = asking("Who wins?", settings=settings, options=options, chooser=FirstWord())
    assert found.refused
    assert found.chosen == 0
    assert "The nearest option: Green." in found.text
    assert found.said == ""


def test_an_empty_library_cannot_choose(tmp_path: Path, models: dict[str, Any]) -> None:
    with (
        Library.open(tmp_path / "empty", config=Config(ask=ASK), models=models) as library,
        pytest.raises(NotFound, match="fdvs build"),
    ):
        library.ask("Which?", options=["a", "b"], chooser=FirstWord())


def test_a_second_look_shows_the_cited_clips_frames(film: Path, asking: Any) -> None:
    settings = replace(ASK, second_look=True)
    found = asking("Which wall is green?", settings=settings)
    assert [reply.text for reply in found.second_look] == ["8 frames: Which wall is green?"]
    assert found.second_look[0].citations == found.sentences[0].citations
    film.unlink()
    again = asking("Which wall is green?", settings=settings)
    assert again.second_look == ()
    assert "no second look" in again.notes[-1]


def test_a_captioner_that_cannot_be_had_leaves_the_answer(library: Library, film: Path) -> None:
    class WithoutCaptioner(ModelSet):
        def describer(self, key: str) -> Any:
            raise ModelUnavailable("no weights here")

    plain = library.ask("Which wall is green?")
    asker = Asker(library.config, WithoutCaptioner(library.config), library.path)
    found = asker.look_again(plain, lambda video_id: film)
    assert found == replace(plain, notes=(*plain.notes, "no second look: no weights here"))


def test_what_every_other_video_speaks_of_loses_to_what_only_this_one_does(
    tmp_path: Path, models: dict[str, Any], make_film: Any
) -> None:
    films = [make_film(tmp_path / "a.mp4", [("blue", 3), ("green", 3)])]
    films += [
        make_film(tmp_path / f"{name}.mp4", [("blue", seconds)])
        for name, seconds in (("b", 4), ("c", 5), ("d", 6))
    ]
    config = Config(ask=replace(ASK, answerer="evidence"))
    question, options = "Which colour has the wall?", ["blue", "green"]

    def ask(library: Library) -> Any:
        return library.ask(question, options=options, video="a.mp4")

    with Library.open(tmp_path / "l", config=config, models=models) as library:
        library.build([films[0]])
        alone = ask(library)
        index = index_of(library)
        told = evidence_of(index, models["text_embedder"], kept_chapters(index))
        plain = EvidenceChooser(models["text_embedder"]).choose(
            Question.of(question, options), told
        )
        assert [one.score for one in alone.options] == list(plain.scores)
        assert (alone.chosen, alone.num_background) == (0, 0)
        library.build(films)
        among = ask(library)
        assert (among.chosen, answer_json(among)["num_background"]) == (1, 3)
        assert ask(library).options == among.options
        for name in ("b.mp4", "c.mp4", "d.mp4"):
            library.remove(name)
        assert replace(ask(library), seconds=0, timing=AskTiming()) == replace(
            alone, seconds=0, timing=AskTiming()
        )


def test_what_other_videos_say_is_read_once_until_the_library_changes(library: Library) -> None:
    asker = Asker(library.config, ModelSet(library.config), library.path)
    first, second = index_of(library), index_of(library)
    assert asker.background(first) is asker.background(first)
    known = asker.background(first)
    assert asker.background(second) is not known


def test_an_own_chooser_and_a_question_to_all_videos_are_weighed_against_none(
    tmp_path: Path, make_film: Any, library: Library, asking: Any
) -> None:
    library.build([make_film(tmp_path / "b.mp4", [("blue", 4)])])
    asked = {"question": "Which colour?", "options": ["blue", "red"]}
    assert library.ask(**asked, video="a.mp4", chooser=FirstWord()).num_background == 0
    settings = replace(ASK, answerer="evidence")
    assert asking(**asked, settings=settings, video="a.mp4").num_background == 1
    assert asking(**asked, settings=settings).num_background == 0
