"""New content, damage and leftovers: whatever interrupts a build, the next one puts it right."""

from __future__ import annotations

import json
import shutil
import sqlite3
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fdvs.config import Config, CutConfig
from fdvs.fingerprint import file_sha256
from fdvs.models.scripted import ScriptedDescriber
from fdvs.pipelines.library import Library
from fdvs.report import BuildEvent, BuildReport, ignore_event
from fdvs.store.store import Store, video_id_from
from fdvs.story.as_json import story_to_json
from fdvs.types import ClipView

CONFIG = Config(cut=CutConfig(method="fixed", fixed_clip_s=4.0))


@pytest.fixture
def film(tmp_path: Path, make_film: Any) -> Path:
    path: Path = make_film(tmp_path / "films" / "x.mp4", [("red", 4), ("green", 4)])
    return path


@pytest.fixture(autouse=True)
def folder(tmp_path: Path) -> None:
    (tmp_path / "films").mkdir()


def build(
    film: Path,
    models: dict[str, Any],
    *,
    config: Config = CONFIG,
    paths: Path | None = None,
    watch: Callable[[BuildEvent], None] = ignore_event,
) -> BuildReport:
    with Library.open(film.parent.parent / "library", config=config, models=models) as library:
        return library.build(paths or film, progress=watch)


def names_and_texts(film: Path, models: dict[str, Any]) -> dict[str, str]:
    """Return the story of every video in the library by name."""
    folder = film.parent.parent / "library"
    with Store.open(folder) as store:
        names = [video.name for video in store.videos()]
    with Library.open(folder, config=CONFIG, models=models) as library:
        return {name: json.dumps(story_to_json(library.story(name))) for name in names}


# -- new content ---------------------------------------------------------------------------------


def interrupt(event: BuildEvent) -> None:
    if event.kind == "clip":
        raise KeyboardInterrupt


def test_a_replacement_that_was_interrupted_is_finished_by_the_next_build(
    film: Path, models: dict[str, Any], make_film: Any
) -> None:
    build(film, models)
    make_film(film, [("white", 4), ("black", 4)])
    with pytest.raises(KeyboardInterrupt):
        build(film, models, watch=interrupt)
    with Store.open(film.parent.parent / "library") as store:
        assert len(store.videos()) == 2, "the former story stays until it is replaced"
    build(film, models)
    (text,) = [names_and_texts(film, models)["x.mp4"]]
    assert len(names_and_texts(film, models)) == 1
    assert "white" in text
    assert "red" not in text


def test_two_interrupted_replacements_leave_one_video(
    film: Path, models: dict[str, Any], make_film: Any
) -> None:
    build(film, models)
    for colour in ("white", "black"):
        make_film(film, [(colour, 4), ("blue", 4)])
        with pytest.raises(KeyboardInterrupt):
            build(film, models, watch=interrupt)
    make_film(film, [("yellow", 4), ("blue", 4)])
    build(film, models)
    found = names_and_texts(film, models)
    assert list(found) == ["x.mp4"]
    assert "yellow" in found["x.mp4"]


def test_a_captioner_that_fails_does_not_keep_the_former_film(
    film: Path, models: dict[str, Any], make_film: Any
) -> None:
    build(film, models)
    good = models["captioner"]
    make_film(film, [("white", 4), ("black", 4)])

    def fail(view: ClipView) -> list[str]:
        raise ValueError("away")

    models["captioner"] = ScriptedDescriber(fail)
    build(film, models)
    models["captioner"] = good
    build(film, models)
    assert list(names_and_texts(film, models)) == ["x.mp4"]


def test_a_former_story_stays_while_the_new_content_cannot_be_read(
    film: Path, models: dict[str, Any]
) -> None:
    build(film, models)
    film.write_bytes(b"half a copy")
    assert build(film, models).rows[0].status == "failed"
    assert list(names_and_texts(film, models)) == ["x.mp4"]


def test_what_no_file_holds_any_more_is_collected(
    film: Path, models: dict[str, Any], make_film: Any
) -> None:
    twin = make_film(film.parent / "y.mp4", [("white", 4), ("black", 4)])
    build(film, models, paths=film.parent)
    shutil.copy(twin, film)
    build(film, models, paths=film.parent)
    assert list(names_and_texts(film, models)) == ["y.mp4"]


