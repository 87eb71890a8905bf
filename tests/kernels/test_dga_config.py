"""Settings of grouped attention: what is allowed, what follows from them, and the messages."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace

import pytest

from fdvs.kernels.dga import (
    DGAConfig,
    cca_config,
    choose_backend,
    full_config,
    paper_config,
    quality_config,
)
from fdvs.kernels.dga.config import random_score


def test_the_default_keeps_at_most_a_sixth_of_the_tokens() -> None:
    config = DGAConfig()
    assert (config.num_focal, config.num_groups) == (25, 0)
    assert config.units_per_chunk / config.chunk <= 1 / 6


def test_pooling_is_asked_for_and_leaves_as_many_units() -> None:
    pooled = DGAConfig(pool=True)
    assert not DGAConfig().pool
    assert (pooled.num_focal, pooled.num_groups) == (16, 9)
    assert pooled.units_per_chunk == DGAConfig().units_per_chunk


def test_quality_keeps_at_most_a_quarter() -> None:
    config = quality_config()
    assert config.units_per_chunk / config.chunk <= 1 / 4


def test_single_and_grouped_tokens_always_fill_the_chunk() -> None:
    for rate in (0.0, 0.05, 0.1, 0.3, 0.5, 0.77, 0.99):
        for chunk, size in ((160, 16), (128, 16), (100, 7), (33, 5)):
            config = DGAConfig(
                importance_rate=rate, chunk=chunk, group_size=size, sinks=0, pool=True
            )
            assert config.num_focal + config.num_groups * size == chunk
            assert config.num_focal >= rate * chunk - 1e-9


def test_random_scores_are_the_same_in_every_run_and_spread() -> None:
    drawn = [random_score(j) for j in range(4000)]
    assert drawn[:2] == [random_score(0), random_score(1)]
    assert len(set(drawn)) > 3990
    assert all(350 < sum(0.1 * n <= x < 0.1 * (n + 1) for x in drawn) < 450 for n in range(10))


def test_no_unit_is_visible_before_the_first_commit() -> None:
    config = DGAConfig(chunk=20, window=8, group_size=4, sinks=0, score_queries=4)
    first = next(i for i in range(100) if config.chunks_visible(i))
    assert first == config.commit_time(0) == config.window + config.chunk - 1


def test_the_dense_threshold_counts_positions() -> None:
    config = DGAConfig(chunk=20, window=8, group_size=4, sinks=0, score_queries=4)
    late = replace(config, dense_threshold=70)
    assert [late.chunks_visible(i) for i in (69, 70)] == [0, config.chunks_visible(70)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"importance_rate": 1.5}, "importance_rate=1.5"),
        ({"importance_rate": float("nan")}, "importance_rate"),
        ({"group_size": 0}, "group_size=0"),
        ({"chunk": 8}, "smaller than group_size"),
        ({"window": -1}, "window=-1"),
        ({"select": "best"}, "select='best'"),
        ({"weight": "mean"}, "weight='mean'"),
        ({"importance_rate": 0.0, "pool": True}, "sinks=4 do not fit"),
        ({"score_queries": 600}, "at most window"),
        ({"window": 256.0}, "whole number"),
        ({"pool": 1}, "pool=1"),
        ({"score": "best"}, "score='best'"),
        ({"select": "global"}, "pool=False with score='attention' is for select='stream'"),
        ({"select": "global", "pool": True, "score": "random"}, "for select='stream'"),
    ],
)
def test_a_wrong_value_is_named(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DGAConfig(**change)  # type: ignore[arg-type]


@pytest.mark.parametrize("config", [DGAConfig(window=256), paper_config()])
def test_settings_are_read_back_from_their_values(config: DGAConfig) -> None:
    assert DGAConfig.from_dict(config.to_dict()) == config


def test_a_removed_option_is_read_only_at_the_value_that_is_left() -> None:
    values = DGAConfig().to_dict()
    assert DGAConfig.from_dict({**values, "head_reduction": "sum"}) == DGAConfig()
    with pytest.raises(ValueError, match="head_reduction='max' was removed, only 'sum' is left"):
        DGAConfig.from_dict({**values, "head_reduction": "max"})
    with pytest.raises(TypeError, match="head_width"):
        DGAConfig.from_dict({**values, "head_width": 3})
    for name, value in (("weight", "uniform"), ("bias", "logcount")):
        with pytest.raises(ValueError, match=f"{name}='{value}' is unknown"):
            DGAConfig.from_dict({**values, name: value})


def test_settings_cannot_change() -> None:
    with pytest.raises(FrozenInstanceError):
        DGAConfig().chunk = 3  # type: ignore[misc]


def test_presets_name_their_mode() -> None:
    assert cca_config(group_size=8, window=24).num_focal == 0
    assert full_config().is_dense
    assert paper_config().select == "global"


@pytest.mark.parametrize("config", [DGAConfig(importance_rate=1.0), DGAConfig(group_size=1)])
def test_settings_that_group_nothing_are_dense(config: DGAConfig) -> None:
    assert config.is_dense
    assert config.chunks_visible(10**6) == 0


def test_the_choice_of_backend_gives_a_reason() -> None:
    choice = choose_backend("auto", config=DGAConfig())
    assert choice.name != "reference"
    assert choice.reason


def test_a_backend_that_cannot_run_is_an_error() -> None:
    with pytest.raises(ValueError, match="is unknown"):
        choose_backend("fast", config=DGAConfig())
    with pytest.raises(ValueError, match="keeps no cache"):
        choose_backend("reference", config=DGAConfig(), cached=True)
    with pytest.raises(ValueError, match="has no cache"):
        choose_backend("eager", config=paper_config(), cached=True)
