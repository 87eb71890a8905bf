"""Options of servers in the settings, cards of one's own, and what of them makes results stale."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fdvs.config import Config, ModelsConfig, PerceiveConfig, RoleOptions, ServerOptions
from fdvs.configfile import config_from_json, config_to_json, load_config
from fdvs.errors import ConfigError, FdvsError
from fdvs.models.cards import card_names, resolve
from fdvs.models.endpoint.endpoint import EndpointCaptioner
from fdvs.pipelines.model_set import ModelSet


def settings(spec: str = "vllm:it", **options: Any) -> Config:
    return Config(
        perceive=PerceiveConfig(captioner=spec),
        models=ModelsConfig(options=RoleOptions(captioner=ServerOptions(**options))),
    )


def test_options_of_a_file_reach_the_client(tmp_path: Path) -> None:
    path = tmp_path / "fdvs.yaml"
    path.write_text(
        'perceive: {captioner: "vllm:it"}\n'
        "models: {options: {captioner: {max_tokens: 400, timeout_s: 300, concurrency: 16,\n"
        "  context_tokens: 32768, frames_per_call: 8, api_key_env: MY_KEY}}}\n"
    )
    config = load_config(path, Config())
    captioner = ModelSet(config).describer("captioner")
    assert isinstance(captioner, EndpointCaptioner)
    options = captioner.client.options
    assert (options.max_tokens, options.timeout_s, options.concurrency) == (400, 300.0, 16)
    assert (options.context_tokens, options.frames_per_call) == (32768, 8)
    assert (options.api_key_env, options.dialect) == ("MY_KEY", "vllm")
    assert captioner.batch_size == 16
    assert config_from_json(config_to_json(config)) == config


def test_settings_without_options_are_stored_as_before() -> None:
    assert "options" not in config_to_json(Config())["models"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{captioner: {max_tokenz: 4}}", "max_tokens"),
        ("{captioner: {timeout_s: 0}}", "0.05 to 3600"),
        ("{captioner: {concurrency: 65}}", "1 to 64"),
        ("{caption: {max_tokens: 4}}", "captioner"),
        ("{captioner: {api_key_env: sk-secret}}", "name of a variable"),
    ],
)
def test_wrong_options_are_errors_when_the_settings_are_read(
    tmp_path: Path, text: str, told: str
) -> None:
    path = tmp_path / "fdvs.yaml"
    path.write_text(f"models: {{options: {text}}}\n")
    with pytest.raises(FdvsError, match=told) as raised:
        load_config(path, Config())
    assert "sk-secret" not in str(raised.value)


def test_options_of_a_model_without_a_server_are_an_error() -> None:
    with pytest.raises(ConfigError, match="max_tokens: these are for models that a server runs"):
        ModelSet(settings("tags", max_tokens=40)).card("captioner")


def test_what_changes_results_makes_them_stale_and_nothing_else_does() -> None:
    def of(spec: str = "vllm:it", **options: Any) -> str:
        return ModelSet(settings(spec, **options)).fingerprint("captioner")

    assert of() == of(timeout_s=9.0) == of(concurrency=32) == of(api_key_env="MY_KEY")
    changed = [of(max_tokens=400), of(frames_per_call=2), of(context_tokens=4096), of("vllm:other")]
    assert len({of(), *changed}) == 5
    here, there = "endpoint:http://127.0.0.1:8000/v1#it", "endpoint:https://far.example/v1#it"
    assert of(here) == of(there) != of("endpoint:https://far.example/v1#other")


def test_a_card_of_ones_own_is_a_model_like_any_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FDVS_CARDS", str(tmp_path))
    (tmp_path / "my-server.yaml").write_text(
        "role: captioner\nbackend: endpoint\ntarget: http://127.0.0.1:9/v1#it\n"
        "options: {dialect: vllm, max_tokens: 300}\n"
    )
    assert "my-server" in card_names()
    assert "minilm-l6" in card_names()
    card = ModelSet(settings("my-server", concurrency=7)).card("captioner")
    assert card.options == {"dialect": "vllm", "max_tokens": 300, "concurrency": 7}
    (tmp_path / "my-server.yaml").write_text("role: captioner\nbackend: endpoint\nwrong: 1\n")
    with pytest.raises(ConfigError, match="wrong"):
        resolve("my-server", "captioner")


def test_a_folder_of_cards_must_be_one_and_takes_no_name_of_fdvs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FDVS_CARDS", str(tmp_path / "nothing"))
    with pytest.raises(ConfigError, match="no folder"):
        card_names()
    monkeypatch.setenv("FDVS_CARDS", str(tmp_path))
    (tmp_path / "minilm-l6.yaml").write_text("role: text_embedder\nbackend: tags\n")
    with pytest.raises(ConfigError, match="minilm-l6; rename"):
        card_names()
