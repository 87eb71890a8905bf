"""Appending in place: the same as joining, and nothing that was handed out ever changes."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
import torch
from attention_inputs import STREAM, draw, qkv

from fdvs.kernels.dga import dga_attention, full_config
from fdvs.kernels.dga.append_buffer import FEWEST, SPARE_SHARE, appended
from fdvs.kernels.dga.layer_cache import DGALayerCache

TOKENS = 2 * FEWEST


def start(tokens: int = TOKENS) -> torch.Tensor:
    return draw(2, 3, tokens, 4, seed=9)


@pytest.mark.parametrize("seed", range(5))
def test_a_tree_of_appends_and_cuts_equals_joining(seed: int) -> None:
    """Appends to any earlier tensor, its cuts and repeats; none of those before may change."""
    chosen = random.Random(seed)
    known = [(start(), None, start())]
    for step in range(200):
        held, room, want = chosen.choice(known[-4:])
        if chosen.random() < 0.2:
            cut = chosen.randrange(1, 20)
            held, want = held[:, :, :-cut], want[:, :, :-cut]
        new = draw(2, 3, chosen.choice((1, 1, 1, 2, 5, 40)), 4, seed=1000 + step)
        made, room = appended(held, new, room)
        known.append((made, room, torch.cat((want, new), 2)))
    for held, _, want in known:
        assert torch.equal(held, want)


def test_tokens_go_into_the_same_buffer_until_it_is_full() -> None:
    held, room = appended(start(), draw(2, 3, 1, 4), None)
    assert room is not None
    first = held.data_ptr()
    for _ in range(TOKENS // SPARE_SHARE):
        assert held.data_ptr() == first
        held, room = appended(held, draw(2, 3, 1, 4), room)
    assert room is not None
    assert room.spare_bytes == 0
    moved, _ = appended(held, draw(2, 3, 1, 4), room)
    assert moved.data_ptr() != first
    assert moved.shape[2] == TOKENS + 1 + TOKENS // SPARE_SHARE + 1


def test_the_second_to_append_to_the_same_tensor_gets_a_buffer_of_its_own() -> None:
    held, room = appended(start(), draw(2, 3, 1, 4), None)
    one, _ = appended(held, draw(2, 3, 1, 4, seed=1), room)
    two, _ = appended(held, draw(2, 3, 1, 4, seed=2), room)
    assert one.data_ptr() == held.data_ptr() != two.data_ptr()
    assert torch.equal(one[:, :, -1:], draw(2, 3, 1, 4, seed=1))
    assert torch.equal(two[:, :, -1:], draw(2, 3, 1, 4, seed=2))


def test_a_room_of_other_rows_is_not_used() -> None:
    held, room = appended(start(), draw(2, 3, 1, 4), None)
    one, other = appended(held[:1], draw(1, 3, 1, 4), room)
    assert other is not room
    assert torch.equal(one[:, :, :-1], held[:1])


def test_many_tokens_at_once_and_gradients_are_joined_plainly() -> None:
    held = start()
    many = draw(2, 3, held.shape[2] // SPARE_SHARE + 1, 4)
    assert appended(held, many, None)[1] is None
    wanted = draw(2, 3, 1, 4).requires_grad_()
    made, room = appended(held, wanted, None)
    assert room is None
    made.sum().backward()
    assert wanted.grad is not None


def test_what_was_made_in_inference_mode_is_not_written_to_outside() -> None:
    with torch.inference_mode():
        held, room = appended(start(), draw(2, 3, 1, 4), None)
    made, other = appended(held, draw(2, 3, 1, 4, seed=5), room)
    assert other is not room
    assert torch.equal(made[:, :, -1:], draw(2, 3, 1, 4, seed=5))


def test_forks_of_a_cache_that_both_go_on_do_not_meet() -> None:
    tensors, config = qkv(TOKENS + 10), full_config()
    want = dga_attention(*tensors, config=config)
    cache = DGALayerCache(config)
    for at in (
        slice(0, TOKENS),
        slice(TOKENS, TOKENS + 1),
    ):  # the second append leaves spare places
        dga_attention(*(x[:, :, at] for x in tensors), config=config, cache=cache)
    assert cache.num_bytes()["spare"] > 0
    forks = [cache.fork(), cache.fork()]
    for at in range(TOKENS + 1, TOKENS + 10):
        for sign, fork in zip((1, -1), forks, strict=True):
            piece = [sign * x[:, :, at : at + 1] for x in tensors]
            out = dga_attention(*piece, config=config, cache=fork)
            if sign == 1:
                torch.testing.assert_close(out, want[:, :, at : at + 1])


def test_a_commit_lets_go_of_the_buffer() -> None:
    config = replace(STREAM, window=FEWEST)
    tensors, cache = qkv(FEWEST + STREAM.chunk * 4), DGALayerCache(config)
    spare = []
    for at in range(tensors[0].shape[2]):
        dga_attention(*(x[:, :, at : at + 1] for x in tensors), config=config, cache=cache)
        spare.append(cache.num_bytes()["spare"])
    per_place = 2 * 2 * (8 + 8) * 8
    assert 0 < max(spare) <= (FEWEST + STREAM.chunk) // SPARE_SHARE * per_place
    assert spare[FEWEST - 1] == 0  # few tokens need no room


def test_few_tokens_are_joined_plainly() -> None:
    assert appended(start(FEWEST - 1), draw(2, 3, 1, 4), None)[1] is None
    assert appended(start(FEWEST), draw(2, 3, 1, 4), None)[1] is not None
