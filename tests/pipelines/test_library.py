"""The Python API around a build: opening, settings, reasons of failures, odd moments."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from fdvs.config import Config, StoryConfig
from fdvs.errors import BadModelOutput, CorruptLibrary, LibraryMissing, NotFound
from fdvs.models.scripted import HashTextEmbedder, ScriptedLanguageModel
from fdvs.pipelines.library import Library
from fdvs.store.meta import get_meta, set_meta
from fdvs.store.store import Store, video_id_from
from fdvs.types import Vectors


@pytest.fixture
def film(tmp_path: Path, make_film: Any) -> Path:
    path: Path = make_film(tmp_path / "a.mp4", [("red", 3), ("green", 3), ("blue", 3)])
    return path


def test_a_yaml_file_is_laid_over_a_preset(
    tmp_path: Path, film: Path, models: dict[str, Any]
) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("cut: {method: fixed, fixed_clip_s: 4.5}\n")
    with Library.open(tmp_path / "l", preset="offline", config=file, models=models) as library:
        library.build(film)
        assert library.story("a.mp4").num_clips == 2
        assert library.config.preset == "offline"


def test_what_was_saved_and_who_made_it_is_kept(
    tmp_path: Path, film: Path, models: dict[str, Any]
) -> None:
    with Library.open(tmp_path / "l", config=Config(), models=models) as library:
        report = library.build([film])
        assert library.saved() == {"a.mp4": report.rows[0].saved}
        assert "scripted" in library.backends()["captioner"]
        assert library.path == tmp_path / "l"


def test_no_library_is_made_where_none_is_wanted(tmp_path: Path) -> None:
    with pytest.raises(LibraryMissing, match="fdvs build"):
        Library.open(tmp_path / "none", create=False)
    assert not (tmp_path / "none").exists()


class RefusingTextEmbedder(HashTextEmbedder):
    """An embedder that answers nothing."""

    def embed_texts(self, texts: Sequence[str]) -> Vectors:
        raise BadModelOutput("nothing")


def test_a_video_without_a_story_yet_says_so(
    tmp_path: Path, film: Path, models: dict[str, Any]
) -> None:
    models["text_embedder"] = RefusingTextEmbedder()
    with Library.open(tmp_path / "l", config=Config(), models=models) as library:
        assert library.build(film).rows[0].status == "failed"
        with pytest.raises(NotFound, match="no story yet"):
            library.story("a.mp4")


def test_a_story_that_cannot_be_written_is_a_failed_row(
    tmp_path: Path, film: Path, models: dict[str, Any]
) -> None:
    models["llm"] = ScriptedLanguageModel(lambda system, user: "")
    config = Config(story=StoryConfig(writer="abstractive"))
    with Library.open(tmp_path / "l", config=config, models=models) as library:
        (row,) = library.build(film).rows
        assert row.status == "failed"
        assert row.reason.startswith("story could not be written: ")
        assert library.videos()[0].reason == row.reason


def test_a_twin_of_a_failed_file_fails_for_the_same_reason(
    tmp_path: Path, film: Path, models: dict[str, Any]
) -> None:
    twin = tmp_path / "b.mp4"
    twin.write_bytes(film.read_bytes())
    models["text_embedder"] = RefusingTextEmbedder()
    with Library.open(tmp_path / "l", config=Config(), models=models) as library:
        first, second = library.build([film, twin]).rows
        assert (first.status, second.status) == ("failed", "failed")
        assert second.reason.startswith("same content as a.mp4")


def test_files_that_are_no_files_are_rows_with_a_reason(
    tmp_path: Path, models: dict[str, Any]
) -> None:
    folder = tmp_path / "odd"
    (folder / "folder.mp4").mkdir(parents=True)
    (folder / "gone.mp4").symlink_to(tmp_path / "nowhere.mp4")
    with Library.open(tmp_path / "l", config=Config(), models=models) as library:
        (row,) = library.build(folder).rows
        assert row.name == "gone.mp4"
        assert row.reason.startswith("cannot be read")


def test_a_video_without_a_source_row_can_still_be_removed(tmp_path: Path) -> None:
    sha256 = "c" * 64
    with Store.open(tmp_path / "l", create=True) as store:
        record = store.add_video(
            video_id=video_id_from(sha256), sha256=sha256, path=tmp_path / "x.mp4"
        )
    with Library.open(tmp_path / "l") as library:
        removed = library.remove("x.mp4")
        assert (removed.name, removed.video_id) == ("x.mp4", record.video_id)
        assert "no file" in removed.reason
        with pytest.raises(NotFound):
            library.remove("x.mp4")


@pytest.mark.parametrize("value", ["no json", "[1]"])
def test_damaged_facts_about_the_library_are_named(tmp_path: Path, value: str) -> None:
    with Store.open(tmp_path / "l", create=True) as store:
        set_meta(store, "settings", {"a": 1})
        assert get_meta(store, "settings") == {"a": 1}
        with store.writing() as connection:
            connection.execute("UPDATE meta SET value = ? WHERE key = 'settings'", (value,))
        with pytest.raises(CorruptLibrary, match="settings"):
            get_meta(store, "settings")


def test_a_file_that_is_gone_is_missing_and_its_story_stays(
    tmp_path: Path, film: Path, models: dict[str, Any]
) -> None:
    with Library.open(tmp_path / "l", config=Config(), models=models) as library:
        library.build([film])
        assert [row.status for row in library.videos()] == ["ok"]
        film.unlink()
        assert [row.status for row in library.videos()] == ["missing"]
        assert library.story("a.mp4").num_clips > 0
