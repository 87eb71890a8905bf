"""Graphs of the offline preset: the vectors of the torch path, from the same fetched files."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fdvs.errors import ModelError, ModelUnavailable
from fdvs.models.cards import LoadSettings, load_card
from fdvs.models.embed import graph
from fdvs.models.factory import load_model
from fdvs.models.weights.fetch import model_folder

TORCH = LoadSettings(device="torch")
TEXTS = [
    "", "a", "A rabbit eats grass. " * 90, "Ünïcode Straße", "日本語 テキスト",
    *(f"sentence number {i} about ice and coffee {'x ' * i}" for i in range(50)),
]  # fmt: skip

BLOCKED = ("torch", "transformers", "sentence_transformers", "timm", "accelerate")
WITHOUT_TORCH = f"""
import sys

class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {BLOCKED!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name.partition(".")[0])

sys.meta_path.insert(0, Block())
"""


@pytest.fixture
def _models() -> None:
    for name in ("minilm-l6", "efficientnet-lite0"):
        try:
            model_folder(load_card(name))
        except ModelUnavailable as error:
            if os.environ.get("FDVS_REQUIRE_MODELS") == "1":
                pytest.fail(str(error))
            pytest.skip(str(error))


def test_graphs_hold_no_weights() -> None:
    for name in ("minilm-l6", "efficientnet-lite0"):
        assert graph.has_graph(load_card(name))
        assert len(graph._graphs().joinpath(f"{name}.onnx").read_bytes()) < 200_000
    assert not graph.has_graph(load_card("openclip-vit-b-32"))


@pytest.mark.needs_models
@pytest.mark.usefixtures("_models")
def test_texts_get_the_vectors_of_sentence_transformers() -> None:
    ours = load_model("minilm-l6", "text_embedder", LoadSettings())
    theirs = load_model("minilm-l6", "text_embedder", TORCH)
    assert type(ours).__name__ == "GraphSentenceEmbedder"
    assert type(theirs).__name__ == "SentenceEmbedder"
    assert ours.identity == theirs.identity
    assert np.abs(ours.embed_texts(TEXTS) - theirs.embed_texts(TEXTS)).max() < 1e-5
    assert ours.embed_texts([]).shape == (0, 384)
    alone = np.concatenate([ours.embed_texts([text]) for text in TEXTS])
    assert np.abs(alone - ours.embed_texts(TEXTS)).max() < 1e-5


@pytest.mark.needs_models
@pytest.mark.usefixtures("_models")
def test_pictures_get_the_features_and_classes_of_timm() -> None:
    ours = load_model("efficientnet-lite0", "image_embedder", LoadSettings())
    theirs = load_model("efficientnet-lite0", "image_embedder", TORCH)
    assert (type(ours).__name__, type(theirs).__name__) == (
        "GraphEfficientNet", "EfficientNetEmbedder",
    )  # fmt: skip
    assert ours.identity == theirs.identity
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 255, (90, 160, 3), dtype=np.uint8) for _ in range(9)]
    features, wanted = ours.embed_images(images), theirs.embed_images(images)
    assert np.abs(features - wanted).max() < 1e-5 * np.abs(wanted).max()
    assert np.abs(ours.probabilities(features) - theirs.probabilities(wanted)).max() < 1e-5
    assert ours.embed_images([]).shape == (0, 1280)


@pytest.mark.needs_models
@pytest.mark.usefixtures("_models")
@pytest.mark.parametrize("change", [{"device": "cuda"}, {"device": "torch"}, {"dtype": "bfloat16"}])
def test_another_device_or_number_type_asks_for_torch(change: dict[str, str]) -> None:
    card = load_card("minilm-l6")
    assert graph.runs_as_graph(card, LoadSettings())
    assert graph.runs_as_graph(card, LoadSettings(device="cpu", dtype="float32"))
    assert not graph.runs_as_graph(card, replace(LoadSettings(), **change))


def test_a_file_of_another_size_is_not_read_as_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = json.loads(graph._graphs().joinpath("minilm-l6.json").read_text("utf-8"))
    (tmp_path / places["file"]).write_bytes(b"short")
    monkeypatch.setattr(graph, "model_folder", lambda card: tmp_path)
    with pytest.raises(ModelError, match="does not hold"):
        graph.weights_file(load_card("minilm-l6"))
    assert not graph.runs_as_graph(load_card("minilm-l6"), LoadSettings())


def test_reading_a_library_imports_nothing_heavy() -> None:
    code = (
        "import sys, fdvs, fdvs.pipelines.cli.main, fdvs.pipelines.library;"
        "import fdvs.answers.answer, fdvs.search.moments, fdvs.pipelines.ask.asker;"
        f"print(sorted(set(sys.modules) & set({(*BLOCKED, 'av', 'onnxruntime', 'PIL')!r})))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"


@pytest.mark.needs_models
@pytest.mark.usefixtures("_models")
def test_a_film_is_built_searched_and_asked_without_torch(tmp_path: Path) -> None:
    code = f"""{WITHOUT_TORCH}
