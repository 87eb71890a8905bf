"""A cache on disk: tensors as safetensors, everything else in a JSON manifest written last.

Takes a `DGACache` and a folder, gives the folder; and back. No pickle. The manifest holds the
settings, the numbers of every state, the hash of the tensors, and what the caller adds (such as the
model and the text). A folder without a manifest is not a cache.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fdvs.kernels.dga.cache import DGACache
from fdvs.kernels.dga.config import DGAConfig
from fdvs.kernels.dga.heads import config_of, config_values
from fdvs.kernels.dga.unit_set import StreamState, Units

FORMAT = "fdvs-dga-cache"
VERSION = 2
MANIFEST, TENSORS = "manifest.json", "tensors.safetensors"
MOST_MANIFEST_BYTES = 2**24
#: The tensors of a state and of its units, by their field names.
STATE_TENSORS = ("k_BKRD", "v_BKRE", "q_BHJD")
UNIT_TENSORS = ("keys_BKND", "values_BKNE", "bias_BKN")
STATE_NUMBERS = ("num_seen", "num_built", "raw_start", "q_start")


def to_disk(cache: DGACache, folder: Path, *, extra: Mapping[str, Any] | None = None) -> Path:
    """Write a cache into a folder (made if needed; an older cache in it is replaced).

    Args:
        extra: JSON values to keep beside it, such as the model and the hash of the text.

    Returns:
        The folder.
    """
    tensors, layers = _flatten(cache)
    manifest = {
        "format": FORMAT, "version": VERSION, "config": cache.config.to_dict(), "layers": layers,
        "extra": dict(extra or {}),
        "layer_configs": {str(at): config_values(one) for at, one in cache.layer_configs.items()},
    }  # fmt: skip
    write_files(folder, tensors, manifest)
    return folder


def write_files(folder: Path, tensors: dict[str, Tensor], manifest: Mapping[str, Any]) -> None:
    """Write tensors, then the manifest with their hash: what has a manifest is complete."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    (folder / MANIFEST).unlink(missing_ok=True)
    part = folder / f"{TENSORS}.part"
    save_file(tensors, part)
    text = json.dumps({**manifest, "tensors_sha256": _sha256(part)}, indent=1, sort_keys=True)
    os.replace(part, folder / TENSORS)
    part = folder / f"{MANIFEST}.part"
    part.write_text(text, encoding="utf-8")
    os.replace(part, folder / MANIFEST)


def from_disk(
    folder: Path, *, device: torch.device | str = "cpu"
) -> tuple[DGACache, dict[str, Any]]:
    """Read a cache and the `extra` values that were kept with it.

    The files may come from anywhere: every number and shape is checked against the others, so
    that no kernel reads beyond a tensor.

    Raises:
        ValueError: no cache there, another version, or parts that do not fit each other.
    """
    from safetensors import SafetensorError

    manifest = read_manifest(folder, FORMAT, VERSION)
    try:
        tensors = read_tensors(folder, manifest["tensors_sha256"], device)
        layers = manifest.get("layer_configs", {})
        cache = DGACache(
            DGAConfig.from_dict(manifest["config"]),
            layer_configs={int(at): config_of(one) for at, one in layers.items()},
        )
        for index, states in enumerate(manifest["layers"]):
            layer = cache.layer(index)
            layer.states = [
                None if numbers is None else _state(f"{index}.{at}", numbers, tensors, config)
                for at, (numbers, config) in enumerate(
                    zip(states, layer.state_configs(len(states)), strict=True)
                )
            ]
        return cache, dict(manifest["extra"])
    except (KeyError, TypeError, AttributeError, OverflowError, SafetensorError) as error:
        what = f"{type(error).__name__}: {error}"[:200]
        raise ValueError(f"{folder} is damaged ({what}); delete it, write it again") from error


def read_tensors(folder: Path, sha256: str, device: torch.device | str) -> dict[str, Tensor]:
    """Return the tensors of `write_files`. Raises ValueError where their hash is another one."""
    from safetensors.torch import load

    path = folder / TENSORS
    data = path.read_bytes() if path.is_file() else b""
    if hashlib.sha256(data).hexdigest() != sha256:
        raise ValueError(
            f"{path} does not match its manifest; delete {path.parent} and write it again"
        )
    return {name: x.to(device) for name, x in load(data).items()}


