"""One bad thing costs only itself: files, models and rows that fail in every stage of a build."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import pytest

from fdvs.config import Config, CutConfig
from fdvs.errors import BadModelOutput, ModelUnavailable
from fdvs.models.scripted import GridImageEmbedder, HashTextEmbedder, ScriptedDescriber
from fdvs.pipelines.library import Library
from fdvs.report import BuildReport, BuildRow
from fdvs.store.store import Store
from fdvs.types import ClipView, Image, Vectors

CONFIG = Config(cut=CutConfig(method="fixed", fixed_clip_s=4.0))
SHOTS = [("red", 4), ("green", 4), ("blue", 4)]


def ffmpeg(*arguments: str) -> None:
    program = imageio_ffmpeg.get_ffmpeg_exe()
    subprocess.run([program, "-v", "error", "-y", *arguments], check=True)


@pytest.fixture
def films(tmp_path: Path, make_film: Any) -> Path:
    folder = tmp_path / "films"
    folder.mkdir()
    make_film(folder / "a.mp4", SHOTS)
    make_film(folder / "b.mp4", [("white", 4), ("black", 4)])
    return folder


def build(folder: Path, paths: Any, models: dict[str, Any], config: Config = CONFIG) -> BuildReport:
    with Library.open(folder / "library", config=config, models=models) as library:
        return library.build(paths)


def by_name(report: BuildReport) -> dict[str, BuildRow]:
    return {row.name: row for row in report.rows}


def stages(folder: Path, name: str) -> dict[str, list[int]]:
    """Return the stored items of a video by stage."""
    with Store.open(folder / "library") as store, store.reading() as connection:
        rows = connection.execute(
            "SELECT stage, item FROM artifacts WHERE video_id = ? ORDER BY stage, item",
            (store.find_video(name).video_id,),
        ).fetchall()
    return {stage: [item for one, item in rows if one == stage] for stage, _ in rows}


# -- clips without pictures ----------------------------------------------------------------------


def test_a_sound_file_becomes_chapters_without_pictures(
    tmp_path: Path, models: dict[str, Any]
) -> None:
    sound = tmp_path / "talk.wav"
    ffmpeg("-f", "lavfi", "-i", "sine=frequency=440:duration=10", str(sound))
    report = build(tmp_path, sound, models)
    assert report.notes == (
        "1 of 1 file has sound, and nothing writes down what is said in it; "
        "add the source speech: --with speech",
    )
    (row,) = report.rows
    assert (row.status, row.num_clips, report.exit_code) == ("built", 3, 0)
    assert report.saved.num_frames_sampled == 0
    stored = stages(tmp_path, "talk.wav")
    assert stored["chapter"] == [0, 1, 2]
    assert not {"frames", "kept_frames", "look", "see:captioner"} & set(stored)
    assert not list((tmp_path / "library" / "thumbnails").glob("*/*.jpg"))
    with Library.open(tmp_path / "library", config=CONFIG, models=models) as library:
        assert library.story("talk.wav").duration_s == pytest.approx(10, abs=0.1)
        library.search("anything")
    assert build(tmp_path, sound, models).rows[0].status == "unchanged"


def test_sound_behind_the_last_picture_has_clips_without_pictures(
    tmp_path: Path, films: Path, models: dict[str, Any]
) -> None:
    film = tmp_path / "long.mkv"
    tone = ["-f", "lavfi", "-i", "sine=frequency=440:duration=15"]
    ffmpeg("-i", str(films / "b.mp4"), *tone, "-c:v", "copy", "-c:a", "flac", str(film))
    (row,) = build(tmp_path, film, models).rows
    assert (row.status, row.num_clips) == ("built", 4)
    stored = stages(tmp_path, "long.mkv")
    assert stored["frames"] == stored["see:captioner"] == [0, 1]
    assert stored["chapter"] == [0, 1, 2, 3]
    assert len(list((tmp_path / "library" / "thumbnails").glob("*/*.jpg"))) == 2


def test_clips_that_lose_their_pictures_leave_no_row_of_them_behind(
    tmp_path: Path, films: Path, models: dict[str, Any]
) -> None:
    build(tmp_path, films / "a.mp4", models)

    class Blind(GridImageEmbedder):
        def embed_images(self, images: Sequence[Image]) -> Vectors:
            raise BadModelOutput("no vector")

    models["image_embedder"] = Blind(num_cells=4)
    (row,) = build(tmp_path, films / "a.mp4", models).rows
    assert (row.status, row.missing) == ("built", ("image_embedder",))
    assert not {"frames", "kept_frames", "see:captioner"} & set(stages(tmp_path, "a.mp4"))
    assert row.saved is not None
    assert row.saved.num_frames_sampled == 0


# -- models that fail ----------------------------------------------------------------------------


@pytest.mark.parametrize("error", [BadModelOutput("no word"), IndexError("list index")])
def test_a_captioner_that_fails_is_asked_three_times_a_video(
    tmp_path: Path, films: Path, models: dict[str, Any], error: Exception
) -> None:
    asked: list[str] = []

    def fail(view: ClipView) -> list[str]:
        asked.append(view.video_path.name)
        raise error

    models["captioner"] = ScriptedDescriber(fail, batch_size=1)
    config = replace(CONFIG, cut=CutConfig(method="fixed", fixed_clip_s=1.0))
    report = build(tmp_path, films, models, config)
    assert [asked.count(name) for name in ("a.mp4", "b.mp4")] == [3, 3]
    is_bug = isinstance(error, IndexError)
    assert report.exit_code == (70 if is_bug else 1)
    reason = "bug: IndexError: list index" if is_bug else "no word"
    assert by_name(report)["a.mp4"].warnings == (
        f"captioner failed on 12 of 12 clips: {reason}; asked again at the next build",
    )
    assert {row.status for row in report.rows} == {"built"}


def test_a_model_that_is_not_here_still_ends_the_build(
    tmp_path: Path, films: Path, models: dict[str, Any]
) -> None:
    def missing(view: ClipView) -> list[str]:
        raise ModelUnavailable("run: fdvs models fetch")

    models["captioner"] = ScriptedDescriber(missing)
    with pytest.raises(ModelUnavailable, match="fetch"):
        build(tmp_path, films, models)


def test_a_chapter_writer_that_fails_is_replaced_by_the_template_until_the_next_build(
    tmp_path: Path, films: Path, models: dict[str, Any]
) -> None:
    writer, models["llm"] = models["llm"], type(models["llm"])([])
    config = replace(CONFIG, chapter=replace(CONFIG.chapter, writer="llm"))
    (row,) = build(tmp_path, films / "a.mp4", models, config).rows
    assert row.missing == ("chapter writer",)
    with Library.open(tmp_path / "library", config=config, models=models) as library:
        assert "painted red" in library.story("a.mp4").chapters[0].text
    models["llm"] = writer
    (row,) = build(tmp_path, films / "a.mp4", models, config).rows
    assert (row.status, row.missing) == ("built", ())


def test_any_error_while_a_story_is_written_fails_that_video_alone(
    tmp_path: Path, films: Path, models: dict[str, Any]
) -> None:
    class Choosy(HashTextEmbedder):
        def embed_texts(self, texts: Sequence[str]) -> Vectors:
            if any("white" in text for text in texts):
                raise KeyError("white")
            return super().embed_texts(texts)

    models["text_embedder"] = Choosy()
    report = build(tmp_path, films, models)
    rows = by_name(report)
    assert (rows["a.mp4"].status, rows["b.mp4"].status) == ("built", "failed")
    assert rows["b.mp4"].reason.startswith("bug: KeyError")
    assert report.exit_code == 70


# -- files that fail -----------------------------------------------------------------------------


def test_any_error_while_a_file_is_opened_fails_that_file_alone(
    tmp_path: Path, films: Path, models: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from fdvs.pipelines.build import read

    opened = read.open_reader

    def open_or_break(path: Path, **options: Any) -> Any:
        if path.name == "a.mp4":
            raise IndexError("list index out of range")
        return opened(path, **options)

    monkeypatch.setattr(read, "open_reader", open_or_break)
    report = build(tmp_path, films, models)
    rows = by_name(report)
    assert (rows["a.mp4"].status, rows["b.mp4"].status) == ("failed", "built")
    assert rows["a.mp4"].reason == "bug: IndexError: list index out of range"
    assert report.exit_code == 70


def test_a_source_that_cannot_look_beside_a_video_is_noted(
    tmp_path: Path, films: Path, models: dict[str, Any]
) -> None:
    class Nosy(ScriptedDescriber):
        def content_fingerprint(self, video_path: Path) -> str:
            if video_path.name == "a.mp4":
                raise PermissionError(13, "not allowed")
            return ""

    models["source:subtitles"] = Nosy({}, source="subtitles", needs_frames=False)
    config = replace(CONFIG, perceive=replace(CONFIG.perceive, sources=("subtitles",)))
    rows = by_name(build(tmp_path, films, models, config))
    assert rows["a.mp4"].missing == ("subtitles",)
    assert "not allowed" in rows["a.mp4"].warnings[0]
    assert rows["b.mp4"].warnings == ()


def test_a_file_dated_beyond_what_the_database_holds_is_built(
    tmp_path: Path, films: Path, models: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = Path.stat

    def late(path: Path, **options: Any) -> Any:
        found = seen(path, **options)
        if path.name != "a.mp4":
            return found

        class Late:
            st_mtime_ns = 2**63 + 5
            st_size, st_mode = found.st_size, found.st_mode

        return Late()

    monkeypatch.setattr(Path, "stat", late)
    assert build(tmp_path, films / "a.mp4", models).rows[0].status == "built"
    assert build(tmp_path, films / "a.mp4", models).rows[0].status == "unchanged"


def test_a_film_whose_middle_cannot_be_decoded_is_built_from_the_rest(
    tmp_path: Path, films: Path, models: dict[str, Any]
) -> None:
    from fdvs.pipelines.build import read

    class Torn:
        """A reader that fails between 4 and 8 s."""

        def __init__(self, whole: Any) -> None:
            self.whole = whole

        def __enter__(self) -> Any:
            self.whole.__enter__()
            return self

        def __exit__(self, *error: Any) -> None:
            self.whole.__exit__(*error)

        def __getattr__(self, name: str) -> Any:
            return getattr(self.whole, name)

        def frames_at(self, times_s: Sequence[float], **options: Any) -> Any:
            for time_s in times_s:
                if 4 <= time_s < 8:
                    raise IndexError("torn")
                yield from self.whole.frames_at([time_s], **options)

    opened = read.open_reader
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(read, "open_reader", lambda path, **options: Torn(opened(path, **options)))
        (row,) = build(tmp_path, films / "a.mp4", models).rows
    assert (row.status, row.missing) == ("built", ("pictures",))
    assert "decoding failed on 1 of 3 clips: bug: IndexError: torn" in row.warnings[0]
    assert stages(tmp_path, "a.mp4")["frames"] == [0, 2]
    (row,) = build(tmp_path, films / "a.mp4", models).rows
    assert (row.status, row.missing, row.num_clips_computed) == ("built", (), 1)
