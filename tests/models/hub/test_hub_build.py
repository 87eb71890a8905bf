"""`fdvs build --fetch` of a preset from empty caches to a finished library, by tiny random weights.

The repositories have the presets' names; processors, templates and loaders are those of the real
families. What the words mean is not checked: the weights are random.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch

from fdvs.models.weights.manifests import cache_root

from .conftest import Run
from .stand_in_hub import Repository, StandInHub


def make_film(path: Path) -> Path:
    """Six seconds of two coloured halves that move; a key frame every second."""
    import av
    import numpy as np

    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.gop_size = 96, 64, 10
        for number in range(60):
            picture = np.zeros((64, 96, 3), np.uint8)
            picture[:, : 16 + number] = (40 * (number // 10), 200, 90)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture)))
        container.mux(stream.encode())
    return path


@pytest.mark.slow
def test_laptop_from_nothing_to_a_library(
    hub: StandInHub,
    fdvs: Run,
    checkpoint: Callable[[str], Path],
    clip_folder: Path,
    tmp_path: Path,
    needs_models: None,
) -> None:
    shutil.copytree(cache_root() / "minilm-l6", tmp_path / "models" / "minilm-l6")
    film = make_film(tmp_path / "film.mp4")
    build = ("build", str(film), "--preset", "laptop", "-l", str(tmp_path / "library"), "--json")
    asked_nothing = fdvs(*build)
    assert asked_nothing.returncode == 2
    told = asked_nothing.stderr
    assert "2 models' weights are not on this machine: openclip-vit-b-32 (605 MB)" in told
    assert "smolvlm2-500m-video (2.0 GB), 2.6 GB in all" in told
    assert "fdvs models fetch openclip-vit-b-32 smolvlm2-500m-video (or build with --fetch)" in told
    assert not hub.requests
    for name, folder in {
        "HuggingFaceTB/SmolVLM2-500M-Video-Instruct": checkpoint("smolvlm"),
        "laion/CLIP-ViT-B-32-laion2B-s34B-b79K": clip_folder,
        "Qwen/Qwen2.5-1.5B-Instruct": clip_folder,  # for answers; not loaded here
    }.items():
        hub.repositories[name] = Repository(folder=folder)
    done = fdvs(*build, "--fetch")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    assert [row["status"] for row in report["rows"]] == ["built"]
    assert not report["num_failed"]
    assert "smolvlm2-500m-video" in report["backends"]["captioner"]
    hub.requests.clear()
    again = fdvs(*build)
    assert again.returncode == 0, again.stderr
    assert not hub.requests


@pytest.mark.slow
def test_gpu_describes_writes_and_answers_with_one_set_of_weights(
    hub: StandInHub,
    fdvs: Run,
    checkpoint: Callable[[str], Path],
    clip_folder: Path,
    tmp_path: Path,
    needs_models: None,
) -> None:
    """On a processor, by tiny weights: the captioner writes chapters and story, too."""
    shutil.copytree(cache_root() / "minilm-l6", tmp_path / "models" / "minilm-l6")
    film = make_film(tmp_path / "film.mp4")
    hub.repositories["Qwen/Qwen3-VL-4B-Instruct"] = Repository(folder=checkpoint("qwen3_vl"))
    hub.repositories["laion/CLIP-ViT-L-14-DataComp.XL-s13B-b90K"] = Repository(folder=clip_folder)
    place = ("-l", str(tmp_path / "library"), "--json")
    done = fdvs("build", str(film), "--preset", "gpu", "--fetch", *place)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    assert [row["status"] for row in report["rows"]] == ["built"]
    backends = report["backends"]
    assert "qwen3-vl-4b" in backends["captioner"]
    assert "qwen3-vl-4b" in backends["llm"]
    asked = fdvs("ask", "What does the dog do?", *place)
    assert asked.returncode == 0, asked.stderr


@pytest.mark.slow
def test_paper_from_nothing_to_a_library(
    hub: StandInHub,
    fdvs: Run,
    checkpoint: Callable[[str], Path],
    clip_folder: Path,
    detector_folder: Path,
    classifier_folder: Path,
    sentence_folder: Path,
    llama_folder: Path,
    tmp_path: Path,
) -> None:
    """Six models, one of them by pickles; nothing of it comes from a package registry."""
    film = make_film(tmp_path / "film.mp4")
    pickled = tmp_path / "pickled"
    shutil.copytree(llama_folder, pickled)
    (pickled / "model.safetensors").unlink()
    weights = safetensors.torch.load_file(llama_folder / "model.safetensors")
    torch.save(weights, pickled / "pytorch_model.bin")
    config = json.loads((pickled / "config.json").read_text()) | {"max_position_embeddings": 4096}
    (pickled / "config.json").write_text(json.dumps(config))
    for name, folder in {
        "Salesforce/blip2-flan-t5-xl": checkpoint("blip2_t5"),
        "timm/vit_base_patch32_clip_224.openai": clip_folder,
        "IDEA-Research/grounding-dino-tiny": detector_folder,
        "MCG-NJU/videomae-base-finetuned-kinetics": classifier_folder,
        "sentence-transformers/bert-base-nli-mean-tokens": sentence_folder,
        "lmsys/vicuna-7b-v1.5": pickled,
    }.items():
        hub.repositories[name] = Repository(folder=folder)
    place = ("-l", str(tmp_path / "library"), "--json")
    done = fdvs("build", str(film), "--preset", "paper", "--fetch", *place)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    assert [row["status"] for row in report["rows"]] == ["built"]
    names = {name.partition("@")[0] for name in report["backends"].values()}
    assert {"blip2-flan-t5-xl", "grounding-dino", "vicuna-7b-v1.5"} <= names
