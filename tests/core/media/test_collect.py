"""From typed paths to media files."""

from __future__ import annotations

from pathlib import Path

import pytest

from fdvs.errors import MissingVideo
from fdvs.media.files import collect


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.mp4", "a.MKV", "sub/c.webm", "sub/deep/d.mp3", "notes.txt", "sub/cover.jpg"):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x")
    return tmp_path


def names(folder: Path, given: list[str | Path]) -> list[str]:
    return [str(file.relative_to(folder)) for file in collect(given).files]


def test_a_folder_is_walked_and_only_media_suffixes_are_rows(folder: Path) -> None:
    assert names(folder, [folder]) == ["a.MKV", "b.mp4", "sub/c.webm", "sub/deep/d.mp3"]
    assert collect([folder]).num_ignored == 2


def test_a_file_given_twice_is_one_row(folder: Path) -> None:
    assert names(folder, [folder / "b.mp4", folder, folder / "sub" / ".." / "b.mp4"])[0] == "b.mp4"
    assert len(collect([folder / "b.mp4", folder]).files) == 4


def test_a_pattern_is_expanded(folder: Path) -> None:
    assert names(folder, [str(folder / "**" / "*.webm")]) == ["sub/c.webm"]


def test_a_name_with_brackets_that_exists_is_a_file_and_no_pattern(folder: Path) -> None:
    (folder / "x[1].mp4").write_bytes(b"x")
    assert names(folder, [str(folder / "x[1].mp4")]) == ["x[1].mp4"]


@pytest.mark.parametrize("missing", ["nothing.mp4", "no-*.mp4", "no/folder"])
def test_what_does_not_exist_is_an_error_that_names_it(folder: Path, missing: str) -> None:
    with pytest.raises(MissingVideo, match="no such file or folder"):
        collect([folder / missing])


def test_a_broken_link_is_a_row_of_its_own(folder: Path) -> None:
    (folder / "gone.mp4").symlink_to(folder / "nowhere.mp4")
    assert "gone.mp4" in names(folder, [folder])


def test_another_suffix_is_counted_and_ignored(folder: Path) -> None:
    collected = collect([folder / "notes.txt"])
    assert (collected.files, collected.num_ignored) == ((), 1)


def test_a_name_that_is_not_utf8_is_a_row(folder: Path) -> None:
    import os

    raw = os.fsencode(folder) + b"/caf\xe9.mp4"
    Path(os.fsdecode(raw)).write_bytes(b"x")
    assert raw in [os.fsencode(file) for file in collect([folder]).files]
