"""A model folder is checked before any package opens it: plain files, whole weights, honest sizes.

The packages that load models believe their folders: an index may name a pickle or a file elsewhere,
a config may declare sizes that the weights do not have, and a copy may have been interrupted. Reads
headers and JSON only, never the weights themselves, and knows no model code.
"""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from fdvs.errors import ModelError
from fdvs.excerpts import shortened, shown
from fdvs.files import read_regular
from fdvs.models.weights.gguf_header import check_gguf
from fdvs.models.weights.manifests import check_no_holes

MAX_FILES = 10_000
MAX_JSON_BYTES = 1 << 27  # the largest tokenizers have about 2^25
MAX_CONFIG_BYTES = 1 << 23
MAX_LEVELS = 12

SAFETENSORS, GGUF = ".safetensors", ".gguf"
INDEX = ".safetensors.index.json"
CONFIGS = ("config.json", "open_clip_config.json")
MODULES = "modules.json"
ADAPTER = "adapter_config.json"
NAMED_WEIGHTS = "transformers_weights"

# Sizes that a config declares, in the words of the families: each layer has a tensor, and each
# width is a side of one.
LAYERS = frozenset(
    "num_hidden_layers num_layers n_layer n_layers num_decoder_layers num_encoder_layers "
    "encoder_layers decoder_layers depth layers".split()
)
WIDTHS = frozenset(
    "hidden_size intermediate_size vocab_size d_model d_ff d_kv ffn_dim n_embd embed_dim width "
    "num_attention_heads num_key_value_heads n_head num_heads heads head_dim head_width "
    "encoder_attention_heads decoder_attention_heads encoder_ffn_dim decoder_ffn_dim "
    "n_positions".split()
)
# Of these nothing need be in the weights: only absurd values are refused.
OTHERS = frozenset(
    "image_size patch_size num_channels context_length num_frames num_query_tokens "
    "max_position_embeddings projection_dim num_experts num_local_experts".split()
)
MAX_OTHER = 1 << 30
# Names of classes, which may be any words.
LABELS = ("label2id", "id2label")
_MODULE = re.compile(r"sentence_transformers\.([A-Za-z_]+\.)*(Transformer|Pooling|Normalize|Dense)")
_ACTIVATION = re.compile(r"torch\.nn\.modules\.(activation|linear)\.\w+")

Shapes = Mapping[str, Sequence[int]]


def check_place(place: Path, *, advice: str) -> None:
    """Raise ModelError for the first file of a folder, or the one file, that no package may open.

    `advice` says what to do.

    Refused: what is no regular file, weights that are cut short or garbled, an index that names
    pickles or files elsewhere, an adapter (it names a model elsewhere), a config whose sizes the
    weights cannot have, and modules of sentence-transformers that would run other code.
    """
    try:
        files = list(_plain_files(place))
        shapes: dict[str, Sequence[int]] = {}
        for path in files:
            if path.suffix == SAFETENSORS:
                shapes |= read_shapes(path)
            elif path.suffix == GGUF:
                check_gguf(path)
        for path in files:
            _check_file(path, place, shapes)
    except _Unfit as error:
        raise ModelError(f"{error}; {advice}") from None


