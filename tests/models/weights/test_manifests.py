"""The model cache: where it lies, hashes that are remembered, manifests that are not believed."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from fdvs.fingerprint import digest
from fdvs.models.weights import manifests


def test_the_cache_lies_in_the_users_cache_unless_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FDVS_CACHE", raising=False)
    assert manifests.cache_root().parts[-2:] == ("fdvs", "models")
    monkeypatch.setenv("FDVS_CACHE", "~/elsewhere")
    assert manifests.cache_root() == Path.home() / "elsewhere"


def test_the_weights_hash_sees_content_and_names_and_not_hidden_files(
    model_cache: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "m"
    folder.mkdir()
    (folder / "a").write_bytes(b"1")
    one = hashlib.sha256(b"1").hexdigest()
    assert manifests.weights_sha256(folder) == digest([["a", one]])
    (folder / ".hidden").write_bytes(b"x")
    (folder / manifests.MANIFEST).write_text("{}")
    assert manifests.weights_sha256(folder) == digest([["a", one]])
    (folder / "a").rename(folder / "b")
    assert manifests.weights_sha256(folder) == digest([["b", one]])
    (folder / "b").write_bytes(b"22")
    assert manifests.weights_sha256(folder) == digest([["b", hashlib.sha256(b"22").hexdigest()]])


def test_an_unchanged_file_is_hashed_once(
    model_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "w").write_bytes(b"1")
    first = manifests.weights_sha256(tmp_path / "w")

    def refuse(path: Path) -> str:
        raise AssertionError(f"hashed again: {path}")

    monkeypatch.setattr(manifests, "file_sha256", refuse)
    assert manifests.weights_sha256(tmp_path / "w") == first


def test_hashes_of_files_that_are_gone_are_forgotten(model_cache: Path, tmp_path: Path) -> None:
    for name in ("old", "new"):
        (tmp_path / name).write_bytes(b"1")
    manifests.weights_sha256(tmp_path / "old")
    (tmp_path / "old").unlink()
    manifests.weights_sha256(tmp_path / "new")
    known = manifests.read_json(model_cache / manifests.HASHES)
    assert [Path(path).name for path in known] == ["new"]


@pytest.mark.parametrize("content", ["", "[]", '{"x": 1}', "{"])
def test_a_broken_hash_memory_is_ignored(content: str, model_cache: Path, tmp_path: Path) -> None:
    (tmp_path / "w").write_bytes(b"1")
    want = manifests.weights_sha256(tmp_path / "w")
    (model_cache / manifests.HASHES).write_text(content)
    assert manifests.weights_sha256(tmp_path / "w") == want


def test_hashes_are_right_where_the_cache_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "w").write_bytes(b"1")
    monkeypatch.setenv("FDVS_CACHE", str(tmp_path / "w" / "cache"))
    assert manifests.weights_sha256(tmp_path / "w") == digest(
        [["w", hashlib.sha256(b"1").hexdigest()]]
    )


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        {"name": "x"},
        {"name": "x", "source": {}, "folder": ".", "files": {"a": {"sha256": "x"}}},
        {"name": "x", "source": {}, "folder": ".", "files": {"a": {"sha256": "", "num_bytes": ""}}},
    ],
)
def test_what_is_no_manifest_is_not_believed(value: Any) -> None:
    assert manifests.parse_manifest(value) is None


def test_a_json_file_over_the_limit_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "j").write_text("[1, 2]")
    assert manifests.read_json(tmp_path / "j") == [1, 2]
    monkeypatch.setattr(manifests, "MAX_JSON_BYTES", 3)
    assert manifests.read_json(tmp_path / "j") is None


def test_a_failed_write_leaves_the_old_file_and_no_scrap(tmp_path: Path) -> None:
    manifests.write_json(tmp_path / "j", [1])
    with pytest.raises(TypeError):
        manifests.write_json(tmp_path / "j", [object()])
    assert [p.name for p in tmp_path.iterdir()] == ["j"]
    assert manifests.read_json(tmp_path / "j") == [1]


def test_a_file_that_was_not_fetched_does_not_make_another_model(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    (tmp_path / "config.json").write_text("{}")
    names = ("model.safetensors", "config.json")
    before = manifests.weights_sha256(tmp_path, names)
    assert before == manifests.weights_sha256(tmp_path)
    (tmp_path / "README.md").write_text("added by another program")
    assert manifests.weights_sha256(tmp_path, names) == before
    assert manifests.weights_sha256(tmp_path) != before
    (tmp_path / "config.json").write_text("[]")
    assert manifests.weights_sha256(tmp_path, names) != before
