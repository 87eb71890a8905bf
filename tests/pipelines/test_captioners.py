"""`captioner: auto`: what a machine has decides once, and the library keeps it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from fdvs.config import Config, PerceiveConfig
from fdvs.models.cards import load_card, resolve
from fdvs.models.endpoint import local_servers
from fdvs.models.endpoint.local_servers import LocalServer
from fdvs.pipelines import captioners
from fdvs.pipelines.captioners import ON_CPU, ON_GPU, SERVERS_VARIABLE, with_captioner
from fdvs.pipelines.library import Library
from fdvs.pipelines.model_set import ModelSet
from fdvs.pipelines.presets import PRESETS, gpu, laptop
from fdvs.pipelines.sources import resolve_sources, without_auto

GIB = 1 << 30


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with neither GPU nor server."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


def give_gpu(monkeypatch: pytest.MonkeyPatch, num_bytes: int) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Some GPU")
    found = SimpleNamespace(total_memory=num_bytes, name="Some GPU")
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: found)


def give_server(monkeypatch: pytest.MonkeyPatch, *servers: LocalServer) -> None:
    monkeypatch.setenv(SERVERS_VARIABLE, "1")
    monkeypatch.setattr(local_servers, "local_servers", lambda: list(servers))


def server(*seeing: str) -> LocalServer:
    models = ("llama3:8b", *seeing)
    return LocalServer(
        dialect="ollama", base_url="http://127.0.0.1:11434", models=models, seeing=seeing
    )


def test_without_server_and_gpu_it_is_the_one_for_a_processor() -> None:
    assert resolve_sources(laptop()).config.perceive.captioner == ON_CPU


@pytest.mark.parametrize(("num_bytes", "spec"), [(24 * GIB, ON_GPU), (4 * GIB, ON_CPU)])
def test_a_gpu_with_the_space_takes_the_better_one(
    monkeypatch: pytest.MonkeyPatch, num_bytes: int, spec: str
) -> None:
    give_gpu(monkeypatch, num_bytes)
    choice = captioners.best_captioner()
    assert choice.spec == spec
    assert "Some GPU" in choice.reason


def test_a_server_of_this_machine_with_a_model_that_sees_goes_before_both(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    give_gpu(monkeypatch, 24 * GIB)
    give_server(monkeypatch, server(), server("qwen3-vl:4b-instruct"))
    assert captioners.best_captioner().spec == "ollama:qwen3-vl:4b-instruct"
    monkeypatch.setenv(SERVERS_VARIABLE, "0")
    assert captioners.best_captioner().spec == ON_GPU


def test_a_library_keeps_its_captioner_when_the_server_is_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    give_server(monkeypatch, server("qwen3-vl:4b-instruct"))
    first = with_captioner(laptop())
    give_server(monkeypatch)
    assert with_captioner(laptop(), stored=first) == first
    offline = PRESETS["offline"]()
    assert with_captioner(laptop(), stored=offline).perceive.captioner == ON_CPU


def test_what_is_stored_with_a_library_is_the_choice(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, models: dict[str, Any],
    make_film: Callable[..., Path],
) -> None:  # fmt: skip
    film = make_film(tmp_path / "film.mp4", [("red", 2.0)])
    config = Config(perceive=PerceiveConfig(captioner="auto"))
    with Library.open(tmp_path / "library", config=config, models=models) as library:
        library.build(film)
    give_server(monkeypatch, server("qwen3-vl:4b-instruct"))
    with Library.open(tmp_path / "library", config=config, models=models) as library:
        assert library.config.perceive.captioner == ON_CPU
    with Library.open(tmp_path / "library", models=models) as library:
        assert library.config.perceive.captioner == ON_CPU


def test_the_doctor_says_which_one_this_machine_gets(monkeypatch: pytest.MonkeyPatch) -> None:
    from fdvs.pipelines.doctor import preset_state

    assert preset_state("laptop", laptop())["about"].endswith(f"Here: {ON_CPU}.")
    give_server(monkeypatch, server("qwen3-vl:4b-instruct"))
    assert "Here: ollama:qwen3-vl:4b-instruct." in preset_state("laptop", laptop())["about"]
    assert "Here" not in preset_state("gpu", gpu())["about"]


def test_a_captioner_that_is_named_and_evaluations_ask_no_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(captioners, "best_captioner", lambda: pytest.fail("asked"))
    named = replace(laptop(), perceive=PerceiveConfig(captioner="tags"))
    assert with_captioner(named) == named
    assert with_captioner(laptop(), own=("captioner",)).perceive.captioner == ON_CPU
    assert without_auto(laptop()).perceive.captioner == ON_CPU


@pytest.mark.parametrize("name", [ON_CPU, ON_GPU])
def test_both_choices_are_cards_of_captioners(name: str) -> None:
    assert load_card(name).role == "captioner"


def test_gpu_has_one_model_for_captions_and_text_that_fits_24_gb() -> None:
    """Weights, and as much again for batches as their bound may use: half of what is free."""
    models = ModelSet(gpu())
    assert models.card("llm").name == models.card("captioner").name
    names = dict.fromkeys(models.card(role).name for role in (*models.names_for_build(), "llm"))
    weights_gb = sum(load_card(name).size_mb for name in names) / 1000
    assert 8 < weights_gb < 12
    assert weights_gb + (24 - weights_gb) / 2 < 20


def test_one_option_gives_all_of_it_to_a_server() -> None:
    config = replace(
        gpu(), perceive=PerceiveConfig(captioner="vllm:Qwen/Qwen3-VL-30B-A3B-Instruct")
    )
    models = ModelSet(config)
    assert models.card("llm").backend == models.card("captioner").backend == "endpoint"
    assert models.card("llm").target == models.card("captioner").target
    assert resolve("qwen3-vl-4b", "llm").backend == "captioner"
