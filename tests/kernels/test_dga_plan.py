"""Plans: the cheapest settings of heads within a budget, against every choice; files."""

from __future__ import annotations

import itertools
import json
import random
from dataclasses import replace
from pathlib import Path

import pytest

from fdvs.kernels.dga import DGAConfig, full_config, paper_config
from fdvs.kernels.dga.plan import (
    HeadPlan,
    allocate,
    kept_share,
    read_plan,
    units_share,
    with_units,
)

FEW = DGAConfig(importance_rate=0.0)
FULL = full_config()


def plan(**changes: object) -> HeadPlan:
    given = {"model": "m", "levels": (FEW, FULL), "heads": ((0, 1), (0, 0)), **changes}
    return HeadPlan(**given)  # type: ignore[arg-type]


def best_loss(losses: list[list[list[float]]], sizes: list[float], budget: float) -> float:
    heads = [(layer, head) for layer in range(len(losses[0])) for head in range(len(losses[0][0]))]
    best = float("inf")
    for choice in itertools.product(range(len(sizes)), repeat=len(heads)):
        if sum(sizes[at] for at in choice) <= budget * len(heads) + 1e-9:
            loss = sum(
                losses[at][layer][head] for at, (layer, head) in zip(choice, heads, strict=True)
            )
            best = min(best, loss)
    return best


@pytest.mark.parametrize("seed", range(20))
def test_the_choice_is_the_best_of_all_up_to_one_step(seed: int) -> None:
    draw = random.Random(seed)
    sizes = [0.0, 0.25, 0.5, 1.0]
    falling = [sorted((draw.random() for _ in sizes), reverse=True) for _ in range(6)]
    losses = [[[falling[0 + h][at] for h in range(3)], [falling[3 + h][at] for h in range(3)]]
              for at in range(4)]  # fmt: skip
    budget = draw.uniform(0.1, 0.9)
    heads = allocate(losses, sizes, budget)
    flat = [at for layer in heads for at in layer]
    got = sum(losses[at][layer][head] for layer in (0, 1) for head, at in enumerate(heads[layer]))
    assert sum(sizes[at] for at in flat) <= 6 * budget + 1e-9
    largest = max(row[0] - row[-1] for row in falling)
    assert best_loss(losses, sizes, budget) - 1e-9 <= got
    assert got <= best_loss(losses, sizes, budget) + largest


def test_heads_that_lose_most_get_most_and_a_full_budget_gives_all() -> None:
    losses = [[[9.0, 1.0]], [[0.0, 0.0]]]
    assert allocate(losses, [0.0, 1.0], 0.5) == ((1, 0),)
    assert allocate(losses, [0.0, 1.0], 1.0) == ((1, 1),)
    assert allocate(losses, [0.0, 1.0], 0.0) == ((0, 0),)


def test_a_level_that_keeps_more_and_loses_more_is_never_chosen() -> None:
    losses = [[[5.0]], [[7.0]], [[1.0]]]
    assert allocate(losses, [0.1, 0.5, 0.6], 0.55) == ((0,),)
    assert allocate(losses, [0.1, 0.5, 0.6], 0.6) == ((2,),)


def test_a_budget_below_the_least_is_an_error() -> None:
    with pytest.raises(ValueError, match="below the smallest level"):
        allocate([[[1.0]]], [0.2], 0.1)


def test_shares_count_units_and_tail_of_each_head() -> None:
    small = FEW.units_per_chunk / FEW.chunk
    assert units_share(FEW) == small
    assert plan().units_share() == pytest.approx((3 * small + 1) / 4)
    built = FEW.chunks_built(4096)
    kept = (4096 - built * (FEW.chunk - FEW.units_per_chunk)) / 4096
    assert kept_share(FEW, 4096) == pytest.approx(kept)
    assert plan().kept_share(4096) == pytest.approx((3 * kept + 1) / 4)
    assert kept_share(FULL, 4096) == 1.0


def test_layers_get_a_setting_for_each_head() -> None:
    assert plan().layer_configs() == {0: (FEW, FULL), 1: (FEW, FEW)}
    late = plan().layer_configs(dense_threshold=99)[1]
    assert late == (replace(FEW, dense_threshold=99),) * 2


def test_a_plan_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    plan().write(path, measured={"ratio": 1.01})
    assert read_plan(path) == plan()
    assert json.loads(path.read_text())["measured"] == {"ratio": 1.01}


@pytest.mark.parametrize(
    "change",
    [
        {"version": 9}, {"format": "other"}, {"heads": ["02"]}, {"heads": ["0", "01"]},
        {"heads": []}, {"levels": [{"windows": 3}]}, {"levels": None},
        {"levels": [paper_config().to_dict()] * 2},
    ],
)  # fmt: skip
def test_files_that_are_no_plan_are_named(tmp_path: Path, change: dict[str, object]) -> None:
    path = tmp_path / "plan.json"
    plan().write(path)
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(ValueError, match=r"plan\.json is no fdvs-attention-plan"):
        read_plan(path)


def test_missing_and_huge_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is no fdvs-attention-plan"):
        read_plan(tmp_path / "none.json")
    big = tmp_path / "big.json"
    big.write_bytes(b" " * (2**20 + 1))
    with pytest.raises(ValueError, match="more than 1048576 bytes"):
        read_plan(big)


@pytest.mark.parametrize("count", [4, 5, 10, 25, 80, 159])
def test_settings_leave_the_units_that_were_asked_for(count: int) -> None:
    config = with_units(DGAConfig(), count)
    assert config.units_per_chunk == config.num_focal == count


def test_units_that_no_group_leaves_are_an_error() -> None:
    with pytest.raises(ValueError, match="no group size leaves 161 units"):
        with_units(replace(DGAConfig(), sinks=0), 161)
