"""What a card says about grouped attention: by model, by layer, by head; wrong words are named."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fdvs.errors import InvalidValue, ModelError, UnknownName
from fdvs.kernels.dga import DGAConfig, full_config
from fdvs.kernels.dga.plan import HeadPlan
from fdvs.models.cards import Card, LoadSettings
from fdvs.models.llm.attention_options import (
    DEFAULT,
    attention_options,
    layer_settings_of,
    options_of_plan,
    settings_of,
)
from fdvs.models.llm.local import LocalLanguageModel


def card(attention: Any, target: str = "x") -> Card:
    options = {"attention": attention}
    return Card(name="m", role="llm", backend="transformers", target=target, options=options)


def test_a_card_that_says_nothing_has_the_default() -> None:
    made = attention_options(Card(name="m", role="llm", backend="transformers"))
    assert (made.config, dict(made.layers)) == (DEFAULT, {})


def plan_file(folder: Path, heads: int) -> Path:
    levels = (DGAConfig(window=320), full_config())
    plan = HeadPlan(model="m", levels=levels, heads=((0, 1)[:heads] + (0,) * (heads - 2),) * 2)
    plan.write(folder / "plan.json")
    return folder / "plan.json"


def test_a_plan_is_taken_in_place_of_the_cards_settings(
    llama_folder: Path, model_cache: Path, tmp_path: Path
) -> None:
    path = plan_file(tmp_path, heads=2)
    settings = LoadSettings(device="cpu", attention="dga", attention_plan=str(path))
    made = LocalLanguageModel.load(card({"default": {"window": 64}}, f"{llama_folder}"), settings)
    few, dense = (
        replace(one, dense_threshold=DEFAULT.dense_threshold)
        for one in (DGAConfig(window=320), full_config())
    )
    assert settings_of(made.model) == DEFAULT  # nothing of the card's
    assert layer_settings_of(made.model) == {0: (few, dense), 1: (few, dense)}
    assert "with the plan plan.json" in made.attention
    kept = (few.units_per_chunk / few.chunk + 1) / 2  # one head of two keeps everything
    assert f"over all heads {kept:.1%} of the tokens kept" in made.attention


def test_a_plan_of_another_model_is_an_error(
    llama_folder: Path, model_cache: Path, tmp_path: Path
) -> None:
    path = plan_file(tmp_path, heads=3)
    settings = LoadSettings(device="cpu", attention="dga", attention_plan=str(path))
    with pytest.raises(ModelError, match="3"):
        LocalLanguageModel.load(card({}, f"{llama_folder}"), settings)


def test_a_file_that_is_no_plan_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("{}", "utf-8")
    for name in ("x.json", "none.json"):
        with pytest.raises(InvalidValue, match=f"{name}.*scripts/plan_attention.py"):
            options_of_plan(tmp_path / name)


def test_layers_are_told_over_the_default_and_heads_over_it_too() -> None:
    made = attention_options(
        card(
            {
                "default": {"window": 320},
                "layers": {
                    "0-2": {"importance_rate": 0.0},
                    4: {"importance_rate": 0.5},
                    "7": [{"importance_rate": 0.5}, {}],
                },
            }
        )
    )
    base = replace(DEFAULT, window=320)
    assert made.config == base
    few, many = replace(base, importance_rate=0.0), replace(base, importance_rate=0.5)
    assert dict(made.layers) == {0: few, 1: few, 2: few, 4: many, 7: (many, base)}


@pytest.mark.parametrize(
    ("attention", "error", "words"),
    [
        (7, InvalidValue, "a mapping"),
        ({"windows": 3}, UnknownName, "default, layers"),
        ({"default": {"windows": 3}}, UnknownName, "Did you mean window"),
        ({"default": {"window": -1}}, InvalidValue, "window=-1 must be"),
        ({"default": {"window": "wide"}}, InvalidValue, "window is 'wide'"),
        ({"default": []}, InvalidValue, "a mapping"),
        ({"layers": [1]}, InvalidValue, "a mapping"),
        ({"layers": {"5-3": {}}}, InvalidValue, "18-23"),
        ({"layers": {"first": {}}}, InvalidValue, "18-23"),
        ({"layers": {1: 0.5}}, InvalidValue, "a mapping"),
        ({"layers": {1: [3]}}, InvalidValue, "a mapping"),
    ],
)
def test_what_cannot_be_is_named(attention: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        attention_options(card(attention))


def test_a_writer_runs_with_its_cards_settings(llama_folder: Path, model_cache: Path) -> None:
    told = {"default": {"window": 300}, "layers": {1: {"importance_rate": 0.5}}}
    grouped = LoadSettings(device="cpu", attention="dga")
    writer = LocalLanguageModel.load(card(told, str(llama_folder)), grouped)
    base = replace(DEFAULT, window=300)
    assert settings_of(writer.model) == base
    assert layer_settings_of(writer.model) == {1: replace(base, importance_rate=0.5)}
    assert "1 of 2 layers with settings of their own" in writer.attention
    assert writer.read("a", "the car").score("what", ["moves"])[0].num_tokens == 1
    plain = LocalLanguageModel.load(
        card(told, str(llama_folder)), LoadSettings(device="cpu", attention="sdpa")
    )
    assert plain.attention.startswith("sdpa")


def test_a_layer_that_the_model_has_not_is_an_error(llama_folder: Path, model_cache: Path) -> None:
    with pytest.raises(ModelError, match=r"layers \[9\]"):
        LocalLanguageModel.load(
            card({"layers": {9: {}}}, str(llama_folder)), LoadSettings(device="cpu")
        )