import av
import numpy as np
from fdvs import Library
from fdvs.pipelines.presets import preset
from collections.abc import Callable
from dataclasses import replace

def make(path):
    with av.open(path, "w") as out:
        stream = out.add_stream("mpeg4", rate=5, width=160, height=120)
        for i in range(60):
            picture = np.full((120, 160, 3), 40 + 3 * i, np.uint8)
            for packet in stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")):
                out.mux(packet)
        for packet in stream.encode():
            out.mux(packet)

make("film.mp4")
open("film.srt", "w").write("1\\n00:00:01,000 --> 00:00:04,000\\nA fox digs a deep hole.\\n")
config = preset("offline")
config = replace(config, perceive=replace(config.perceive, sources=("subtitles",)))
with Library.open("library", config=config) as library:
    report = library.build(["film.mp4"])
    print([row.status for row in report.rows])
    print(library.search("fox hole")[0].text)
    print(library.ask("What does the fox dig?").text)
print(sorted(set(sys.modules) & set({BLOCKED!r})))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    status, found, answer, heavy = done.stdout.splitlines()
    assert status == "['built']"
    assert "fox digs" in found
    assert "“A fox digs a deep hole.” [film.mp4 @ " in answer
    assert heavy == "[]"


DAMAGED = {
    "minilm-l6": ("model.safetensors", "text_embedder"),
    "efficientnet-lite0": ("efficientnet-lite0-57934424.pth", "image_embedder"),
}


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache with copies of the models that have graphs."""
    cache = tmp_path / "cache"
    for name in DAMAGED:
        shutil.copytree(model_folder(load_card(name)), cache / name)
    monkeypatch.setenv("FDVS_CACHE", str(cache))
    return cache


def flipped(data: bytes) -> bytes:
    return data[:-5000] + bytes(255 - byte for byte in data[-5000:])


@pytest.mark.needs_models
@pytest.mark.usefixtures("_models")
@pytest.mark.parametrize("settings", [LoadSettings(), TORCH], ids=["graph", "torch"])
@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (flipped, "is damaged: it is not what was fetched"),
        (lambda data: data[:-5000], "is missing or not what was fetched"),
        (lambda data: data + b"x", "is missing or not what was fetched"),
        (lambda data: b"", "is missing or not what was fetched"),
    ],
    ids=["garbled", "cut", "longer", "empty"],
)
@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_file_is_an_error_that_names_it_and_the_way_out(
    name: str, change: Callable[[bytes], bytes], problem: str, settings: LoadSettings,
    own_cache: Path,
) -> None:  # fmt: skip
    file, role = DAMAGED[name]
    path = own_cache / name / file
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(ModelError, match=f"{path} {problem}.*fdvs models fetch {name}"):
        load_model(name, role, settings)  # type: ignore[arg-type]


@pytest.mark.needs_models
@pytest.mark.usefixtures("_models")
@pytest.mark.parametrize("file", ["tokenizer.json", "sentence_bert_config.json"])
def test_a_damaged_file_beside_the_weights_is_named_too(file: str, own_cache: Path) -> None:
    path = own_cache / "minilm-l6" / file
    path.write_bytes(path.read_bytes().replace(b"e", b"x", 1))
    with pytest.raises(ModelError, match=f"{path} is damaged.*fdvs models fetch minilm-l6"):
        load_model("minilm-l6", "text_embedder", LoadSettings())


@pytest.mark.needs_models
@pytest.mark.usefixtures("_models")
def test_a_whole_copy_loads(own_cache: Path) -> None:
    assert load_model("minilm-l6", "text_embedder", LoadSettings()).embed_texts(["a"]).any()
