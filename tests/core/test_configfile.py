"""Settings from YAML and from the library's memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from fdvs.config import Config, CutConfig, PerceiveConfig, RedundancyConfig
from fdvs.configfile import config_from_json, config_to_json, load_config
from fdvs.errors import ConfigError, InvalidValue, UnknownName
from fdvs.redundancy.rules import rule_label


def write(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "settings.yaml"
    file.write_text(text)
    return file


def test_values_are_laid_over_the_base(tmp_path: Path) -> None:
    file = write(tmp_path, "cut: {min_clip_s: 1}\nperceive: {sources: [subtitles]}\n")
    config = load_config(file, Config())
    assert config.cut == CutConfig(min_clip_s=1.0)
    assert config.perceive.sources == ("subtitles",)
    assert config.visual == Config().visual


def test_an_empty_file_changes_nothing(tmp_path: Path) -> None:
    assert load_config(write(tmp_path, "# nothing\n"), Config()) == Config()


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("cut: {min_clip: 1}", UnknownName, "Did you mean min_clip_s"),
        ("cuts: {}", UnknownName, "cut"),
        ("cut: 3", InvalidValue, "mapping"),
        ("cut: {min_clip_s: fast}", InvalidValue, "float"),
        ("cut: {min_clip_s: true}", InvalidValue, "float"),
        ("cut: {method: magic}", InvalidValue, "keyframes, scenes, fixed"),
        ("perceive: {sources: subtitles}", InvalidValue, "a list"),
        ("sample: {num_frames_per_clip: 0}", InvalidValue, "1 to 256"),
        ("cut: {min_clip_s: 20}", InvalidValue, "40"),
        ("- a\n- b", ConfigError, "mapping"),
        ("a: [", ConfigError, "not YAML"),
        ("a: !!python/object/apply:os.system [ls]", ConfigError, "not YAML"),
    ],
)
def test_a_wrong_file_is_an_error_that_says_what_is_allowed(
    tmp_path: Path, text: str, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        load_config(write(tmp_path, text), Config())


def test_a_missing_file_is_a_config_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path / "none.yaml", Config())


def test_a_config_survives_being_stored() -> None:
    config = Config(
        preset="x",
        perceive=PerceiveConfig(sources=("subtitles", "screen-text")),
        visual=RedundancyConfig(policy="random", seed=3),
    )
    assert config_from_json(config_to_json(config)) == config


def test_what_an_older_library_remembers_still_loads_as_it_was() -> None:
    """Settings as they were stored when `repaired` was the default."""
    bounds = {"floor": 0.9, "identical": 0.95, "threshold": 0.9, "seed": 0, "like": "repaired"}
    chapters = {**bounds, "floor": 0.84, "identical": 0.995, "memory": 35}
    stored = {
        "visual": {"policy": "repaired", **bounds},
        "textual": {"policy": "random", **chapters},
    }
    config = config_from_json(stored)
    assert rule_label(config.visual) == "repaired, floor 0.9, identical 0.95"
    assert rule_label(config.textual) == (
        "random, as many as repaired, floor 0.84, identical 0.995"
    )