# -- content that changes meanwhile --------------------------------------------------------------


@pytest.mark.parametrize("at_clip", [0, 1])
def test_a_film_written_while_it_is_read_never_tells_the_new_content_under_the_old_id(
    film: Path, models: dict[str, Any], make_film: Any, tmp_path: Path, at_clip: int
) -> None:
    old, good = tmp_path / "old.mp4", models["captioner"]
    make_film(film, [("red", 4), ("green", 4)] * 12)
    shutil.copy(film, old)
    new = make_film(tmp_path / "new.mp4", [("white", 4), ("black", 4)] * 12)

    def swap(view: ClipView) -> list[str]:
        if view.clip.index == at_clip:
            shutil.copyfile(new, film)
        [[said]] = good.describe([view])
        return [said.text]

    models["captioner"] = ScriptedDescriber(swap)
    [row] = build(film, models).rows
    assert row.status == "failed"
    assert "was written while it was read" in row.reason
    models["captioner"] = good
    build(film, models)
    [told] = names_and_texts(film, models).values()
    assert "white" in told
    assert "red" not in told
    shutil.copyfile(old, film)  # and what was stored of the first content is the first content
    build(film, models)
    [told] = names_and_texts(film, models).values()
    assert "red" in told
    assert "white" not in told


def test_a_film_that_changes_between_its_hash_and_its_first_picture_is_not_stored(
    film: Path, models: dict[str, Any], make_film: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    new = make_film(tmp_path / "new.mp4", [("white", 4), ("black", 4)])
    hashed = file_sha256

    def hash_and_swap(path: Path) -> str:
        found = hashed(path)
        shutil.copyfile(new, path)
        return found

    monkeypatch.setattr("fdvs.pipelines.build.read.file_sha256", hash_and_swap)
    assert build(film, models).rows[0].status == "failed"
    with Store.open(film.parent.parent / "library") as store:
        assert store.videos() == []


# -- leftovers -----------------------------------------------------------------------------------


def test_leftovers_of_killed_builds_and_removals_are_deleted(
    film: Path, models: dict[str, Any]
) -> None:
    build(film, models)
    library = film.parent.parent / "library"
    (of_film,) = (library / "thumbnails").iterdir()
    left = of_film / ".000000.jpg.123-456.tmp"
    left.write_bytes(b"half")
    gone = library / "thumbnails" / "0123456789abcdef"
    gone.mkdir()
    (gone / "000000.jpg").write_bytes(b"of a removed video")
    build(film, models)
    assert not left.exists()
    assert not gone.exists()
    assert len(list(of_film.iterdir())) == 2


# -- damage --------------------------------------------------------------------------------------

DAMAGE = {
    "a payload": "UPDATE artifacts SET payload = payload || ' ' WHERE stage = '{stage}'",
    "vectors": "UPDATE artifacts SET vectors = zeroblob(8) WHERE stage = '{stage}'",
    "a digest": "UPDATE artifacts SET digest = 'x' WHERE stage = '{stage}'",
    "a fingerprint": "UPDATE artifacts SET fingerprint = 'x' WHERE stage = '{stage}'",
    "an item": "UPDATE artifacts SET item = item + 100 WHERE stage = '{stage}'",
    "an item's type": "UPDATE artifacts SET item = 'x' || item WHERE stage = '{stage}'",
    "a stage": "UPDATE artifacts SET stage = 'x{stage}' WHERE stage = '{stage}'",
    "a type": "UPDATE artifacts SET payload = x'ff' WHERE stage = '{stage}'",
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_row_of_any_stage_is_repaired_by_the_next_build(
    film: Path, models: dict[str, Any], damage: str
) -> None:
    build(film, models)
    sound = names_and_texts(film, models)
    library = film.parent.parent / "library"
    with Store.open(library) as store, store.reading() as connection:
        found = [r[0] for r in connection.execute("SELECT DISTINCT stage FROM artifacts")]
    with_vectors = ("frames", "look", "chapter_vector", "story_vector")
    for stage in found:
        if damage == "vectors" and stage not in with_vectors:
            continue
        with Store.open(library) as store, store.writing() as connection:
            connection.execute(DAMAGE[damage].replace("{stage}", stage))
        assert build(film, models).rows[0].status == "built", stage
        assert names_and_texts(film, models) == sound, stage
        assert build(film, models).rows[0].status == "unchanged", stage


@pytest.mark.parametrize("damage", ["gone", "empty", "cut", "no picture"])
def test_a_damaged_thumbnail_is_made_again_and_nothing_else(
    film: Path, models: dict[str, Any], damage: str
) -> None:
    build(film, models)
    sound = names_and_texts(film, models)
    path = next((film.parent.parent / "library" / "thumbnails").glob("*/000001.jpg"))
    whole = path.read_bytes()
    path.write_bytes({"empty": b"", "cut": whole[:-40]}.get(damage, b"no picture"))
    if damage == "gone":
        path.unlink()
    num_asked = len(models["captioner"].seen)
    assert build(film, models).rows[0].status == "built"
    assert path.read_bytes() == whole
    assert len(models["captioner"].seen) == num_asked, "nothing is described again"
    assert names_and_texts(film, models) == sound
    assert build(film, models).rows[0].status == "unchanged"


PLACES = {
    "a video's id": "UPDATE videos SET video_id = '0' || substr(video_id, 2)",
    "a video's hash": "UPDATE videos SET sha256 = '0' || substr(sha256, 2)",
    "the end of a video's hash": "UPDATE videos SET sha256 = substr(sha256, 1, 63) || '='",
    "a video's path": "UPDATE videos SET path = x'2f78'",
    "a file's id": "UPDATE sources SET video_id = '0' || substr(video_id, 2)",
    "a file's path": "UPDATE sources SET path = x'2f78'",
    "a file's size": "UPDATE sources SET size_bytes = 0",
    "a file's status": "UPDATE sources SET status = 'o+'",
}


@pytest.mark.parametrize("damage", PLACES)
def test_a_damaged_place_of_a_video_is_repaired_by_the_next_build(
    film: Path, models: dict[str, Any], damage: str
) -> None:
    build(film, models)
    sound = names_and_texts(film, models)
    library = film.parent.parent / "library"
    with sqlite3.connect(library / "library.sqlite") as other:
        other.execute("PRAGMA ignore_check_constraints = ON")
        other.execute(PLACES[damage])
    other.close()
    build(film, models)
    assert names_and_texts(film, models) == sound
    with Store.open(library) as store:
        assert store.find_video("x.mp4").path == film
        assert (film, "ok") in [(source.path, source.status) for source in store.sources()]


def test_a_video_without_a_seal_is_unchanged(film: Path, models: dict[str, Any]) -> None:
    build(film, models)
    with Store.open(film.parent.parent / "library") as store:
        video_id = store.videos()[0].video_id
        done = store.get(video_id, "done")
        assert done is not None
        payload = {"gop": done.payload["gop"]}  # as it was stored before there were seals
        store.put(video_id, "done", fingerprint=done.fingerprint, payload=payload)
    assert build(film, models).rows[0].status == "unchanged"


# -- reports and time ----------------------------------------------------------------------------


def test_settings_that_make_fewer_clips_count_only_those(
    film: Path, models: dict[str, Any]
) -> None:
    config = replace(CONFIG, cut=CutConfig(method="fixed", fixed_clip_s=8.0))
    build(film, models)
    fewer = build(film, models, config=config).saved
    with Library.open(film.parent.parent / "new", config=config, models=models) as library:
        fresh = library.build(film).saved
    assert replace(fewer, captioner_s=0.0, seconds_saved=0.0) == replace(
        fresh, captioner_s=0.0, seconds_saved=0.0
    )


def test_looking_a_video_up_does_not_read_the_others(tmp_path: Path) -> None:
    """Twenty times as many videos, and looking one up takes about as long."""

    def seconds(num: int) -> float:
        with Store.open(tmp_path / str(num), create=True) as store:
            with store.writing():
                for number in range(num):
                    sha256 = f"{number:016x}" + "0" * 48
                    path = Path(f"/films/{number}.mp4")
                    store.add_video(video_id=video_id_from(sha256), sha256=sha256, path=path)
            started_s = time.perf_counter()
            for number in range(100):
                store.find_video(f"{number:016x}")
            return time.perf_counter() - started_s

    assert seconds(2000) < 5 * seconds(100)
