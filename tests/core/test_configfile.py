"""Settings from YAML files, and those that a library of this or another version stores."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fdvs.config import (
    AskConfig,
    Config,
    CutConfig,
    PerceiveConfig,
    RedundancyConfig,
    SampleConfig,
    StoryConfig,
    TextualConfig,
)
from fdvs.configfile import config_from_json, config_to_json, load_config
from fdvs.errors import ConfigError, InvalidValue, UnknownName
from fdvs.pipelines.build.fingerprints import (
    VERSIONS,
    done_fingerprint,
    kept_chapters_fingerprint,
    kept_frames_fingerprint,
    story_fingerprint,
)
from fdvs.pipelines.cli.main import run
from fdvs.pipelines.presets import gpu, laptop, offline, settings
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


OLD_FRAMES = {
    "policy": "cover", "floor": 0.95, "identical": 0.95, "threshold": 0.9, "seed": 0,
    "like": "cover",
}  # fmt: skip


def test_retired_settings_of_an_older_library_are_dropped_in_silence(
    caplog: pytest.LogCaptureFixture,
) -> None:
    stored = {
        "visual": OLD_FRAMES,
        "textual": {**OLD_FRAMES, "identical": 0.995, "memory": 35},
        "story": {"min_scene_chapters": 1, "sentences_per_scene": 3},
    }
    config = config_from_json(stored)
    assert (config.visual, config.textual) == (Config().visual, Config().textual)
    assert config.story.sentences_per_scene == 3
    assert not caplog.records


def test_a_retired_value_that_changed_something_is_named(caplog: pytest.LogCaptureFixture) -> None:
    config = config_from_json({"story": {"min_scene_chapters": 4}})
    assert config == Config()
    assert "story.min_scene_chapters: 4 was retired; this version behaves as 1" in caplog.text


@pytest.mark.parametrize(
    "values", [{"policy": "repaired"}, {"policy": "random", "like": "repaired"}]
)
def test_a_retired_policy_falls_back_to_the_default_and_its_floor(
    values: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    """A floor of another policy means nothing to cover."""
    config = config_from_json({"textual": {**OLD_FRAMES, "floor": 0.84, **values, "memory": 20}})
    label = rule_label(config.textual)
    assert label.removeprefix("random, as many as ") == "cover, floor 0.95"
    assert config.textual.memory == 20
    assert "'repaired' no longer exists; using the default" in caplog.text


def test_settings_of_a_newer_version_are_ignored_with_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    cut = {"min_clip_s": 1.0, "by_sound": True, "section": "cut"}
    stored = {"cut": cut, "cluster": {"num_workers": 8}}
    assert config_from_json(stored).cut == CutConfig(min_clip_s=1.0)
    assert "cut.by_sound is unknown" in caplog.text
    assert "cluster is unknown" in caplog.text


def test_what_is_stored_has_the_retired_settings_for_older_versions() -> None:
    assert config_to_json(Config())["visual"] == OLD_FRAMES


def test_a_file_may_name_a_retired_setting_only_with_what_happens_anyway(tmp_path: Path) -> None:
    same = write(tmp_path, "story: {min_scene_chapters: 1, max_scene_chapters: 9}\n")
    assert load_config(same, Config()).story.max_scene_chapters == 9
    other = write(tmp_path, "story: {min_scene_chapters: 2}\n")
    with pytest.raises(ConfigError, match=r"min_scene_chapters was retired.*behaves as 1; remove"):
        load_config(other, Config())
    with pytest.raises(InvalidValue, match="cover, paper, random, none"):
        load_config(write(tmp_path, "visual: {policy: repaired}\n"), Config())


def test_fingerprints_are_those_of_the_versions_that_had_the_retired_settings() -> None:
    """Digests computed by commit e7acb5c."""
    rule = RedundancyConfig(policy="paper", floor=0.5, seed=3)
    random = TextualConfig(policy="random", like="paper", memory=7)
    config = Config()
    assert kept_frames_fingerprint("f", config.visual) == "d9e8cb44c1d80b0aea887828dc0b0305"
    assert kept_frames_fingerprint("f", rule) == "9e2182683ad9a1a0bbdca4853d862c58"
    ab = ["a", "b"]
    assert kept_chapters_fingerprint(ab, config.textual) == "12802daf4eaa754df2b94892998b8b94"
    assert kept_chapters_fingerprint(ab, random) == "29f44cd04561f82159ae3bd1361305cb"


def test_a_retired_setting_still_counts_in_the_fingerprint_of_a_story(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With the versions and the default that commit e7acb5c had; stories are written anew since."""
    for stage in ("chapter", "story"):
        monkeypatch.setitem(VERSIONS, stage, 1)
    config = Config(story=StoryConfig(sentences_per_scene=2))
    assert story_fingerprint(["a"], "k", config.story, "w") == "833cafac6591ef336758948a116603a8"
    assert done_fingerprint("s", config, ["m"], "e") == "e27b8161699c3c63f33c38a344433fdd"


def test_a_file_names_the_preset_that_it_starts_from(tmp_path: Path) -> None:
    file = write(tmp_path, "preset: laptop\nsample: {num_frames_per_clip: 4}\n")
    config = settings(None, file)
    assert config == replace(
        laptop(), sample=SampleConfig(short_side_px=384, num_frames_per_clip=4)
    )
    assert config.models.llm == "qwen2.5-1.5b-instruct"


def test_an_asked_for_preset_goes_before_that_of_the_file(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = write(tmp_path, "preset: laptop\ncut: {min_clip_s: 1}\n")
    assert settings("gpu", file) == replace(gpu(), cut=CutConfig(min_clip_s=1.0))
    assert "its preset 'laptop' is not used: gpu was asked for" in caplog.text
    caplog.clear()
    assert settings("laptop", file).preset == "laptop"
    assert not caplog.records


def test_without_any_name_a_file_starts_from_the_offline_preset(tmp_path: Path) -> None:
    for text in ("cut: {min_clip_s: 1}", "preset: offline\ncut: {min_clip_s: 1}"):
        file = write(tmp_path, text)
        assert settings(None, file) == replace(offline(), cut=CutConfig(min_clip_s=1.0))
    assert settings(None, None) == offline()


def test_an_unknown_preset_in_a_file_is_named_with_near_ones(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match=r"unknown preset 'labtop'\. Did you mean laptop"):
        settings(None, write(tmp_path, "preset: labtop\n"))


def test_settings_that_are_shown_can_be_given_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write(tmp_path, "preset: laptop\nask: {num_evidence: 7}\n")
    assert run(["config", "--library", str(tmp_path / "none"), "--config", str(file)]) == 0
    shown = write(tmp_path, capsys.readouterr().out)
    assert (
        settings(None, shown)
        == settings(None, file)
        == replace(laptop(), ask=AskConfig(num_evidence=7))
    )
