"""Videos found by id under a folder, however a download left them."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from fdvs.datasets.videos import find_videos
from fdvs.errors import DataError
from fdvs.media.files import VIDEO_SUFFIXES


def put(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def found(folder: Path, *ids: str) -> dict[str, str]:
    paths = find_videos(folder, ids).paths
    return {one: path.relative_to(folder).as_posix() for one, path in paths.items()}


def test_suffixes_are_those_that_the_pipeline_builds(tmp_path: Path) -> None:
    names = {f"id{suffix[1:]}": f"id{suffix[1:]}{suffix}" for suffix in VIDEO_SUFFIXES}
    put(tmp_path, *names.values(), "text.txt", "sound.mp3")
    assert found(tmp_path, *names, "text", "sound") == names


@pytest.mark.parametrize(
    ("file", "video_id"),
    [
        ("video7010.mp4", "video7010"),
        ("deep/er/video7010.WEBM", "video7010"),
        ("1106/4010069381.mp4", "4010069381"),
        ("val/101/xHr8X2Wpmno.mkv.webm", "xHr8X2Wpmno"),
        ("-4wsuPCjDBc_5_15.avi", "-4wsuPCjDBc_5_15"),
        ("v_1QIUV7WYKXg.mkv", "1QIUV7WYKXg"),
        ("v_uqiMw7tQ1Cc.mp4", "v_uqiMw7tQ1Cc"),
        ("1@N0_265c.m4v", "1@N0_265c.m4v"),
        ("1@N0_265c.m4v.mp4", "1@N0_265c.m4v"),
        ("1@N0_265c.mp4", "1@N0_265c.m4v"),
        ("1@N0_5762.mp4", "1@N0_5762."),
        ("1@N0_5762..mp4", "1@N0_5762."),
        ("a.b.mp4", "a.b"),
    ],
)
def test_a_video_is_found_by_its_id(tmp_path: Path, file: str, video_id: str) -> None:
    put(tmp_path, file, "other.mp4")
    assert found(tmp_path, video_id) == {video_id: file}


@pytest.mark.parametrize("file", ["video70101.mp4", "video7010.txt", "video7010", "VIDEO7010.mp4"])
def test_what_only_looks_alike_is_not_taken(tmp_path: Path, file: str) -> None:
    put(tmp_path, file)
    assert found(tmp_path, "video7010") == {}


def test_missing_videos_are_counted_and_the_first_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    put(tmp_path, "a3.mp4")
    with caplog.at_level(logging.WARNING):
        result = find_videos(tmp_path, [f"a{i}" for i in range(8)])
    assert result.missing == ("a0", "a1", "a2", "a4", "a5", "a6", "a7")
    assert result.missing_words == "7 of 8 videos missing: a0, a1, a2, a4, a5, ..."
    assert result.missing_words in caplog.text


def test_a_few_missing_videos_are_all_named(tmp_path: Path) -> None:
    put(tmp_path, "a.mp4")
    assert find_videos(tmp_path, ["a", "b"]).missing_words == "1 of 2 videos missing: b"


def test_nothing_missing_says_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    put(tmp_path, "a.mp4")
    assert find_videos(tmp_path, ["a", "a"]).missing_words == ""
    assert caplog.text == ""


def test_of_two_files_the_first_by_name_is_taken_and_both_are_told(tmp_path: Path) -> None:
    put(tmp_path, "b/x.mp4", "a/x.webm")
    result = find_videos(tmp_path, ["x"])
    assert result.paths["x"] == tmp_path / "a" / "x.webm"
    assert result.duplicates == {"x": (tmp_path / "a" / "x.webm", tmp_path / "b" / "x.mp4")}


def test_the_id_alone_wins(tmp_path: Path) -> None:
    put(tmp_path, "x.mp4", "v_x.mp4", "v_y.mp4")
    first = find_videos(tmp_path, ["x", "y"])
    assert [path.name for path in first.paths.values()] == ["x.mp4", "v_y.mp4"]
    assert first.duplicates == {}


def test_a_broken_link_is_no_video_and_a_link_to_a_file_is_one(tmp_path: Path) -> None:
    put(tmp_path, "real.mp4")
    (tmp_path / "x.mp4").symlink_to(tmp_path / "absent.mp4")
    (tmp_path / "y.mp4").symlink_to(tmp_path / "real.mp4")
    (tmp_path / "loop").symlink_to(tmp_path)
    assert set(found(tmp_path, "x", "y")) == {"y"}


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        find_videos(tmp_path / "absent", ["a"])
