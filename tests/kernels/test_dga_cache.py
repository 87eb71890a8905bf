"""The cache: appending in any cuts equals one prefill; crop, reorder, unequal rows, bytes."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from attention_inputs import STREAM, qkv
from torch import Tensor

from fdvs.kernels.dga import (
    DGACache,
    DGAConfig,
    DGALayerCache,
    cca_config,
    dga_attention,
    full_config,
    paper_config,
)

MODES = {
    "stream": STREAM,
    "late": replace(STREAM, dense_threshold=61),
    "dropped": replace(STREAM, pool=False),
    "random": replace(STREAM, pool=False, score="random"),
    "lastq": replace(STREAM, weight="lastq"),
    "cca": cca_config(group_size=4, window=9),
    "full": full_config(),
    "window_0": replace(STREAM, window=0, score_queries=1),
}


def batch(tokens: int, rows: int = 2) -> list[Tensor]:
    return qkv(tokens, rows=rows, value_dim=6)


def feed(cache: DGALayerCache, tensors: list[Tensor], cuts: list[int], **options: object) -> Tensor:
    parts = []
    for first, last in pairwise(cuts):
        piece = [x[:, :, first:last] for x in tensors]
        out = dga_attention(*piece, config=cache.config, cache=cache, **options)  # type: ignore[arg-type]
        assert isinstance(out, Tensor)
        parts.append(out)
    return torch.cat(parts, 2)


def prefill(tensors: list[Tensor], config: DGAConfig) -> Tensor:
    out = dga_attention(*tensors, config=config, backend="reference")
    assert isinstance(out, Tensor)
    return out


@pytest.mark.parametrize("mode", MODES)
def test_token_by_token_equals_one_prefill(mode: str) -> None:
    tensors = batch(131)
    cache = DGALayerCache(MODES[mode])
    out = feed(cache, tensors, list(range(132)))
    torch.testing.assert_close(out, prefill(tensors, MODES[mode]))
    assert cache.num_seen == [131, 131]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("seed", range(4))
def test_random_cuts_equal_one_prefill(mode: str, seed: int) -> None:
    tensors = batch(131)
    chosen = random.Random(seed)
    cuts = [0, *sorted(chosen.sample(range(1, 131), chosen.choice((1, 4, 20)))), 131]
    out = feed(DGALayerCache(MODES[mode]), tensors, cuts)
    torch.testing.assert_close(out, prefill(tensors, MODES[mode]))


def test_states_are_equal_however_the_tokens_came() -> None:
    tensors = batch(119)
    one, two = DGALayerCache(STREAM), DGALayerCache(STREAM)
    feed(one, tensors, [0, 119])
    feed(two, tensors, list(range(120)))
    assert {**one.num_bytes(), "spare": 0} == {**two.num_bytes(), "spare": 0}
    left, right = one.states[0], two.states[0]
    assert left is not None
    assert right is not None
    torch.testing.assert_close(left.k_BKRD, right.k_BKRD)
    torch.testing.assert_close(left.units.keys_BKND, right.units.keys_BKND)
    torch.testing.assert_close(left.q_BHJD, right.q_BHJD)


def test_the_log_sum_exp_comes_out_of_the_cache_too() -> None:
    tensors = batch(70)
    want = dga_attention(*tensors, config=STREAM, backend="reference", return_lse=True)[1]
    cache, sums = DGALayerCache(STREAM), []
    for first, last in ((0, 40), (40, 41), (41, 70)):
        piece = [x[:, :, first:last] for x in tensors]
        sums.append(dga_attention(*piece, config=STREAM, cache=cache, return_lse=True)[1])
    torch.testing.assert_close(torch.cat(sums, 2), want)


def test_rows_of_unequal_length_equal_single_rows() -> None:
    tensors = batch(100, rows=3)
    starts = [0, 17, 55]
    cache = DGALayerCache(STREAM)
    first = [x[:, :, :60] for x in tensors]
    spans = torch.tensor([[start, 60] for start in starts])
    parts = [dga_attention(*first, config=STREAM, cache=cache, lengths=spans)]
    parts.append(feed(cache, tensors, [60, 61, 62, 80, 100]))
    out = torch.cat(parts, 2)
    for row, start in enumerate(starts):
        alone = [x[row : row + 1, :, start:] for x in tensors]
        torch.testing.assert_close(out[row : row + 1, :, start:], prefill(alone, STREAM))
        assert (out[row, :, :start] == 0).all()
    assert cache.num_seen == [100, 83, 45]


def test_a_row_may_get_nothing() -> None:
    tensors = batch(50, rows=2)
    cache = DGALayerCache(STREAM)
    feed(cache, tensors, [0, 30])
    spans = torch.tensor([[0, 20], [0, 0]])
    dga_attention(*(x[:, :, 30:] for x in tensors), config=STREAM, cache=cache, lengths=spans)
    assert cache.num_seen == [50, 30]


@pytest.mark.parametrize("mode", ["stream", "lastq", "late", "full"])
def test_crop_then_append_equals_never_having_seen(mode: str) -> None:
    config = MODES[mode]
    tensors = batch(95)
    cache = DGALayerCache(config)
    feed(cache, tensors, [0, 88])  # 28, 48, 68 and 88 commit
    wrong = [x + 1 for x in tensors]
    feed(cache, wrong, [88, 93])
    cache.crop(5)
    out = feed(cache, tensors, [88, 90, 95])
    torch.testing.assert_close(out, prefill(tensors, config)[:, :, 88:])


def test_crop_past_a_commit_is_an_error() -> None:
    cache = DGALayerCache(STREAM)
    feed(cache, batch(90), [0, 90])
    with pytest.raises(ValueError, match="forget at most 2"):
        cache.crop(3)
    cache.crop(2)
    assert cache.num_seen == [88, 88]


@pytest.mark.parametrize("backend", ["eager", "cpp"])
@pytest.mark.parametrize("mode", ["stream", "late", "dropped", "lastq", "cca", "window_0", "full"])
def test_every_crop_is_right_or_refused(mode: str, backend: str) -> None:
    """Past commits, and from behind `dense_threshold` to before it, where raw tokens are gone."""
    config = MODES[mode]
    tensors = [x.float() for x in batch(95)]
    wanted = prefill([x.double() for x in tensors], config).float()
    refused = 0
    for seen in (28, 29, 60, 61, 62, 75, 90):
        for left in range(1, seen):
            cache = DGALayerCache(config)
            feed(cache, tensors, [0, seen], backend=backend)
            if not cropped(cache, seen - left):
                refused += 1
                continue
            out = feed(cache, tensors, [left, left + 1, left + 4], backend=backend)
            torch.testing.assert_close(out, wanted[:, :, left : left + 4], atol=2e-5, rtol=2e-5)
    assert (refused == 0) == (mode == "full")


def cropped(cache: DGALayerCache, num_tokens: int) -> bool:
    try:
        cache.crop(num_tokens)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize("cut", [[0, 40, 76], [0, 76], [0, 60, 61, 70]])
@pytest.mark.parametrize("mode", MODES)
def test_a_recorded_append_can_be_taken_back_in_part(mode: str, cut: list[int]) -> None:
    """The tokens that are taken back judged chunks; afterwards nothing is left of them."""
    config, right = MODES[mode], batch(95)
    wanted = prefill(right, config)
    for num_tokens in range(1, cut[-1] - cut[-2] + 1):
        left = cut[-1] - num_tokens
        mixed = [torch.cat((x[:, :, :left], x[:, :, left:] + 1), 2) for x in right]
        cache = DGALayerCache(config)
        cache.recording = True
        feed(cache, mixed, cut)
        cache.crop(num_tokens)
        assert cache.num_seen == ([] if not left else [left, left])
        out = feed(cache, right, [left, left + 5, 95])
        torch.testing.assert_close(out, wanted[:, :, left:])


def test_more_than_was_recorded_is_not_taken_back() -> None:
    cache = DGALayerCache(STREAM)
    cache.recording = True
    feed(cache, batch(90), [0, 86, 90])  # a chunk was committed at 88
    with pytest.raises(ValueError, match="the last append"):
        cache.crop(5)
    cache.crop(4)
    assert cache.num_seen == [86, 86]


def test_unequal_rows_are_taken_back() -> None:
    tensors = batch(90)
    wanted = [
        prefill([x[i : i + 1, :, start:] for x in tensors], STREAM) for i, start in ((0, 0), (1, 9))
    ]
    cache = DGALayerCache(STREAM)
    cache.recording = True
    first, new = [x[:, :, :70] for x in tensors], [x[:, :, 70:] for x in tensors]
    spans = torch.tensor([[0, 70], [9, 70]])
    dga_attention(*first, config=STREAM, cache=cache, lengths=spans)
    dga_attention(*[x + 1 for x in new], config=STREAM, cache=cache)
    cache.crop(20)
    out = dga_attention(*new, config=STREAM, cache=cache)
    assert isinstance(out, Tensor)
    torch.testing.assert_close(out[:1], wanted[0][:, :, 70:])
    torch.testing.assert_close(out[1:], wanted[1][:, :, 61:])


def test_crop_to_nothing_starts_again() -> None:
    cache = DGALayerCache(STREAM)
    tensors = batch(20)
    feed(cache, tensors, [0, 20])
    cache.crop(20)
    torch.testing.assert_close(feed(cache, tensors, [0, 20]), prefill(tensors, STREAM))


@pytest.mark.parametrize("uneven", ["even", "uneven"])
def test_reorder_follows_the_beams(uneven: str) -> None:
    tensors = batch(120, rows=3)
    cache = DGALayerCache(STREAM)
    spans = torch.tensor([[0, 70], [9, 70], [30, 70]]) if uneven == "uneven" else None
    dga_attention(*(x[:, :, :70] for x in tensors), config=STREAM, cache=cache, lengths=spans)
    index = torch.tensor([2, 0, 2])
    cache.reorder(index)
    mixed = [torch.cat((x[index, :, :70], x[:, :, 70:]), 2) for x in tensors]
    out = feed(cache, mixed, [70, 71, 120])
    for row in range(3):
        start = 0 if spans is None else int(spans[index[row], 0])
        alone = [x[row : row + 1, :, start:] for x in mixed]
        torch.testing.assert_close(out[row : row + 1], prefill(alone, STREAM)[:, :, 70 - start :])


def test_bytes_are_those_of_units_tail_and_queries() -> None:
    cache = DGALayerCache(STREAM)
    feed(cache, batch(90), [0, 90])
    rows, key_heads, units, tail = 2, 2, 4 * STREAM.units_per_chunk, 90 - 80
    assert cache.num_bytes() == {
        "units": rows * key_heads * units * (8 + 6 + 1) * 8,
        "raw": rows * key_heads * tail * (8 + 6) * 8,
        "queries": 0,
        "spare": 0,
    }


def test_the_default_judges_keep_almost_no_queries() -> None:
    """The last queries before a commit only; weight=lastq needs one for every raw token."""
    most = {"meanq": 0, "lastq": 0}
    for weight in most:
        config = replace(STREAM, weight=weight)
        cache = DGALayerCache(config)
        for at in range(120):
            feed(cache, [x[:, :, at:] for x in batch(at + 1)], [0, 1])
            most[weight] = max(most[weight], cache.num_bytes()["queries"])
    per_query = 2 * 4 * 8 * 8
    assert most["meanq"] == (STREAM.score_queries - 1) * per_query
    assert most["lastq"] == (STREAM.window + STREAM.chunk - 1) * per_query


def test_wrong_use_of_a_cache_is_named() -> None:
    tensors = batch(20)
    cache = DGALayerCache(STREAM)
    feed(cache, tensors, [0, 20])
    with pytest.raises(ValueError, match="holds 2 rows"):
        feed(cache, batch(20, rows=3), [0, 20])
    with pytest.raises(ValueError, match="cache was made for"):
        dga_attention(*tensors, config=full_config(), cache=cache)
    with pytest.raises(ValueError, match="has no cache"):
        DGACache(paper_config())


def test_layers_come_on_first_use() -> None:
    cache = DGACache(STREAM)
    feed(cache.layer(2), batch(90), [0, 90])
    assert len(cache.layers) == 3
    assert cache.num_bytes()["units"] == cache.layer(2).num_bytes()["units"] > 0
    cache.layer(2).crop(1)
    cache.layer(2).reorder([1])
    assert cache.layer(2).num_seen == [89]


def test_layers_may_have_settings_of_their_own() -> None:
    own = replace(STREAM, importance_rate=0.6)
    cache = DGACache(STREAM, layer_configs={1: own})
    assert [cache.layer(i).config for i in range(3)] == [STREAM, own, STREAM]
    with pytest.raises(ValueError, match="has no cache"):
        DGACache(STREAM, layer_configs={0: paper_config()})
