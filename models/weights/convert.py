"""Checkpoints that are published as pickles only, converted once to safetensors.

Only plain tensors are read (`weights_only`): a pickle that asks for anything else is refused, and
nothing of it is run. One shard after another, mapped into memory.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fdvs.errors import ModelUnavailable, how_to_install
from fdvs.excerpts import shortened

PICKLES = "pytorch_model*.bin"
#: What a fetch asks the hub for in place of safetensors.
WANTED = (PICKLES, "*.json", "*.txt", "*.model", "*.jinja")
INDEX = "model.safetensors.index.json"


def convert_pickles(source: Path, target: Path) -> None:
    """Write a folder's pickled weights as safetensors into an empty folder, the other files beside.

    Raises ModelUnavailable where there are none, or one holds anything but tensors by name.
    """
    if importlib.util.find_spec("torch") is None:
        raise ModelUnavailable(f"converting {source} needs PyTorch; {how_to_install('local')}")
    shards = sorted(source.glob(PICKLES))
    if not shards:
        raise ModelUnavailable(f"{source} holds no {PICKLES}")
    where: dict[str, str] = {}
    num_bytes = 0
    for number, shard in enumerate(shards, start=1):
        name = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        tensors = _tensors(shard)
        _save(tensors, target / name)
        where |= dict.fromkeys(tensors, name)
        num_bytes += sum(tensor.nbytes for tensor in tensors.values())
    index = {"metadata": {"total_size": num_bytes}, "weight_map": where}
    (target / INDEX).write_text(json.dumps(index, indent=1), "utf-8")
    for path in source.iterdir():
        if path.is_file() and not path.match("*.bin") and not path.name.endswith(".bin.index.json"):
            shutil.copyfile(path, target / path.name)


def _tensors(shard: Path) -> dict[str, Any]:
    import torch

    try:
        found = torch.load(shard, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # whatever a damaged or hostile file brings up in the reader
        reason = shortened(" ".join(str(error).split()))
        raise ModelUnavailable(
            f"{shard} holds more than plain tensors, or is damaged ({reason})"
        ) from None
    if not isinstance(found, Mapping) or not all(
        isinstance(name, str) and isinstance(value, torch.Tensor) for name, value in found.items()
    ):
        raise ModelUnavailable(f"{shard} holds no tensors by name")
    return dict(found)


def _save(tensors: Mapping[str, Any], path: Path) -> None:
    """Write tensors; those that share memory are copied, which the format asks for."""
    from safetensors.torch import save_file

    seen: set[int] = set()
    made = {}
    for name, tensor in tensors.items():
        place = tensor.untyped_storage().data_ptr()
        made[name] = tensor.clone() if place in seen else tensor.contiguous()
        seen.add(place)
    save_file(made, path, metadata={"format": "pt"})
