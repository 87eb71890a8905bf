"""A cache on disk: what comes back answers like what went out; damage is noticed."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from attention_inputs import STREAM, qkv
from torch import Tensor

from fdvs.fingerprint import file_sha256
from fdvs.kernels.dga import DGACache, DGAConfig, dga_attention, from_disk, to_disk


def tensors(tokens: int, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    return qkv(tokens, value_dim=6, dtype=dtype)


def filled(config: DGAConfig, *, dtype: torch.dtype = torch.float32, uneven: bool) -> DGACache:
    cache = DGACache(config)
    spans = torch.tensor([[0, 90], [33, 90]]) if uneven else None
    for layer in range(2):
        dga_attention(
            *(x + layer for x in tensors(90, dtype)), config=config, cache=cache.layer(layer),
            lengths=spans,
        )  # fmt: skip
    return cache


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("uneven", [False, True], ids=["even", "uneven"])
@pytest.mark.parametrize("weight", ["meanq", "lastq"])
def test_a_cache_read_back_goes_on_alike(
    weight: str, uneven: bool, dtype: torch.dtype, tmp_path: Path
) -> None:
    config = replace(STREAM, weight=weight)
    cache = filled(config, dtype=dtype, uneven=uneven)
    to_disk(cache, tmp_path / "story", extra={"model": "tiny"})
    back, extra = from_disk(tmp_path / "story")
    assert extra == {"model": "tiny"}
    assert back.config == config
    assert back.num_bytes() == cache.num_bytes()
    more = tensors(50, dtype)
    for layer in range(2):
        one = dga_attention(*more, config=config, cache=cache.layer(layer))
        two = dga_attention(*more, config=config, cache=back.layer(layer))
        assert torch.equal(one, two)


def test_settings_of_single_layers_come_back(tmp_path: Path) -> None:
    own = replace(STREAM, importance_rate=0.6)
    cache = DGACache(STREAM, layer_configs={1: own})
    for layer, config in ((0, STREAM), (1, own)):
        dga_attention(*tensors(90), config=config, cache=cache.layer(layer))
    back, _ = from_disk(to_disk(cache, tmp_path))
    assert [back.layer(layer).config for layer in range(3)] == [STREAM, own, STREAM]
    assert back.num_bytes() == cache.num_bytes()
    before, after = (c.layer(1).states[0].units for c in (cache, back))  # type: ignore[union-attr]
    assert before is not None
    assert after is not None
    assert torch.equal(before.keys_BKND, after.keys_BKND)


def test_an_empty_cache_comes_back_empty(tmp_path: Path) -> None:
    cache = DGACache(STREAM)
    cache.layer(1)
    back, _ = from_disk(to_disk(cache, tmp_path))
    assert [layer.num_rows for layer in back.layers] == [0, 0]


def test_damaged_tensors_are_noticed(tmp_path: Path) -> None:
    to_disk(filled(STREAM, uneven=False), tmp_path)
    path = tmp_path / "tensors.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(ValueError, match="does not match its manifest"):
        from_disk(tmp_path)


def test_a_folder_without_a_manifest_is_no_cache(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no cache"):
        from_disk(tmp_path)


@pytest.mark.parametrize("change", [{"version": 99}, {"format": "other"}])
def test_a_foreign_manifest_is_named(change: dict[str, object], tmp_path: Path) -> None:
    to_disk(filled(STREAM, uneven=False), tmp_path)
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ValueError, match="manifest"):
        from_disk(tmp_path)


def test_no_file_is_a_pickle(tmp_path: Path) -> None:
    to_disk(filled(STREAM, uneven=False), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "manifest.json", "tensors.safetensors",
    ]  # fmt: skip


def rewritten(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the manifest, and let its hash fit the tensors that are there."""
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["tensors_sha256"] = file_sha256(folder / "tensors.safetensors")
    change(manifest)
    path.write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("name", "number"),
    [("num_seen", 91), ("num_built", 5), ("num_built", -1), ("raw_start", -20), ("q_start", 3)],
)
def test_numbers_that_do_not_fit_the_tensors_are_refused(
    name: str, number: int, tmp_path: Path
) -> None:
    to_disk(filled(STREAM, uneven=False), tmp_path)
    rewritten(tmp_path, lambda manifest: manifest["layers"][1][0].update({name: number}))
    with pytest.raises(ValueError, match="do not fit its numbers"):
        from_disk(tmp_path)


@pytest.mark.parametrize(
    ("name", "cut"),
    [("keys_BKND", 2), ("values_BKNE", 2), ("bias_BKN", 2), ("v_BKRE", 2), ("q_BHJD", 1)],
)
def test_tensors_that_are_too_short_are_refused(name: str, cut: int, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    to_disk(filled(STREAM, uneven=False), tmp_path)
    path = tmp_path / "tensors.safetensors"
    found = load_file(path)
    key = f"0.0.{name}"
    found[key] = found[key].narrow(cut, 1, found[key].shape[cut] - 1).contiguous()
    save_file(found, path)
    rewritten(tmp_path, lambda manifest: None)
    with pytest.raises(ValueError, match="do not fit its numbers"):
        from_disk(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        lambda manifest: manifest.pop("layers"),
        lambda manifest: manifest.update(layers=7),
        lambda manifest: manifest.update(layers=[[7]]),
        lambda manifest: manifest.update(config={"chunk": 16, "colour": 1}),
        lambda manifest: manifest.update(config={"chunk": -1}),
        lambda manifest: manifest.update(layer_configs=[]),
        lambda manifest: manifest.update(extra=3),
        lambda manifest: manifest["layers"][0][0].update(num_seen=1e400),
    ],
)
def test_a_manifest_of_other_content_is_refused(
    change: Callable[[dict[str, Any]], object], tmp_path: Path
) -> None:
    to_disk(filled(STREAM, uneven=False), tmp_path)
    rewritten(tmp_path, change)
    with pytest.raises(ValueError, match=r"damaged|must be|do not fit"):
        from_disk(tmp_path)


@pytest.mark.parametrize("text", ["[" * 200_000, "{", "\xff", " " * (2**24 + 1)])
def test_a_manifest_that_is_no_json_is_refused(text: str, tmp_path: Path) -> None:
    to_disk(filled(STREAM, uneven=False), tmp_path)
    (tmp_path / "manifest.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=r"manifest|Expecting|decode"):
        from_disk(tmp_path)


def test_tensors_that_are_no_safetensors_are_refused(tmp_path: Path) -> None:
    to_disk(filled(STREAM, uneven=False), tmp_path)
    (tmp_path / "tensors.safetensors").write_bytes(b"a pickle")
    rewritten(tmp_path, lambda manifest: None)
    with pytest.raises(ValueError, match="damaged"):
        from_disk(tmp_path)
