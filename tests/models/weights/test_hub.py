"""Models from the hub: one commit, recorded; offline; nothing but safetensors."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fdvs.errors import ModelUnavailable
from fdvs.models.cards import Card
from fdvs.models.weights import fetch, hub, manifests


class FakeHub:
    """Stands for huggingface_hub: one repository, resolved to one commit."""

    commit = "c" * 40

    def __init__(self, root: Path) -> None:
        self.root = root
        self.asked: list[dict[str, Any]] = []

    def model_info(self, repository: str, *, revision: str | None) -> Any:
        self.asked.append({"info": repository, "revision": revision})
        return type("Info", (), {"sha": self.commit})()

    def snapshot_download(self, repository: str, **settings: Any) -> Any:
        folder = self.root / self.commit
        if settings.pop("dry_run", False):
            return [
                SimpleNamespace(filename=one.name, file_size=one.stat().st_size, will_download=True)
                for one in sorted(folder.iterdir()) if one.suffix in {".json", ".safetensors"}
            ]  # fmt: skip
        self.asked.append({"download": repository, **settings})
        return str(folder)


@pytest.fixture
def fake_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeHub:
    import huggingface_hub

    made = FakeHub(tmp_path / "hub")
    folder = made.root / made.commit
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "config.json").write_text("{}")
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: made)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", made.snapshot_download)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.delenv("TRANSFORMERS_OFFLINE", raising=False)
    return made


def test_a_hub_model_is_resolved_once_and_its_commit_and_hashes_are_recorded(
    model_cache: Path, fake_hub: FakeHub
) -> None:
    name = "transformers:owner/model"
    (fetched,) = fetch.fetch(names=[name])
    assert (fetched.status, fetched.revision) == ("fetched", fake_hub.commit)
    assert fake_hub.asked[0] == {"info": "owner/model", "revision": None}
    download = fake_hub.asked[1]
    assert download["revision"] == fake_hub.commit
    assert "*.safetensors" in download["allow_patterns"]
    assert not any("bin" in p or ".py" in p for p in download["allow_patterns"])
    manifest = json.loads((manifests.home_of(name) / manifests.MANIFEST).read_text())
    assert manifest["source"]["commit"] == fake_hub.commit
    sha = hashlib.sha256(b"weights").hexdigest()
    assert manifest["files"]["model.safetensors"] == {"num_bytes": 7, "sha256": sha}
    (again,) = fetch.fetch(names=[name])
    assert again.status == "present"
    assert len(fake_hub.asked) == 2
    card = Card(name=name, role="llm", backend="transformers", target="owner/model")
    assert fetch.model_folder(card) == fake_hub.root / fake_hub.commit
    assert fetch.identity_of(card).revision == fake_hub.commit


def test_what_another_program_keeps_beside_the_files_is_not_the_models(
    model_cache: Path, fake_hub: FakeHub
) -> None:
    """The hub's cache is shared: another program may have fetched the pickles before."""
    name = "transformers:owner/model"
    (fake_hub.root / fake_hub.commit / "pytorch_model.bin").write_bytes(b"pickle")
    fetch.fetch(names=[name])
    manifest = manifests.read_manifest(name)
    assert manifest is not None
    assert set(manifest.files) == {"model.safetensors", "config.json"}


def test_a_pinned_revision_and_own_files_are_asked_for(
    model_cache: Path, fake_hub: FakeHub, use_cards: Callable[..., None]
) -> None:
    card = Card(
        name="clip",
        role="image_embedder",
        backend="open_clip",
        target="owner/model",
        revision=fake_hub.commit,
        options={"files": ["a.safetensors"]},
    )
    use_cards(card)
    fetch.fetch(names=["clip"])
    assert fake_hub.asked[0]["revision"] == fake_hub.commit
    assert fake_hub.asked[1]["allow_patterns"] == ["a.safetensors"]
    other = Card(name="clip", role="llm", backend="x", target="owner/model", revision="d" * 40)
    with pytest.raises(ModelUnavailable, match="not on this machine"):
        fetch.model_folder(other)


def test_offline_only_the_hubs_cache_is_asked(
    model_cache: Path, fake_hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (fetched,) = fetch.fetch(names=["transformers:owner/model"])
    assert fetched.revision == fake_hub.commit
    assert [sorted(asked) for asked in fake_hub.asked] == [
        ["download", "local_files_only", "revision"]
    ]


def test_a_repository_without_safetensors_is_refused_with_the_way_out(
    model_cache: Path, fake_hub: FakeHub
) -> None:
    (fake_hub.root / fake_hub.commit / "model.safetensors").unlink()
    with pytest.raises(ModelUnavailable, match=r"pickles are not loaded.*save_pretrained"):
        fetch.fetch(names=["transformers:owner/model"])


def test_whatever_the_hubs_client_raises_becomes_one_line(
    model_cache: Path, fake_hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    def fail(repository: str, **settings: Any) -> str:
        raise ConnectionError("no\nroute " + "x" * 1000)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    with pytest.raises(ModelUnavailable, match=r"from the hub \(ConnectionError\): no route") as e:
        fetch.fetch(names=["transformers:owner/model"])
    assert len(str(e.value)) < 450
    assert "\n" not in str(e.value)


def test_offline_and_not_in_the_hubs_cache_is_a_clear_error(
    model_cache: Path, tmp_path: Path
) -> None:
    """The real client with HF_HUB_OFFLINE in a process of its own (it reads it at import)."""
    code = (
        "from fdvs.models.weights.fetch import fetch\nfrom fdvs.errors import ModelUnavailable\n"
        "try: fetch(names=['transformers:owner/none'])\n"
        "except ModelUnavailable as e: print('said:', e)\n"
    )
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hf")}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert "said: cannot get owner/none from the hub (HF_HUB_OFFLINE is set)" in done.stdout


@pytest.mark.parametrize("name", ["../x", "a/b/c", "", "-x/y", "a b", "x/..", "owner/na..me"])
def test_only_names_of_repositories_reach_the_hub(name: str) -> None:
    assert not hub.is_repository_name(name)
    with pytest.raises(ModelUnavailable, match="neither a folder here nor"):
        hub.snapshot(name)