def read_json_object(path: Path, *, max_bytes: int = MAX_CONFIG_BYTES) -> dict[str, Any]:
    """Return the object of a model's JSON file. Raises ModelError, which names the file."""
    try:
        value = json.loads(read_regular(path, max_bytes=max_bytes).decode("utf-8"))
    except OSError as error:
        raise _Unfit(f"{path} cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError) as error:
        raise _Unfit(f"{path} is no JSON ({shortened(str(error))})") from None
    if not isinstance(value, dict):
        raise _Unfit(f"{path} holds a {type(value).__name__}; expected an object")
    return value


def read_shapes(path: Path) -> dict[str, Sequence[int]]:
    """Return the shape of each tensor of a safetensors file, by name.

    Raises ModelError, which names the file, where its header and its size do not agree.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            return {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, OverflowError, MemoryError) as error:
        size_bytes = path.stat().st_size
        raise _Unfit(
            f"{path} ({size_bytes} bytes) is cut short or damaged ({shortened(str(error))})"
        ) from None


class _Unfit(ModelError):
    """A file that no package may open; the advice is still missing."""


def _plain_files(folder: Path) -> Iterator[Path]:
    """Yield the files of a folder, none of them a pipe, a device or a link to nothing."""
    num_files = 0
    for path in sorted(folder.rglob("*")) if folder.is_dir() else [folder]:
        if any(part.startswith(".") for part in path.relative_to(folder).parts):
            continue
        num_files += 1
        if num_files > MAX_FILES:
            raise _Unfit(f"{folder} holds over {MAX_FILES} files and is no model folder")
        try:
            mode = path.stat().st_mode
        except OSError as error:
            raise _Unfit(f"{path} cannot be opened ({error.strerror})") from None
        if stat.S_ISDIR(mode):
            continue
        if not stat.S_ISREG(mode):
            raise _Unfit(f"{path} is not a regular file")
        check_no_holes(path)
        if path.suffix == ".json" and path.stat().st_size > MAX_JSON_BYTES:
            raise _Unfit(f"{path} has over {MAX_JSON_BYTES} bytes")
        yield path


def _check_file(path: Path, folder: Path, shapes: Shapes) -> None:
    if path.name.endswith(INDEX):
        _check_index(path)
    elif path.name in CONFIGS:
        config = read_json_object(path)
        _check_named_weights(config, path)
        _check_activation(config, path)
        check_sizes(config, shapes, path)
    elif path.name == MODULES and path.parent == folder:
        _check_modules(path)
    elif path.name == ADAPTER:
        raise _Unfit(
            f"{path} belongs to an adapter, which names a model elsewhere: merge both (peft's "
            "merge_and_unload) and save the result"
        )


def _check_index(path: Path) -> None:
    weight_map = read_json_object(path).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise _Unfit(f"{path} has no weight_map")
    for name in dict.fromkeys(map(str, weight_map.values())):
        if not _is_plain_name(name):
            raise _Unfit(
                f"{path} names the weights {shown(name)}; allowed: *{SAFETENSORS} files beside it "
                "(pickles are not loaded)"
            )
        if not (path.parent / name).is_file():
            raise _Unfit(f"{path} names {name}, which is missing")


def _check_named_weights(config: Mapping[str, Any], path: Path) -> None:
    name = config.get(NAMED_WEIGHTS)
    if name is not None and not (isinstance(name, str) and _is_plain_name(name)):
        raise _Unfit(
            f"{path}: {NAMED_WEIGHTS} is {shown(name)}; allowed: a *{SAFETENSORS} file beside it "
            "(pickles are not loaded)"
        )


def _is_plain_name(name: str) -> bool:
    return name.endswith(SAFETENSORS) and Path(name).name == name and "\\" not in name


def _check_activation(config: Mapping[str, Any], path: Path) -> None:
    """A layer of sentence-transformers names a class, which is imported."""
    name = config.get("activation_function")
    dotted = isinstance(name, str) and "." in name
    if dotted and not _ACTIVATION.fullmatch(str(name)):
        raise _Unfit(f"{path}: activation_function is {shown(name)}; allowed: those of torch.nn")


def _check_modules(path: Path) -> None:
    try:
        modules = json.loads(read_regular(path, max_bytes=MAX_CONFIG_BYTES))
        named = [(str(module["type"]), str(module["path"])) for module in modules]
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        reason = shortened(f"{type(error).__name__}: {error}")
        raise _Unfit(f"{path} is no list of modules ({reason})") from None
    for kind, place in named:
        if not _MODULE.fullmatch(kind):
            raise _Unfit(
                f"{path}: module {shown(kind)} would run code of its own; allowed: Transformer, "
                "Pooling, Normalize and Dense of sentence_transformers"
            )
        if Path(place).is_absolute() or ".." in Path(place).parts:
            raise _Unfit(f"{path}: module in {shown(place)}, which is elsewhere")
        inside = path.parent / place
        if kind.endswith(".Dense") and not (inside / f"model{SAFETENSORS}").is_file():
            raise _Unfit(f"{inside} holds no safetensors weights; pickles are not loaded")


def check_sizes(config: Mapping[str, Any], shapes: Shapes, path: Path) -> None:
    """Raise ModelError where a config declares more layers or width than its weights have.

    Sizes are checked before a model is made: a hundred thousand layers take a minute and gigabytes
    although the file has none of them.
    """
    num_tensors = len(shapes)
    widest = max((side for shape in shapes.values() for side in shape), default=0)
    for name, value in _sizes(config, path, MAX_LEVELS):
        key = name.rpartition(".")[2]
        most = num_tensors if key in LAYERS else widest if key in WIDTHS else MAX_OTHER
        least = 1 if key in LAYERS | WIDTHS else 0
        if not least <= value <= (most if shapes else MAX_OTHER):
            has = f"the weights have {num_tensors} tensors of at most {widest} a side"
            raise _Unfit(f"{path}: {name} is {shown(value)}, but {has}")


def _sizes(config: Mapping[str, Any], path: Path, levels: int, at: str = "") -> Iterator[Any]:
    """Yield (name, value) of each declared size, those in nested parts included."""
    if not levels:
        raise _Unfit(f"{path} nests deeper than {MAX_LEVELS} levels")
    for key, value in config.items():
        name = f"{at}{key}"
        if key in LABELS:
            continue
        if isinstance(value, Mapping):
            yield from _sizes(value, path, levels - 1, f"{name}.")
        elif key in LAYERS | WIDTHS | OTHERS:
            for one in value if isinstance(value, list) else [value]:
                if isinstance(one, str):
                    raise _Unfit(f"{path}: {name} is {shown(one)}; allowed: a number")
                if isinstance(one, int) and not isinstance(one, bool):
                    yield name, one
