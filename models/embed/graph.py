"""Networks as ONNX graphs whose weights stay in the file that a card fetches; no torch.

The package holds the graphs alone (research/make_graphs.py wrote them): each weight is named by
file, offset and length. So a card's file is used as it is, and vectors, identities and fingerprints
are those of the torch path: the tests compare both to 1e-5.
"""

from __future__ import annotations

import json
import logging
import os
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from fdvs.errors import ModelError, ModelUnavailable
from fdvs.models.cards import Card, LoadSettings
from fdvs.models.weights.fetch import model_folder
from fdvs.models.weights.loading import check_fetched, needs, next_step, reason_of
from fdvs.types import Vectors

# Devices on which a graph runs; every other one, and `torch`, asks for the torch path.
DEVICES = ("auto", "cpu")
DTYPES = ("auto", "float32")

logger = logging.getLogger(__name__)


def runs_as_graph(card: Card, settings: LoadSettings) -> bool:
    """Whether a card's network is run by ONNX Runtime with these settings.

    It is where the package has its graph, the fetched file is the one that the graph was made for,
    and neither another device nor another number type is asked for. Raises ModelUnavailable.
    """
    if settings.device not in DEVICES or settings.dtype not in DTYPES or not has_graph(card):
        return False
    try:
        weights_file(card)
    except ModelUnavailable:
        raise  # there are no weights for any path
    except ModelError as error:
        logger.info("%s: no graph: %s", card.name, error)
        return False
    return True


def has_graph(card: Card) -> bool:
    """Whether the package has the graph of a card."""
    return bool(_graphs().joinpath(f"{card.name}.onnx").is_file())


def weights_file(card: Card) -> Path:
    """Return the file with the weights of a card's graph.

    Raises ModelUnavailable where it is not on this machine, ModelError where it is another file.
    """
    places = _places(card)
    folder = model_folder(card)
    found = [folder] if folder.is_file() else sorted(folder.rglob(places["file"]))
    if len(found) != 1 or found[0].stat().st_size != places["size_bytes"]:
        raise ModelError(f"{folder} does not hold the {places['file']} that the graph names")
    return found[0]


def open_graph(card: Card) -> Any:
    """Return an ONNX Runtime session of a card's graph, on the CPU.

    Raises ModelUnavailable without package or weights, ModelError where a fetched file is damaged
    or the graph does not load.
    """
    check_fetched(card)
    runtime = needs("onnxruntime", "")
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS") or 0)
    options.inter_op_num_threads = 1
    # waiting threads sleep: a spinning one takes a core from decoder and speech
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry(
        "session.model_external_initializers_file_folder_path", str(weights_file(card).parent)
    )
    graph = _graphs().joinpath(f"{card.name}.onnx").read_bytes()
    try:
        return runtime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own exceptions have no common, public base
        raise ModelError(
            f"{card.name}: {weights_file(card)} cannot be loaded: {reason_of(error)}; "
            f"{next_step(card)}"
        ) from None


def stored_tensor(card: Card, name: str) -> Vectors:
    """Return a float32 tensor that a graph's file holds beside the graph's own weights."""
    place = _places(card)["tensors"][name]
    stored = np.memmap(
        weights_file(card), np.float32, "r", offset=place["offset"], shape=tuple(place["shape"])
    )
    tensor: Vectors = np.ascontiguousarray(stored.transpose(place["axes"]))
    return tensor


def _graphs() -> Any:
    return files("fdvs.models.embed").joinpath("graphs")


def _places(card: Card) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(_graphs().joinpath(f"{card.name}.json").read_text("utf-8"))
    return found
