"""Time codes, citations, fingerprints, registry, errors and reports."""

from __future__ import annotations

from pathlib import Path

import pytest

from fdvs.errors import UnknownName
from fdvs.files import write_whole
from fdvs.fingerprint import canonical_json, digest, file_sha256, fingerprint
from fdvs.registry import Registry
from fdvs.report import BuildReport, BuildRow, total
from fdvs.text.timecode import citation, timecode
from fdvs.types import Clip, ModelIdentity, Saved


@pytest.mark.parametrize(
    ("time_s", "text"),
    [
        (0, "0:00"),
        (59.99, "0:59"),
        (60, "1:00"),
        (3599.9, "59:59"),
        (3600, "1:00:00"),
        (36610, "10:10:10"),
    ],
)
def test_a_time_is_shown_in_minutes_and_hours_from_an_hour_on(time_s: float, text: str) -> None:
    assert timecode(time_s) == text


@pytest.mark.parametrize("time_s", [-1, float("nan"), float("inf")])
def test_a_time_that_is_none_is_an_error(time_s: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        timecode(time_s)


def test_a_citation_covers_its_stretch() -> None:
    assert citation("a b.mp4", 59.2, 61.11) == "[a b.mp4 @ 0:59-1:02]"


def test_equal_values_have_equal_fingerprints_whatever_their_order() -> None:
    assert fingerprint("s", 1, a={"x": 1, "y": [1, 2]}) == fingerprint(
        "s", 1, a={"y": [1, 2], "x": 1}
    )


@pytest.mark.parametrize("other", [("s", 2, 1), ("t", 1, 1), ("s", 1, 2)])
def test_stage_version_and_value_all_count(other: tuple[str, int, int]) -> None:
    assert fingerprint("s", 1, a=1) != fingerprint(other[0], other[1], a=other[2])


def test_a_dataclass_counts_by_its_fields_and_a_foreign_object_is_refused() -> None:
    one = ModelIdentity(role="r", backend="b", name="n")
    assert digest(one) == digest(ModelIdentity(role="r", backend="b", name="n"))
    assert canonical_json({"p": Path("a/b")}) == '{"p":"a/b"}'
    with pytest.raises(TypeError, match="cannot fingerprint"):
        digest(object())


def test_a_files_hash_is_that_of_its_bytes(tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.write_bytes(b"abc")
    assert file_sha256(file) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@pytest.mark.parametrize("content", [b"\xff\x00", "né\n"])
def test_a_file_is_written_whole_into_a_new_folder_or_over_an_old_one(
    tmp_path: Path, content: bytes | str
) -> None:
    file = tmp_path / "new" / "f"
    for one in ("old", content):
        write_whole(file, one)
    assert file.read_bytes() == (content if isinstance(content, bytes) else content.encode())
    assert list(file.parent.iterdir()) == [file]


def test_a_file_that_cannot_be_replaced_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "f" / "in the way").mkdir(parents=True)
    with pytest.raises(OSError, match="f"):
        write_whole(tmp_path / "f", "text")
    assert [path.name for path in tmp_path.iterdir()] == ["f"]


def test_an_unknown_name_suggests_a_near_one() -> None:
    registry = Registry("thing", {"alpha": "math:sqrt", "beta": "math:pi"})
    assert registry.get("alpha")(9) == 3
    with pytest.raises(UnknownName, match="Did you mean alpha"):
        registry.get("alpa")


def test_a_clip_of_no_length_is_refused() -> None:
    with pytest.raises(ValueError, match="start_s < end_s"):
        Clip(video_id="v", index=0, start_s=1.0, end_s=1.0)


def test_a_stand_in_says_so_in_its_label() -> None:
    assert "stand-in" in ModelIdentity(role="r", backend="b", name="n", is_stand_in=True).label()


def test_totals_add_every_field_and_the_exit_code_follows_the_rows() -> None:
    saved = Saved(num_clips=2, num_frames_sampled=16, seconds_saved=1.5)
    assert total([saved, saved]) == Saved(num_clips=4, num_frames_sampled=32, seconds_saved=3.0)
    good = BuildRow(path="a", name="a", video_id="1", status="built")
    bad = BuildRow(path="b", name="b", video_id=None, status="failed", reason="r")

    def code(*rows: BuildRow) -> int:
        return BuildReport(
            rows=rows, num_ignored=0, seconds=0, backends={}, saved=Saved()
        ).exit_code

    assert (code(good), code(good, bad), code()) == (0, 1, 1)
