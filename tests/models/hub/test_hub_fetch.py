"""`fdvs models fetch` from a stand-in hub: what is downloaded, resumed, refused and said."""

from __future__ import annotations

import io
import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fdvs.models.cards import Card
from fdvs.models.weights.fetch import preset_cards
from fdvs.models.weights.manifests import cache_root

from .conftest import Run
from .stand_in_hub import StandInHub

Publish = Callable[[str, dict[str, bytes]], Path]
NAME, REPOSITORY = "transformers:owner/model", "owner/model"
#: What lies beside safetensors in published repositories and must never be downloaded.
BESIDE = {
    "README.md": b"# A model", ".gitattributes": b"*.bin lfs", "model.py": b"raise SystemExit",
    "pytorch_model.bin": b"\x80\x04pickle", "onnx/model.onnx": b"onnx", "onnx/config.json": b"{}",
    "runs/events.json": b"{}", "tf_model.h5": b"h5", "pytorch_model.bin.index.json": b"{}",
}  # fmt: skip
WANTED = {
    "config.json": b"{}", "tokenizer.json": b'{"a": 1}', "merges.txt": b"a b\n",
    "chat_template.jinja": b"{{ x }}", "model-00001-of-00002.safetensors": b"w" * 3000,
    "model-00002-of-00002.safetensors": b"v" * 2000, "model.safetensors.index.json": b"{}",
    "1_Pooling/config.json": b"{}",
    "open_clip_config.json": b"{}", "open_clip_model.safetensors": b"c" * 1000,
}  # fmt: skip


def pickles() -> dict[str, bytes]:
    """Weights of one tensor, as torch pickles them."""
    import torch

    out = io.BytesIO()
    torch.save({"a": torch.ones(4)}, out)
    return {"pytorch_model.bin": out.getvalue()}


def hub_cards(preset: str) -> list[Card]:
    return [card for card in preset_cards(preset) if card.wheel is None and "/" in card.target]


def wheel_models(preset: str) -> list[str]:
    return [card.name for card in preset_cards(preset) if card.wheel is not None]


@pytest.mark.parametrize("preset", ["laptop", "gpu", "paper"])
def test_a_preset_is_fetched_once_from_an_empty_cache(
    preset: str, hub: StandInHub, fdvs: Run, publish: Publish, tmp_path: Path, needs_models: None
) -> None:
    """Models that come in wheels need a package registry: they are copied from this machine's."""
    for name in wheel_models(preset):
        shutil.copytree(cache_root() / name, tmp_path / "models" / name)
    cards = hub_cards(preset)
    for card in cards:
        publish(card.target, WANTED | BESIDE | (pickles() if card.pickled else {}))
    done = fdvs("models", "fetch", "--preset", preset, "--json")
    assert done.returncode == 0, done.stderr
    rows = {row["name"]: row for row in json.loads(done.stdout)["models"]}
    for card in cards:
        assert (rows[card.name]["status"], rows[card.name]["revision"]) == ("fetched", "a" * 40)
        if card.pickled:
            continue  # see test_pickles_are_converted_once
        wanted = card.options.get("files", WANTED)
        assert rows[card.name]["num_bytes"] == sum(len(WANTED[name]) for name in wanted)
        assert f"{card.name}: fetching 1 MB from {card.target}" in done.stderr
    told = {f"{card.target}/{name}" for card in cards if not card.pickled for name in BESIDE}
    assert not hub.downloads() & told
    before = dict(hub.sent)
    again = fdvs("models", "fetch", "--preset", preset, "--json")
    assert {row["status"] for row in json.loads(again.stdout)["models"]} <= {
        "present", "nothing to fetch",
    }  # fmt: skip
    assert dict(hub.sent) == before


