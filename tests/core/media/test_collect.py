"""From typed paths to media files."""

from __future__ import annotations

import errno
import os
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
    (folder / "loop.mp4").symlink_to(folder / "loop.mp4")
    assert {"gone.mp4", "loop.mp4"} <= set(names(folder, [folder]))


def test_a_text_is_counted_and_ignored_also_where_it_is_named(folder: Path) -> None:
    collected = collect([folder / "notes.txt"])
    assert (collected.files, collected.num_ignored) == ((), 1)


@pytest.mark.parametrize("name", ["VTS_01_1.VOB", "track.dat", "film", "film.mp4.part"])
def test_a_file_that_is_named_is_taken_whatever_its_suffix(folder: Path, name: str) -> None:
    (folder / name).write_bytes(b"\0\0\x01\xba" * 99)
    assert names(folder, [folder / name]) == [name]


@pytest.mark.parametrize(
    "head", [b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n\0", b"PK\x03\x04\0", b"1\n0"]
)
def test_pictures_archives_and_texts_that_are_named_are_ignored(folder: Path, head: bytes) -> None:
    (folder / "other.bin").write_bytes(head * 9)
    assert collect([folder / "other.bin"]).num_ignored == 1


def test_a_folder_of_a_dvd_is_walked(folder: Path) -> None:
    (folder / "VTS_01_1.VOB").write_bytes(b"\0\0\x01\xba")
    assert "VTS_01_1.VOB" in names(folder, [folder])


def test_typescript_is_no_transport_stream(folder: Path) -> None:
    (folder / "index.ts").write_text("export const answer = 42;\n")
    (folder / "film.ts").write_bytes((b"G" + bytes(187)) * 9)
    assert "film.ts" in names(folder, [folder])
    assert "index.ts" not in names(folder, [folder])
    assert collect([folder]).num_ignored == 3


@pytest.mark.parametrize(
    "litter", ["._b.mp4", ".hidden.mp4", ".Trash/t.mp4", "@eaDir/b.mp4", "sub/#recycle/gone.mp4"]
)
def test_hidden_files_and_litter_are_skipped(folder: Path, litter: str) -> None:
    before = collect([folder])
    file = folder / litter
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"x")
    assert collect([folder]) == before
    assert names(folder, [file]) == [litter]


def test_a_linked_folder_is_followed_and_the_real_one_comes_first(folder: Path) -> None:
    elsewhere = folder / "sub"
    top = folder / "top"
    (top / "z").mkdir(parents=True)
    (top / "z" / "own.mp4").write_bytes(b"x")
    (top / "a_link").symlink_to(top / "z")
    (top / "more").symlink_to(elsewhere)
    found = names(folder, [top])
    assert found == ["top/z/own.mp4", "top/more/c.webm", "top/more/deep/d.mp3"]


def test_links_that_lead_back_are_not_followed_and_named(folder: Path) -> None:
    (folder / "sub" / "up").symlink_to(folder)
    (folder / "self").symlink_to(folder)
    collected = collect([folder])
    assert len(collected.files) == 4
    [note] = collected.notes
    assert note.startswith("links to a folder above them, not followed: ")
    assert str(folder / "sub" / "up") in note


def test_links_between_two_folders_end(folder: Path) -> None:
    one, two = folder / "one", folder / "two"
    for here, there in ((one, two), (two, one)):
        here.mkdir()
        (here / "link").symlink_to(there)
        (here / f"{here.name}.mp4").write_bytes(b"x")
    assert names(folder, [one]) == ["one/one.mp4", "one/link/two.mp4"]


def test_a_folder_that_cannot_be_read_is_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = os.scandir

    def refusing(path: Path) -> object:
        if Path(path).name == "deep":
            raise PermissionError(errno.EACCES, "Permission denied")
        return listed(path)

    monkeypatch.setattr("fdvs.media.files.os.scandir", refusing)
    collected = collect([folder])
    assert collected.notes == (f"not searched: {folder / 'sub' / 'deep'} (Permission denied)",)
    assert len(collected.files) == 3


def test_a_path_that_is_too_long_is_named(folder: Path) -> None:
    here = os.open(folder, os.O_RDONLY)
    for _ in range(20):
        os.mkdir("d" * 250, dir_fd=here)
        below = os.open("d" * 250, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    [note] = collect([folder]).notes
    assert note.endswith("(File name too long)")


def test_brackets_in_the_name_of_a_folder_are_no_pattern(folder: Path) -> None:
    (folder / "films [2019]").mkdir()
    (folder / "films [2019]" / "x.mp4").write_bytes(b"x")
    assert names(folder, [str(folder / "films [2019]" / "*.mp4")]) == ["films [2019]/x.mp4"]


def test_patterns_choose_among_what_is_found(folder: Path) -> None:
    chosen = collect([folder], include=["*.mkv", "*.mp3"])
    assert [file.name for file in chosen.files] == ["a.MKV", "d.mp3"]
    rest = collect([folder], exclude=["sub/*"])
    assert [file.name for file in rest.files] == ["a.MKV", "b.mp4"]
    assert [file.name for file in collect([folder], exclude=["DEEP", "b.*"]).files] == [
        "a.MKV",
        "c.webm",
    ]
    assert len(collect([folder / "b.mp4"], exclude=["*"]).files) == 1


def test_a_name_that_is_not_utf8_is_a_row(folder: Path) -> None:
    raw = os.fsencode(folder) + b"/caf\xe9.mp4"
    Path(os.fsdecode(raw)).write_bytes(b"x")
    assert raw in [os.fsencode(file) for file in collect([folder]).files]
