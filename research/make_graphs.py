"""Write the ONNX graphs of the preset offline, without weights, into models/embed/graphs.

    python research/make_graphs.py

Needs torch, transformers, timm, the package onnx, and both models on this machine (fdvs models
fetch offline). Every weight of a graph is found by its bytes in the file that the model's card
fetches; the graph names file, offset and length instead (external data, as ONNX calls it), so the
package holds no weights and the fetched file, whose hash the card knows, stays the only copy of
them. `NAME.json` holds the size of that file and the places of tensors that the graph does not use.
"""

from __future__ import annotations

import itertools
import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import external_data_helper, numpy_helper

from fdvs.models.cards import load_card
from fdvs.models.weights.fetch import model_folder

FOLDER = Path(__file__).parent.parent / "models" / "embed" / "graphs"
MIN_BYTES = 256  # smaller constants (shapes, scalars) stay in the graph
OPSET = 17


def main() -> int:
    """Write both graphs."""
    FOLDER.mkdir(exist_ok=True)
    _minilm()
    _efficientnet()
    return 0


def _minilm() -> None:
    from transformers import BertModel

    folder = model_folder(load_card("minilm-l6"))
    model = BertModel.from_pretrained(
        str(folder), local_files_only=True, add_pooling_layer=False, attn_implementation="eager"
    ).eval()

    class Hidden(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bert = model

        def forward(self, input_ids: Any, attention_mask: Any) -> Any:
            kinds = torch.zeros_like(input_ids)
            return self.bert(
                input_ids=input_ids, attention_mask=attention_mask, token_type_ids=kinds
            ).last_hidden_state

    ids = torch.tensor([[101, 7592, 2088, 102], [101, 7592, 102, 0]])
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]])
    names = {name: {0: "B", 1: "T"} for name in ("input_ids", "attention_mask", "hidden")}
    graph = _export(Hidden(), (ids, mask), ["input_ids", "attention_mask"], "hidden", names)
    _strip("minilm-l6", graph, folder / "model.safetensors")


def _efficientnet() -> None:
    import timm

    from fdvs.models.embed.efficientnet import ARCHITECTURE, _checkpoint, load_by_order

    place = model_folder(load_card("efficientnet-lite0"))
    network = timm.create_model(ARCHITECTURE, pretrained=False)
    load_by_order(network, _checkpoint(place))
    network.eval()

    class Features(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = network

        def forward(self, pictures: Any) -> Any:
            return self.net.forward_head(self.net.forward_features(pictures), pre_logits=True)

    axes = {"pictures": {0: "B"}, "features": {0: "B"}}
    graph = _export(Features(), (torch.zeros(2, 3, 224, 224),), ["pictures"], "features", axes)
    (file,) = place.glob("*.pth")
    extra = {
        f"classifier.{name}": value.detach().numpy()
        for name, value in network.classifier.named_parameters()
    }
    _strip("efficientnet-lite0", graph, file, extra)


def _export(
    module: Any, inputs: tuple[Any, ...], names: list[str], output: str, axes: dict[str, Any]
) -> Any:
    # The exporter would fold batch norms into convolutions, whose weights are then in no file.
    torch._C._jit_pass_onnx_eval_peephole = lambda graph, parameters: parameters
    with tempfile.TemporaryDirectory() as work:
        target = Path(work) / "graph.onnx"
        torch.onnx.export(
            module, inputs, str(target), input_names=names, output_names=[output],
            dynamic_axes=axes, opset_version=OPSET, do_constant_folding=False, dynamo=False,
        )  # fmt: skip
        return onnx.load(str(target))


def _strip(name: str, model: Any, file: Path, beside: Mapping[str, Any] | None = None) -> None:
    """Put the place of every weight instead of its bytes; write the graph and other places."""
    content = file.read_bytes()
    turned = []
    for one in model.graph.initializer:
        array = numpy_helper.to_array(one)
        if array.nbytes < MIN_BYTES and array.tobytes() not in content:
            continue
        offset, axes = _place(content, array)
        if axes != tuple(range(array.ndim)):
            turned.append(_turn(one, array, axes))
        external_data_helper.set_external_data(
            one, location=file.name, offset=offset, length=array.nbytes
        )
        one.ClearField("raw_data")
        one.ClearField("float_data")
        one.data_location = onnx.TensorProto.EXTERNAL
    for node in reversed(turned):
        model.graph.node.insert(0, node)
    places: dict[str, Any] = {"file": file.name, "size_bytes": len(content), "tensors": {}}
    for key, array in (beside or {}).items():
        offset, axes = _place(content, array)
        places["tensors"][key] = {
            "offset": offset, "shape": list(array.transpose(axes).shape),
            "axes": [axes.index(axis) for axis in range(array.ndim)],
        }  # fmt: skip
    del model.metadata_props[:]
    for node in model.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    (FOLDER / f"{name}.onnx").write_bytes(model.SerializeToString())
    (FOLDER / f"{name}.json").write_text(json.dumps(places, indent=1, sort_keys=True) + "\n")
    print(f"{name}: {(FOLDER / f'{name}.onnx').stat().st_size} bytes")


def _place(content: bytes, array: Any) -> tuple[int, tuple[int, ...]]:
    """Return where the file holds an array, and in which order of its axes."""
    for axes in itertools.permutations(range(array.ndim)):
        found = content.find(np.ascontiguousarray(array.transpose(axes)).tobytes())
        if found >= 0:
            return found, axes
    raise SystemExit("a weight of the graph is not in the file as it is; nothing was written")


def _turn(one: Any, array: Any, axes: tuple[int, ...]) -> Any:
    """Let an initializer hold an array as the file does; return the node that turns it back."""
    name = one.name
    one.name = f"{name}.stored"
    one.ClearField("dims")
    one.dims.extend(array.transpose(axes).shape)
    back = [axes.index(axis) for axis in range(array.ndim)]
    return onnx.helper.make_node("Transpose", [one.name], [name], perm=back)


if __name__ == "__main__":
    sys.exit(main())
