"""Short names of sources, `auto`, and what is said where a machine lacks one."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from fdvs.config import Config, PerceiveConfig
from fdvs.configfile import config_from_json, config_to_json
from fdvs.errors import InvalidValue, ModelUnavailable, UnknownName
from fdvs.pipelines.library import Library
from fdvs.pipelines.model_set import ModelSet
from fdvs.pipelines.presets import preset
from fdvs.pipelines.sources import (
    card_of,
    change_sources,
    preferred_card,
    resolve_sources,
    without_auto,
)

SPEECH_MODULE = "faster_whisper"


def config_with(*sources: str, language: str = "") -> Config:
    return Config(perceive=PerceiveConfig(sources=sources, language=language))


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A machine without fetched models; call it with the modules that can be imported."""
    monkeypatch.setenv("FDVS_CACHE", str(tmp_path / "cache"))
    real = importlib.util.find_spec

    def install(*modules: str) -> None:
        def found(name: str, package: str | None = None) -> Any:
            if name in (SPEECH_MODULE, "rapidocr_onnxruntime"):
                return real("json") if name in modules else None
            return real(name, package)

        monkeypatch.setattr(importlib.util, "find_spec", found)

    return install


def test_auto_takes_what_can_run_and_names_the_command_for_the_rest(machine: Any) -> None:
    machine("rapidocr_onnxruntime")
    found = resolve_sources(config_with("auto"))
    assert found.config.perceive.sources == ("subtitles", "screen-text")
    (note,) = found.notes
    assert note.startswith("speech was not read: ")
    assert note.endswith("scripts/install --with speech")


def test_a_package_without_its_model_names_what_to_fetch(machine: Any) -> None:
    machine(SPEECH_MODULE, "rapidocr_onnxruntime")
    (note,) = resolve_sources(config_with("auto")).notes
    assert note.endswith("run: fdvs models fetch speech")


def test_what_is_left_out_is_neither_taken_nor_noted(machine: Any) -> None:
    machine("rapidocr_onnxruntime")
    found = resolve_sources(config_with("auto", "-ocr", "-speech"))
    assert (found.config.perceive.sources, found.notes) == (("subtitles",), ())


def test_what_is_named_stays_and_is_an_error_before_any_work(
    machine: Any, tmp_path: Path, models: dict[str, Any]
) -> None:
    machine()
    with pytest.raises(ModelUnavailable, match="scripts/install --with speech"):
        Library.open(tmp_path / "l", config=config_with("speech"), models=models)
    assert not (tmp_path / "l").exists()


def test_old_settings_stay_what_they_were() -> None:
    stored = config_to_json(Config())
    assert "language" not in stored["perceive"]
    assert stored["perceive"]["sources"] == ()
    assert resolve_sources(config_from_json(stored)).config == Config()


def test_a_source_that_a_caller_brings_keeps_its_name() -> None:
    found = resolve_sources(config_with("speech", "words"), own={"source:speech"})
    assert found.config.perceive.sources == ("speech", "words")


def test_sources_are_added_and_left_out() -> None:
    base = preset("offline")
    assert base.perceive.sources == ("auto",)
    more = change_sources(base, add=["speech"], drop=["ocr"], language="de")
    assert more.perceive.sources == ("auto", "speech", "-ocr")
    assert more.perceive.language == "de"
    again = change_sources(more, add=["ocr"])
    assert again.perceive.sources == ("auto", "speech", "ocr")
    assert again.perceive.language == "de"


def test_leaving_out_a_short_name_leaves_out_its_card() -> None:
    named = config_with("subtitles", "screen-text")
    assert change_sources(named, drop=["ocr"]).perceive.sources == ("subtitles",)


def test_an_unknown_source_names_the_known_ones() -> None:
    with pytest.raises(UnknownName, match="Did you mean speech"):
        change_sources(Config(), add=["speach"])


def test_a_language_that_is_no_code_is_refused() -> None:
    with pytest.raises(InvalidValue, match="de or pt-BR"):
        PerceiveConfig(language="German!")


def test_the_language_reaches_the_sources_that_have_one() -> None:
    held = ModelSet(config_with("subtitles", "screen-text", language="de"))
    assert held.card("source:subtitles").options["language"] == "de"
    assert "language" not in held.card("source:screen-text").options
    plain = ModelSet(config_with("subtitles"))
    assert held.fingerprint("source:subtitles") != plain.fingerprint("source:subtitles")


def test_an_evaluation_does_not_depend_on_the_machine() -> None:
    assert without_auto(config_with("auto", "-ocr", "subtitles")) == config_with("subtitles")


def test_short_names_are_cards() -> None:
    assert card_of("ocr") == preferred_card("ocr") == "screen-text"
    assert card_of("grounding-dino") == preferred_card("grounding-dino") == "grounding-dino"


def test_a_build_keeps_what_was_asked_for_and_says_what_was_not_there(
    machine: Any, tmp_path: Path, make_film: Any, models: dict[str, Any]
) -> None:
    machine()
    film = make_film(tmp_path / "a.mp4", [("red", 3)])
    wanted = config_with("auto", "-ocr")
    with Library.open(tmp_path / "l", config=wanted, models=models) as library:
        assert library.config.perceive.sources == ("subtitles",)
        notes = library.build(film).notes
    assert any("scripts/install --with speech" in note for note in notes)
    with Library.open(tmp_path / "l", models=models) as library:
        assert library.build(film).rows[0].status == "unchanged"