def test_a_download_that_breaks_off_goes_on_where_it_was(
    hub: StandInHub, fdvs: Run, publish: Publish, tmp_path: Path
) -> None:
    """The client writes 10 MiB at a time, and asks for what it has not written."""
    size, at, written = 25 << 20, 21 << 20, 20 << 20
    data = bytes(range(256)) * (size // 256)
    publish(REPOSITORY, {"config.json": b"{}", "model.safetensors": data})
    hub.repositories[REPOSITORY].breaks["model.safetensors"] = [at, size]
    done = fdvs("models", "fetch", NAME, "--json")
    assert done.returncode == 0, done.stderr
    assert hub.sent[f"{REPOSITORY}/model.safetensors"] == at + size - written
    (found,) = (tmp_path / "hf").rglob("snapshots/*/model.safetensors")
    assert found.read_bytes() == data


def test_a_network_that_is_away_is_waited_for_then_told_and_whole_files_are_kept(
    hub: StandInHub, python: Run, publish: Publish
) -> None:
    first, second = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
    publish(REPOSITORY, WANTED)
    hub.repositories[REPOSITORY].breaks[second] = [0]
    code = "from fdvs.models.weights import hub\nhub.WAITS_S = (0.1,)\n"
    code += f"hub.snapshot({REPOSITORY!r})"
    failed = python(code)
    assert "ModelUnavailable" in failed.stderr
    assert "run this again: the files that came whole are kept" in failed.stderr
    num_asked = hub.requests.count(("GET", f"/{REPOSITORY}/resolve/{'a' * 40}/{second}"))
    assert num_asked == 2 * 6  # of the client's own tries, twice
    assert hub.sent[f"{REPOSITORY}/{first}"] == len(WANTED[first])
    hub.repositories[REPOSITORY].breaks.clear()
    hub.sent.clear()
    assert python(code).returncode == 0
    assert hub.downloads() == {f"{REPOSITORY}/{second}"}


def test_what_is_missing_is_told_apart(hub: StandInHub, fdvs: Run, publish: Publish) -> None:
    said = fdvs("models", "fetch", NAME).stderr
    assert "no such repository, or it is private" in said
    assert f"{hub.endpoint}/{REPOSITORY}" in said
    publish(REPOSITORY, {"pytorch_model.bin": b"\x80", "config.json": b"{}"})
    said = fdvs("models", "fetch", NAME).stderr
    assert "no safetensors weights (pickles are not loaded)" in said
    assert not hub.downloads()


@pytest.mark.parametrize("token", ["", "hf_not_agreed"])
def test_a_gated_repository_says_where_to_agree(
    token: str, hub: StandInHub, fdvs: Run, publish: Publish
) -> None:
    publish(REPOSITORY, WANTED)
    hub.repositories[REPOSITORY].gated = True
    failed = fdvs("models", "fetch", NAME, HF_TOKEN=token)
    assert failed.returncode == 2
    assert "its makers ask for consent first" in failed.stderr
    assert f"{hub.endpoint}/{REPOSITORY}" in failed.stderr
    assert "no such repository" not in failed.stderr
    done = fdvs("models", "fetch", NAME, HF_TOKEN=hub.token)
    assert done.returncode == 0, done.stderr
    assert hub.token not in done.stderr + done.stdout


def test_a_revision_that_is_not_there_is_named(
    hub: StandInHub, publish: Publish, python: Run
) -> None:
    publish(REPOSITORY, WANTED)
    code = "from fdvs.models.weights import hub\n"
    code += f"print(hub.snapshot({REPOSITORY!r}, 'main').commit)\n"
    code += f"hub.snapshot({REPOSITORY!r}, 'v9')"
    done = python(code)
    assert done.stdout.strip() == "a" * 40
    assert "ModelUnavailable: cannot get owner/model: it has no revision 'v9'" in done.stderr
    assert "allowed: a branch, a tag or a commit" in done.stderr


def test_a_hub_that_is_not_there_says_so(fdvs: Run) -> None:
    failed = fdvs("models", "fetch", NAME, HF_ENDPOINT="http://127.0.0.1:9")
    assert failed.returncode == 2
    assert "check the network" in failed.stderr
    assert "consent" not in failed.stderr


def test_a_disk_that_is_too_small_is_told_before_anything_is_downloaded(
    hub: StandInHub, publish: Publish, python: Run
) -> None:
    publish(REPOSITORY, WANTED)
    code = "import shutil\nfrom fdvs.models.weights import hub\n"
    code += "usage = type('Usage', (), {'free': hub.SPARE_BYTES + 1000})\n"
    code += f"shutil.disk_usage = lambda path: usage\nhub.snapshot({REPOSITORY!r})"
    said = python(code).stderr
    assert "ModelUnavailable: owner/model: 1 MB are missing and 500 MB are free" in said
    assert "HF_HOME" in said
    assert not hub.downloads()


def test_pickles_are_converted_once_to_the_same_tensors(
    fdvs: Run, python: Run, publish: Publish, llama_folder: Path, tmp_path: Path
) -> None:
    """Vicuna's files: two shards, an index of pickles, tokenizer; no safetensors."""
    import torch
    from safetensors.torch import load_file

    tensors = load_file(llama_folder / "model.safetensors")
    folder = publish("lmsys/vicuna-7b-v1.5", {"pytorch_model.bin.index.json": b"{}"})
    for path in llama_folder.glob("*.json"):
        shutil.copyfile(path, folder / path.name)
    names = sorted(tensors)
    for number, part in enumerate((names[::2], names[1::2]), start=1):
        shard = {name: tensors[name] for name in part}
        torch.save(shard, folder / f"pytorch_model-0000{number}-of-00002.bin")
    done = fdvs("models", "fetch", "vicuna-7b-v1.5", "--json")
    assert done.returncode == 0, done.stderr
    made = tmp_path / "models" / "vicuna-7b-v1.5"
    found = {}
    for path in made.glob("*.safetensors"):
        found |= load_file(path)
    assert found.keys() == tensors.keys()
    assert all(torch.equal(found[name], tensors[name]) for name in tensors)
    assert not list(made.rglob("*.bin*"))
    code = "from fdvs.models.cards import LoadSettings\n"
    code += "from fdvs.models.factory import load_model\n"
    code += "model = load_model('vicuna-7b-v1.5', 'llm', LoadSettings(device='cpu'))\n"
    code += "print(model.identity.revision, model.write('', 'what moves', max_tokens=3).num_tokens)"
    again = fdvs("models", "fetch", "vicuna-7b-v1.5")
    assert "present" in again.stdout
    assert python(code).stdout.split()[0] == "a" * 40


def test_a_pickle_that_would_run_code_is_refused_and_leaves_nothing(
    fdvs: Run, publish: Publish, tmp_path: Path
) -> None:
    evil = pickle.dumps(Evil(tmp_path / "ran"))
    publish("lmsys/vicuna-7b-v1.5", {"config.json": b"{}", "pytorch_model.bin": evil})
    failed = fdvs("models", "fetch", "vicuna-7b-v1.5")
    assert failed.returncode == 2
    assert "holds more than plain tensors, or is damaged" in failed.stderr
    assert not (tmp_path / "ran").exists()
    assert not list((tmp_path / "models").glob("vicuna*"))


class Evil:
    """A pickle that writes a file when it is read as one."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.write_text, (self.target, "ran"))