def _flatten(cache: DGACache) -> tuple[dict[str, Tensor], list[list[dict[str, int] | None]]]:
    tensors: dict[str, Tensor] = {}
    layers = []
    for index, layer in enumerate(cache.layers):
        states: list[dict[str, int] | None] = []
        for at, state in enumerate(layer.states):
            if state is None:
                states.append(None)
                continue
            tensors.update(_tensors_of(f"{index}.{at}", state))
            states.append({name: getattr(state, name) for name in STATE_NUMBERS})
        layers.append(states)
    return tensors, layers


def _tensors_of(prefix: str, state: StreamState) -> dict[str, Tensor]:
    found = {name: getattr(state, name) for name in STATE_TENSORS}
    if state.units is not None:
        found |= {name: getattr(state.units, name) for name in UNIT_TENSORS}
    return {
        f"{prefix}.{name}": x.detach().clone(memory_format=torch.contiguous_format)
        for name, x in found.items()
    }


def _state(
    prefix: str, numbers: Mapping[str, int], tensors: Mapping[str, Tensor], config: DGAConfig
) -> StreamState:
    found = {name: tensors.get(f"{prefix}.{name}") for name in (*STATE_TENSORS, *UNIT_TENSORS)}
    missing = [name for name in STATE_TENSORS if found[name] is None]
    if missing or (numbers["num_built"] and found["keys_BKND"] is None):
        raise ValueError(f"state {prefix} lacks tensors ({missing or 'units'}); write it again")
    parts: dict[str, Any] = {name: found[name] for name in UNIT_TENSORS}
    units = Units(**parts) if numbers["num_built"] else None
    rest: dict[str, Any] = {name: found[name] for name in STATE_TENSORS}
    rest |= {name: int(numbers[name]) for name in STATE_NUMBERS}
    state = StreamState(units=units, **rest)
    if not _fits(state, config):
        raise ValueError(f"state {prefix} has shapes that do not fit its numbers; write it again")
    return state


def _fits(state: StreamState, config: DGAConfig) -> bool:
    """Whether a state's tensors are as long as its numbers and settings say."""
    rows, heads, num_raw, dim = state.k_BKRD.shape
    width, num_queries = state.v_BKRE.shape[-1], state.num_seen - state.q_start
    query_heads = state.q_BHJD.shape[1]
    wanted: list[tuple[Tensor, tuple[int, ...]]] = [
        (state.v_BKRE, (rows, heads, num_raw, width)),
        (state.q_BHJD, (rows, query_heads, num_queries, dim)),
    ]
    units, num_units = state.units, state.num_built * config.units_per_chunk
    if units is not None:
        wanted += [
            (units.keys_BKND, (rows, heads, num_units, dim)),
            (units.values_BKNE, (rows, heads, num_units, width)),
            (units.bias_BKN, (rows, heads, num_units)),
        ]
    kinds = {x.dtype for x in (state.k_BKRD, state.v_BKRE, state.q_BHJD)}
    first_needed = config.chunks_visible(state.num_seen) * config.chunk
    # given scores may commit a chunk early
    most_built = 0 if config.is_dense else state.num_seen // config.chunk
    return (
        all(tuple(x.shape) == shape for x, shape in wanted)
        and rows > 0 and heads > 0 and query_heads > 0 and query_heads % heads == 0
        and config.chunks_built(state.num_seen) <= state.num_built <= most_built
        and 0 <= state.raw_start <= first_needed
        and num_raw == state.num_seen - state.raw_start
        and len(kinds) == 1
        and state.k_BKRD.is_floating_point()
        and (units is None or units.bias_BKN.is_floating_point())
        and (units is None or {units.keys_BKND.dtype, units.values_BKNE.dtype} <= kinds)
    )  # fmt: skip


def read_manifest(folder: Path, form: str, version: int) -> dict[str, Any]:
    """Return the manifest of `write_files`, whose origin may be any.

    Raises:
        ValueError: none there, too large, no JSON, or of another form or version.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise ValueError(f"{folder} holds no cache (no {MANIFEST}); write one with to_disk")
    if path.stat().st_size > MOST_MANIFEST_BYTES:
        raise ValueError(f"{path} is over {MOST_MANIFEST_BYTES} bytes and no manifest of a cache")
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except RecursionError:
        raise ValueError(f"{path} is nested too deeply and no manifest of a cache") from None
    if not isinstance(manifest, dict) or manifest.get("format") != form:
        raise ValueError(f"{path} is no manifest of {form}; choose another folder")
    if manifest.get("version") != version:
        raise ValueError(
            f"{path} has version {manifest.get('version')}, this code reads {version}; "
            "read the text again"
        )
    return manifest


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
