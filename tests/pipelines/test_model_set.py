"""Models of a config: loaded once, known before they are loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fdvs.config import Config, ModelsConfig, PerceiveConfig
from fdvs.errors import ModelError, ModelUnavailable, UnknownName
from fdvs.models.factory import backend_class
from fdvs.models.scripted import GridImageEmbedder
from fdvs.pipelines.model_set import ModelSet
from fdvs.pipelines.presets import PRESETS, preset

SOURCES = Config(perceive=PerceiveConfig(sources=("subtitles",)))


def test_a_fingerprint_is_the_same_before_and_after_loading() -> None:
    model_set = ModelSet(SOURCES)
    before = model_set.fingerprint("source:subtitles")
    assert model_set.describer("source:subtitles").source == "subtitles"
    assert model_set.fingerprint("source:subtitles") == before


def test_a_model_is_loaded_once() -> None:
    model_set = ModelSet(SOURCES)
    assert model_set.describer("source:subtitles") is model_set.describer("source:subtitles")


def test_a_raised_version_is_another_fingerprint(monkeypatch: pytest.MonkeyPatch) -> None:
    from fdvs.models.describe.subtitles import SubtitleSource

    before = ModelSet(SOURCES).fingerprint("source:subtitles")
    monkeypatch.setattr(SubtitleSource, "version", 10_000)
    assert ModelSet(SOURCES).fingerprint("source:subtitles") != before


def test_an_edited_subtitle_file_is_another_content(tmp_path: Path) -> None:
    film, words = tmp_path / "a.mp4", tmp_path / "a.srt"
    film.write_bytes(b"")
    model_set = ModelSet(SOURCES)
    words.write_text("1\n00:00:00,000 --> 00:00:01,000\none\n")
    one = model_set.content_beside("source:subtitles", film)
    words.write_text("1\n00:00:00,000 --> 00:00:01,000\ntwo\n")
    assert one != model_set.content_beside("source:subtitles", film)


def test_an_own_model_is_used_and_named(models: dict[str, Any]) -> None:
    held = ModelSet(Config(), models=models)
    assert held.image_embedder is models["image_embedder"]
    assert "stand-in" in held.backends()["image_embedder"]
    assert held.matcher is None


def test_a_model_that_is_not_here_is_an_error_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FDVS_CACHE", str(tmp_path))
    with pytest.raises(ModelUnavailable, match="fdvs models fetch"):
        ModelSet(Config()).check()


def test_an_unknown_model_names_near_ones() -> None:
    config = Config(models=ModelsConfig(text_embedder="minilm-l7"))
    with pytest.raises(UnknownName, match="minilm-l6"):
        ModelSet(config).identity("text_embedder")


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_every_model_of_a_preset_has_a_card_of_its_role_and_a_backend(name: str) -> None:
    model_set = ModelSet(preset(name))
    for role in (*model_set.names_for_build(), "llm"):
        assert backend_class(model_set.card(role)) is not None


def test_an_unknown_preset_names_near_ones() -> None:
    with pytest.raises(UnknownName, match="offline"):
        preset("ofline")


def test_a_build_does_not_need_the_language_model_that_only_answers_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, models: dict[str, Any]
) -> None:
    monkeypatch.setenv("FDVS_CACHE", str(tmp_path))
    del models["llm"]
    held = ModelSet(Config(), models=models)
    held.check()
    assert held.backends()["llm"] == "smollm2-135m (not on this machine)"
    with pytest.raises(ModelUnavailable, match="smollm2-135m"):
        held.llm.count_tokens("x")


@pytest.mark.parametrize("name", ["model.safetensors", "model.gguf"])
def test_damaged_files_are_found_before_any_work(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"cut")
    config = Config(perceive=PerceiveConfig(captioner=f"transformers:{tmp_path}"))
    with pytest.raises(ModelError, match=f"{name} .*(cut short|damaged)"):
        ModelSet(config, models={"image_embedder": GridImageEmbedder()}).check()


def test_all_that_is_missing_is_told_at_once_with_sizes_and_one_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FDVS_CACHE", str(tmp_path))
    with pytest.raises(ModelUnavailable) as found:
        ModelSet(preset("gpu")).check()
    said = str(found.value)
    sizes = {"openclip-vit-l-14": "1.7 GB", "qwen3-vl-4b": "8.9 GB", "minilm-l6": "92 MB"}
    for name, size in sizes.items():
        assert f"{name} ({size})" in said
    command = said.partition("fdvs models fetch ")[2]
    assert all(name in command for name in sizes)
    assert "in all" in said


def test_a_folder_that_is_gone_is_not_to_be_fetched(models: dict[str, Any]) -> None:
    config = Config(perceive=PerceiveConfig(captioner="transformers:/no/such/model/folder"))
    del models["captioner"]
    with pytest.raises(ModelUnavailable, match="no folder or file at '/no/such") as found:
        ModelSet(config, models=models).check()
    assert "models fetch" not in str(found.value)
