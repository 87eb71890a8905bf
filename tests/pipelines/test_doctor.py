"""The doctor: facts about this machine, presets and models, and what people see of them."""

from __future__ import annotations

import importlib.util
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fdvs.config import Config, ModelsConfig, PerceiveConfig
from fdvs.errors import LibraryMissing, ModelUnavailable
from fdvs.models.cards import Card, card_names, load_card
from fdvs.models.weights import fetch as fetch_module
from fdvs.pipelines import doctor, requirements
from fdvs.pipelines.cli import main as cli
from fdvs.pipelines.cli import options
from fdvs.pipelines.model_set import model_specs
from fdvs.pipelines.presets import PRESETS


class NoLibrary:
    error: Exception = LibraryMissing("no library")

    def open(self, path: Path, **_: Any) -> Any:
        raise self.error


@pytest.fixture(autouse=True)
def _no_library(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(options, "library_class", NoLibrary)
    monkeypatch.delenv("FDVS_LIBRARY", raising=False)
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level


@pytest.fixture
def empty_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FDVS_CACHE", str(tmp_path))


def hide(monkeypatch: pytest.MonkeyPatch, *modules: str) -> None:
    """Make packages look as if they were not installed."""
    real = importlib.util.find_spec

    def find_spec(name: str, package: str | None = None) -> Any:
        return None if name in modules else real(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", find_spec)


def test_every_backend_of_the_factory_is_known_to_the_doctor() -> None:
    from fdvs.models import factory

    known = {(one.kind, one.name) for one in requirements.REQUIREMENTS}
    for role, registry in {
        "image_embedder": factory.IMAGE_EMBEDDERS,
        "text_embedder": factory.TEXT_EMBEDDERS,
        "captioner": factory.CAPTIONERS,
        "source": factory.SOURCES,
        "llm": factory.LANGUAGE_MODELS,
    }.items():
        found = {name for kind, name in known if kind == role}
        of_one_card = found & set(card_names()) - set(registry.names())
        assert found - of_one_card == set(registry.names())


def test_every_reader_and_cut_of_the_settings_is_known_to_the_doctor() -> None:
    from typing import get_args

    from fdvs.config import CutMethod, ReaderName

    known = {(one.kind, one.name) for one in requirements.REQUIREMENTS}
    assert {name for kind, name in known if kind == "reader"} == set(get_args(ReaderName))
    assert {name for kind, name in known if kind == "cut"} == set(get_args(CutMethod))


def test_every_extra_that_the_doctor_names_exists() -> None:
    import importlib.metadata

    extras = set(importlib.metadata.metadata("fdvs").get_all("Provides-Extra") or [])
    assert {one.extra for one in requirements.REQUIREMENTS if one.extra} <= extras


def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    hide(monkeypatch, "scenedetect")
    one = next(one for one in requirements.REQUIREMENTS if one.name == "scenes")
    found = requirements.check_backend(one)
    assert not found["runs"]
    assert found["reason"] == (
        "not installed: scenedetect; run in the FDVS checkout: scripts/install --with scenes"
    )


def test_a_module_without_a_spec_is_not_here(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> Any:
        raise ValueError(f"{name}.__spec__ is None")

    monkeypatch.setattr(importlib.util, "find_spec", broken)
    assert not requirements.is_installed("av")


def test_packages_are_those_that_are_declared_with_their_versions() -> None:
    import numpy

    found = {
        (package["name"], package["extra"]): package["version"] for package in doctor.packages()
    }
    assert found["numpy", ""] == numpy.__version__
    assert ("peft", "finetune") in found
    assert any(extra == "gpu" for _, extra in found)


def test_a_preset_without_weights_says_how_to_fetch_them(empty_cache: None) -> None:
    state = doctor.preset_state("laptop", PRESETS["laptop"]())
    assert not state["runs"]
    assert len(state["problems"]) == 1
    assert "fdvs models fetch openclip-vit-b-32 smolvlm2-500m-video" in state["problems"][0]
    assert "minilm-l6" not in state["untested"]
    assert "openclip-vit-b-32" in state["untested"]


def test_a_preset_names_its_stand_ins() -> None:
    state = doctor.preset_state("offline", PRESETS["offline"]())
    assert state["stand_ins"] == ["efficientnet-lite0", "tags"]
    assert state["untested"] == []
    assert doctor.preset_state("gpu", PRESETS["gpu"]())["stand_ins"] == []


def test_a_preset_whose_packages_are_missing_cannot_run(monkeypatch: pytest.MonkeyPatch) -> None:
    hide(monkeypatch, "onnxruntime")
    problems = doctor.preset_state("offline", PRESETS["offline"]())["problems"]
    for name in ("efficientnet-lite0", "minilm-l6", "tags"):
        assert any(text.startswith(f"{name}: not installed: onnxruntime") for text in problems)


def test_the_packages_of_a_single_card_are_looked_for_before_any_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hide(monkeypatch, "num2words", "open_clip")
    problems = doctor.preset_state("laptop", PRESETS["laptop"]())["problems"]
    found = "\n".join(problems)
    assert "smolvlm2-500m-video: not installed: num2words" in found
    assert "openclip-vit-b-32: not installed: open_clip" in found
    assert found.count("scripts/install --with laptop") == 2


def test_a_preset_that_quotes_needs_no_language_model(monkeypatch: pytest.MonkeyPatch) -> None:
    hide(monkeypatch, "torch", "transformers", "sentence_transformers", "accelerate", "timm")
    assert doctor.preset_state("offline", PRESETS["offline"]())["runs"]
    assert not doctor.preset_state("laptop", PRESETS["laptop"]())["runs"]


def test_a_model_that_does_not_exist_is_a_problem_not_a_crash() -> None:
    config = Config(models=ModelsConfig(llm="no-such-model"))
    state = doctor.preset_state("offline", config)
    assert not state["runs"]
    assert any("no-such-model" in text for text in state["problems"])


def test_sources_count_as_models_of_a_preset() -> None:
    config = Config(perceive=PerceiveConfig(sources=("subtitles",)))
    assert ("source", "subtitles") in model_specs(config).values()
    assert requirements.has_weights(load_card("subtitles"))


def test_a_local_folder_is_weights_enough(tmp_path: Path) -> None:
    card = Card(name="own", role="llm", backend="transformers", target=str(tmp_path))
    assert requirements.has_weights(card)
    gone = Card(name="own", role="llm", backend="transformers", target=str(tmp_path / "gone"))
    assert not requirements.has_weights(gone)


def test_the_state_of_a_library_is_told(tmp_path: Path) -> None:
    assert doctor.library_state(tmp_path) == f"{tmp_path}: no library yet"
    (tmp_path / "library.sqlite").write_bytes(b"no database" * 100)
    assert "is damaged or not a library" in doctor.library_state(tmp_path)


def test_ffmpeg_is_found_in_its_wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Path(doctor.ffmpeg().rpartition(" (")[0]).is_file()
    import imageio_ffmpeg

    def gone() -> str:
        raise RuntimeError("No ffmpeg exe\ncould be found")

    monkeypatch.setattr(imageio_ffmpeg, "get_ffmpeg_exe", gone)
    assert doctor.ffmpeg().startswith(
        "none: No ffmpeg exe could be found; run in the FDVS checkout: scripts/install"
    )


def test_devices_end_with_what_torch_can_use() -> None:
    import torch

    found = doctor.devices()
    assert found[-1].startswith(f"torch {torch.__version__}")
    assert "taken by device auto" in found[0]


def test_the_doctor_shows_all_and_exits_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["doctor"]) == 0
    out = capsys.readouterr().out
    for text in ("reader pyav", "cut scenes", "attention dga reference", "Presets", "no library"):
        assert text in out, text
    assert out.count("real weights never run by the project") == 3


def test_the_doctor_exits_1_where_the_asked_preset_cannot_run(
    empty_cache: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["doctor", "--preset", "gpu"]) == 1
    assert "these settings" in capsys.readouterr().out
    assert cli.run(["doctor", "--preset", "gpu", "--json"]) == 1
    value = json.loads(capsys.readouterr().out)
    assert value["settings"]["runs"] is False
    assert {preset["name"] for preset in value["health"]["presets"]} == set(PRESETS)


def test_an_unknown_preset_exits_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["doctor", "--preset", "ofline"]) == 2
    assert "Did you mean offline?" in capsys.readouterr().err


def test_a_config_file_is_laid_over_the_preset(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = tmp_path / "own.yaml"
    settings.write_text("models: {llm: qwen2.5-1.5b-instruct}\nask: {answerer: combined}\n")
    assert cli.run(["models", "list", "--config", str(settings), "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)["models"]}
    assert rows["qwen2.5-1.5b-instruct"]["used"]
    assert rows["tags"]["used"]
    assert not rows["smollm2-135m"]["used"]


def test_models_list_shows_every_card_with_its_marks(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["models", "list"]) == 0
    out = capsys.readouterr().out
    assert "tags *" in out
    assert "captioner (stand-in)" in out
    assert "never" in out
    assert cli.run(["models", "list", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["models"]
    assert [row["name"] for row in rows] == card_names()


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Fetch nothing; remember what was asked for."""
    calls: list[tuple[Any, ...]] = []

    def fetch(preset: str | None = None, names: Any = (), *, progress: Any) -> list[Any]:
        calls.append((preset, list(names)))
        progress("one: fetching\x1b[2J")
        if "gone" in names:
            raise ModelUnavailable("model 'gone' cannot be had")
        model = fetch_module.FetchedModel(
            name="one", status="fetched", revision="0.1.0", num_bytes=2_500_000
        )
        return [model, fetch_module.FetchedModel(name="two", status="nothing to fetch")]

    monkeypatch.setattr(fetch_module, "fetch", fetch)
    return calls


def test_models_fetch_says_what_it_did(
    fetched: list[tuple[Any, ...]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["models", "fetch", "one", "two"]) == 0
    captured = capsys.readouterr()
    assert captured.out == "one: fetched at 0.1.0, 2.5 MB\ntwo: nothing to fetch\n"
    assert captured.err == "one: fetching\n"
    assert fetched == [(None, ["one", "two"])]


def test_models_fetch_takes_a_preset_or_the_settings(
    fetched: list[tuple[Any, ...]], tmp_path: Path
) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("perceive:\n  captioner: smolvlm2-500m-video\n")
    assert cli.run(["models", "fetch", "--preset", "laptop"]) == 0
    assert cli.run(["models", "fetch", "--config", str(own), "--json"]) == 0
    assert cli.run(["models", "fetch"]) == 0
    assert fetched[0][0] is None
    assert fetched[0][1] == [
        "openclip-vit-b-32", "smolvlm2-500m-video", "subtitles", "speech-base", "screen-text",
        "minilm-l6", "qwen2.5-1.5b-instruct",
    ]  # fmt: skip
    assert "smolvlm2-500m-video" in fetched[1][1]
    assert "tags" in fetched[2][1]


def test_a_model_that_cannot_be_had_exits_2(
    fetched: list[tuple[Any, ...]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["models", "fetch", "gone", "--json"]) == 2
    assert "cannot be had" in json.loads(capsys.readouterr().out)["error"]


def test_models_alone_shows_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["models"]) == 2
    captured = capsys.readouterr()
    assert "fetch" in captured.out + captured.err


def test_a_damaged_library_is_repaired_and_its_old_file_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "library"
    assert cli.run(["doctor", "--repair", "-l", str(place)]) == 2
    assert "nothing to repair" in capsys.readouterr().err
    place.mkdir()
    (place / "library.sqlite").write_bytes(b"half a copy of something")
    assert cli.run(["doctor", "--repair", "-l", str(place), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["num_videos"] == told["num_rows"] == 0
    assert Path(told["old_file"]).read_bytes() == b"half a copy of something"
    assert cli.run(["doctor", "--repair", "-l", str(place)]) == 0
    assert "run fdvs build" in capsys.readouterr().out
