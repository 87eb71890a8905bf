"""FDVS as a model of lmms-eval, whose two base modules are stood in for: it is not installed."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

PROMPT = "What does C do?\nA. She sleeps.\nB. She cooks.\nC. She runs.\nAnswer with the letter."


@dataclass(frozen=True)
class Manifest:
    """The fields of lmms-eval's ModelManifest that are given."""

    model_id: str
    simple_class_path: str


@dataclass
class FakeLibrary:
    """Remembers what it is given; the second option is always right, bad.mp4 cannot be read."""

    built: list[Path] = field(default_factory=list)
    asked: list[tuple[str, str, tuple[str, ...]]] = field(default_factory=list)

    def build(self, paths: list[Path]) -> SimpleNamespace:
        self.built += paths
        is_bad = paths[0].name == "bad.mp4"
        row = SimpleNamespace(video_id=None if is_bad else f"id of {paths[0].name}", reason="bytes")
        return SimpleNamespace(rows=(row,))

    def ask(self, question: str, *, video: str, options: tuple[str, ...]) -> SimpleNamespace:
        self.asked.append((question, video, options))
        return SimpleNamespace(text="She cooks.", chosen=1 if options else None)


@pytest.fixture
def plugin(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Import the plugin with stand-ins for the two modules of lmms-eval that it uses."""

    class Lmms:
        def __init__(self) -> None:
            self.task_dict: dict[str, Any] = {}

    for name, members in {
        "lmms_eval": {}, "lmms_eval.api": {}, "lmms_eval.api.model": {"lmms": Lmms},
        "lmms_eval.models": {}, "lmms_eval.models.registry_v2": {"ModelManifest": Manifest},
    }.items():  # fmt: skip
        module = ModuleType(name)
        vars(module).update(members)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.delitem(sys.modules, "fdvs.pipelines.evaluation.lmms_eval", raising=False)
    from fdvs.pipelines.evaluation import lmms_eval as lmms_eval_plugin

    yield lmms_eval_plugin
    sys.modules.pop("fdvs.pipelines.evaluation.lmms_eval", None)


@pytest.fixture
def model(plugin: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    library = FakeLibrary()
    monkeypatch.setattr(plugin.Library, "open", lambda folder, preset, change: library)
    made = plugin.FdvsModel(library="somewhere", preset="offline", batch_size=1, device="cpu")
    made.library_given = library
    made.task_dict = {"task": {"test": [{"file": "one.mp4"}, {"file": "bad.mp4"}]}}
    return made


def request(text: str, place: int = 0, visuals: int = 1) -> SimpleNamespace:
    def files(doc: dict[str, str]) -> list[str]:
        return [doc["file"]] * visuals

    return SimpleNamespace(args=(text, {}, files, place, "task", "test"))


def test_the_manifest_names_a_class_that_exists(plugin: Any) -> None:
    module, _, name = plugin.MANIFEST.simple_class_path.rpartition(".")
    assert module == plugin.__name__
    assert hasattr(plugin, name)


def test_options_are_answered_by_a_letter(model: Any) -> None:
    assert model.generate_until([request(PROMPT)]) == ["B"]
    asked = model.library_given.asked[0]
    options = ("She sleeps.", "She cooks.", "She runs.")
    assert asked == ("What does C do?", "id of one.mp4", options)


def test_open_questions_are_answered_in_words_and_a_video_is_built_once(model: Any) -> None:
    answers = model.generate_until([request("What does C do?"), request("Why?")])
    assert answers == ["She cooks."] * 2
    assert [path.name for path in model.library_given.built] == ["one.mp4"]


def test_a_video_that_cannot_be_read_is_an_error_with_its_reason(model: Any) -> None:
    with pytest.raises(ValueError, match=r"bad\.mp4 cannot be read: bytes"):
        model.generate_until([request(PROMPT, place=1)])


def test_a_question_needs_one_video(model: Any) -> None:
    with pytest.raises(ValueError, match="2 video files"):
        model.generate_until([request(PROMPT, visuals=2)])


@pytest.mark.parametrize("method", ["loglikelihood", "generate_until_multi_round"])
def test_other_kinds_of_tasks_are_refused(model: Any, method: str) -> None:
    with pytest.raises(NotImplementedError, match="task"):
        getattr(model, method)([])


def test_an_unknown_argument_is_refused(plugin: Any) -> None:
    with pytest.raises(ValueError, match=r"nothing.*allowed"):
        plugin.FdvsModel(nothing=1)


@pytest.mark.parametrize(
    "text", ["Why?\nA. One.", "Why?\nB. Two.\nC. Three.", "Why?\nA. One.\nC. Three.", "A"]
)
def test_letters_with_a_gap_are_part_of_the_question(plugin: Any, text: str) -> None:
    assert plugin.question_and_options(text) == (text, ())
