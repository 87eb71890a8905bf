"""The whole path with models that need no weights: built, repeated, changed, broken, moved."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fdvs.config import Config, CutConfig, RedundancyConfig, StoryConfig
from fdvs.errors import BadModelOutput, MissingVideo, ModelUnavailable, NotFound, StoreError
from fdvs.models.scripted import GridImageEmbedder, HashTextEmbedder, ScriptedDescriber
from fdvs.pipelines.library import Library
from fdvs.report import BuildEvent
from fdvs.store.store import Store
from fdvs.story.as_json import story_to_json
from fdvs.types import ClipView, ModelIdentity, Observation, Vectors
from fdvs.vectors import unit_rows

CONFIG = Config()


def open_library(path: Path, models: dict[str, Any], config: Config = CONFIG) -> Library:
    return Library.open(path / "library", config=config, models=models)


def test_a_folder_becomes_stories_and_a_bad_file_is_a_row(
    films: Path, tmp_path: Path, models: dict[str, Any]
) -> None:
    with open_library(tmp_path, models) as library:
        report = library.build(films)
        assert [(row.name, row.status) for row in report.rows] == [
            ("colours.mp4", "built"),
            ("night.mp4", "built"),
            ("text.mp4", "failed"),
        ]
        assert report.num_ignored == 1
        assert report.exit_code == 1
        assert report.rows[2].reason
        assert "\n" not in report.rows[2].reason
        assert [c.text for c in library.story("colours.mp4").chapters]
        listed = {row.name: row.status for row in library.videos()}
        assert listed == {"colours.mp4": "ok", "night.mp4": "ok", "text.mp4": "failed"}


def test_clips_follow_the_cuts_and_search_finds_the_shot(
    films: Path, tmp_path: Path, models: dict[str, Any]
) -> None:
    with open_library(tmp_path, models) as library:
        library.build(films)
        (best, *_) = library.search("painted green")
        assert best.name == "colours.mp4"
        assert (best.start_s, best.end_s) == (4.0, 8.0)
        assert library.search_videos("yellow")[0].name == "night.mp4"
        assert all(m.name == "night.mp4" for m in library.search("wall", video="night.mp4"))


def test_the_second_build_asks_no_model_and_opens_no_file(
    films: Path, tmp_path: Path, models: dict[str, Any]
) -> None:
    with open_library(tmp_path, models) as library:
        library.build(films)
    models["captioner"].seen.clear()
    for name in ("colours.mp4", "night.mp4"):  # same size and time, but no video any more
        stat = (films / name).stat()
        (films / name).write_bytes(bytes(stat.st_size))
        os.utime(films / name, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    with open_library(tmp_path, models) as library:
        report = library.build(films)
        assert [row.status for row in report.rows] == ["unchanged", "unchanged", "failed"]
        assert report.saved.num_clips == 6
    assert models["captioner"].seen == []


def test_every_kept_picture_is_sent_once_and_no_other(
    films: Path, tmp_path: Path, models: dict[str, Any]
) -> None:
    with open_library(tmp_path, models) as library:
        report = library.build(films)
        # plain colours: the pictures of a clip are identical, so only its key frame is kept
        assert [num for _, _, num in models["captioner"].seen] == [1] * 6
        assert report.saved.num_frames_sampled == 6 * 8
        assert report.saved.num_frames_kept == 6
        assert report.saved.num_captioner_calls_saved == 6 * 7


def test_policy_none_sends_every_picture_and_asks_again(
    films: Path, tmp_path: Path, models: dict[str, Any]
) -> None:
    with open_library(tmp_path, models) as library:
        library.build(films)
    models["captioner"].seen.clear()
    config = replace(CONFIG, visual=RedundancyConfig(policy="none"))
    with open_library(tmp_path, models, config) as library:
        library.build(films)
    assert [num for _, _, num in models["captioner"].seen] == [8] * 6


def test_a_changed_story_setting_recomputes_the_story_and_asks_no_captioner(
    films: Path, tmp_path: Path, models: dict[str, Any]
) -> None:
    with open_library(tmp_path, models) as library:
        library.build(films)
        before = library.story("colours.mp4")
    models["captioner"].seen.clear()
    config = replace(CONFIG, story=StoryConfig(max_story_sentences=1))
    with open_library(tmp_path, models, config) as library:
        report = library.build(films)
        assert [row.status for row in report.rows] == ["built", "built", "failed"]
        assert len(library.story("colours.mp4").sentences) < len(before.sentences)
    assert models["captioner"].seen == []


def test_another_cut_replaces_the_clips_and_leaves_nothing_behind(
    films: Path, tmp_path: Path, models: dict[str, Any]
) -> None:
    with open_library(tmp_path, models) as library:
        library.build(films)
    config = replace(CONFIG, cut=CutConfig(method="fixed", fixed_clip_s=8.0))
    with open_library(tmp_path, models, config) as library:
        library.build(films)
        story = library.story("colours.mp4")
        assert story.num_clips == 2
        assert all(m.clips[0] < 2 for m in library.search("wall", video="colours.mp4"))


def test_a_moved_file_is_recognised_and_an_equal_one_is_no_work(
    films: Path, tmp_path: Path, models: dict[str, Any]
) -> None:
    with open_library(tmp_path, models) as library:
        library.build(films)
        models["captioner"].seen.clear()
        (films / "night.mp4").rename(films / "moved.mp4")
        (films / "twin.mp4").write_bytes((films / "colours.mp4").read_bytes())
        report = library.build(films)
        assert models["captioner"].seen == []
        assert {row.status for row in report.rows} == {"unchanged", "failed"}
        assert report.saved.num_clips == 6, "a twin must not be counted twice"
        paths = [Path(row.path).name for row in library.videos()]
        assert sorted(paths) == ["colours.mp4", "moved.mp4", "text.mp4", "twin.mp4"]


def test_new_content_at_an_old_path_replaces_the_old_story(
    films: Path, tmp_path: Path, models: dict[str, Any], make_film: Any
) -> None:
    with open_library(tmp_path, models) as library:
        library.build(films)
        old = library.story("night.mp4").video_id
        make_film(films / "night.mp4", [("white", 4), ("red", 4), ("blue", 4)])
        library.build(films)
        assert old not in [row.video_id for row in library.videos()]
        with pytest.raises(NotFound):
            library.story(old)
        assert all("yellow" not in m.text for m in library.search("wall", num=50))
        assert library.story("night.mp4").num_clips == 3


def test_the_old_story_stays_while_another_file_still_holds_it(
    films: Path, tmp_path: Path, models: dict[str, Any], make_film: Any
) -> None:
    (films / "copy.mp4").write_bytes((films / "night.mp4").read_bytes())
    with open_library(tmp_path, models) as library:
        library.build(films)
        make_film(films / "night.mp4", [("white", 4), ("red", 4)])
        library.build(films)
        assert any("yellow" in m.text for m in library.search("yellow"))


def test_a_name_that_is_not_utf8_is_built_listed_and_searched(
    films: Path, tmp_path: Path, models: dict[str, Any]
) -> None:
    raw = os.fsencode(films) + b"/caf\xe9.mp4"
    (films / "night.mp4").rename(os.fsdecode(raw))
    with open_library(tmp_path, models) as library:
        report = library.build(films)
        assert [row.status for row in report.rows] == ["built", "built", "failed"]
        name = next(row.name for row in library.videos() if row.name.startswith("caf"))
        name.encode("utf-8")
        assert library.story(name).num_clips == 2
        assert library.search("yellow")[0].name == name


def test_fewer_clips_leave_no_thumbnail_behind(
    films: Path, tmp_path: Path, models: dict[str, Any]
) -> None:
    with open_library(tmp_path, models) as library:
        library.build(films / "colours.mp4")
        with Store.open(library.path) as store:
            folder = store.thumbnail_path(library.story("colours.mp4").video_id, 0).parent
        assert len(list(folder.iterdir())) == 4
    config = replace(CONFIG, cut=CutConfig(method="fixed", fixed_clip_s=8.0))
    with open_library(tmp_path, models, config) as library:
        library.build(films / "colours.mp4")
    assert sorted(path.name for path in folder.iterdir()) == ["000000.jpg", "000001.jpg"]


def test_a_describer_that_fails_on_one_clip_costs_that_clip_alone_and_is_asked_again(
    films: Path, tmp_path: Path, models: dict[str, Any]
) -> None:
    good = models["captioner"]

    class Picky(ScriptedDescriber):
        def describe(self, clips: Any) -> list[list[Observation]]:
            if any(c.video_path.name == "night.mp4" and c.clip.index == 1 for c in clips):
                raise BadModelOutput("the model said nothing")
            return good.describe(clips)

    models["captioner"] = Picky({})
    models["captioner"].identity = good.identity
    with open_library(tmp_path, models) as library:
        report = library.build(films)
        rows = {row.name: row for row in report.rows}
        assert rows["colours.mp4"].status == "built"
        night = rows["night.mp4"]
        assert (night.status, night.missing) == ("built", ("captioner",))
        assert night.warnings[-1] == (
            "captioner failed on 1 of 2 clips: the model said nothing; "
            "asked again at the next build"
        )
        assert report.exit_code == 1
        listed = {row.name: row for row in library.videos()}
        assert listed["night.mp4"].status == "partial"
        assert night.warnings[-1] in listed["night.mp4"].notes
    good.seen.clear()
    models["captioner"] = good
    with open_library(tmp_path, models) as library:
        row = library.build(films).rows[1]
        assert (row.status, row.missing, row.warnings) == ("built", (), ())
        assert [listed.notes for listed in library.videos()][1] == ()
    assert [index for _, index, _ in good.seen] == [1], "the committed clip was asked again"


def test_a_source_that_needs_no_pictures_gets_none_and_its_words_are_in_the_chapter(
    films: Path, tmp_path: Path, models: dict[str, Any]
) -> None:
    subtitles = ScriptedDescriber({0: ["hello there"]}, source="subtitles", needs_frames=False)
    models["source:subtitles"] = subtitles
    config = replace(CONFIG, perceive=replace(CONFIG.perceive, sources=("subtitles",)))
    with open_library(tmp_path, models, config) as library:
        library.build(films / "colours.mp4")
        assert library.story("colours.mp4").num_clips == 4
        (best, *_) = library.search("hello there")
        assert best.start_s == 0.0


def test_an_interrupted_build_goes_on_without_repeating_committed_clips(
    films: Path, tmp_path: Path, models: dict[str, Any]
) -> None:
    def stop(event: BuildEvent) -> None:
        if event.kind == "clip" and event.done == 2:
            raise KeyboardInterrupt

    models["captioner"].batch_size = 1
    with open_library(tmp_path, models) as library:
        with pytest.raises(KeyboardInterrupt):
            library.build(films, progress=stop)
        status = {row.name: row.status for row in library.videos()}
        assert status["colours.mp4"] == "partial"
        models["captioner"].seen.clear()
        library.build(films)
        first = [i for v, i, _ in models["captioner"].seen][:2]
        assert 0 not in [i for _, i, _ in models["captioner"].seen[:2]]
        assert first[0] == 2
    with Library.open(tmp_path / "other", config=CONFIG, models=models) as unbroken:
        unbroken.build(films)
        with open_library(tmp_path, models) as resumed:
            for name in ("colours.mp4", "night.mp4"):
                one, two = unbroken.story(name), resumed.story(name)
                assert json.dumps(story_to_json(one)) == json.dumps(story_to_json(two))


def test_a_damaged_row_is_made_again(films: Path, tmp_path: Path, models: dict[str, Any]) -> None:
    with open_library(tmp_path, models) as library:
        library.build(films)
        with Store.open(library.path) as store, store.writing() as connection:
            connection.execute("UPDATE artifacts SET payload = '{}' WHERE stage = 'chapter'")
            connection.execute("DELETE FROM artifacts WHERE stage = 'done'")
        models["captioner"].seen.clear()
        library.build(films)
        assert models["captioner"].seen == [], "only the chapters were damaged"
        assert "green" in library.search("green")[0].text


def test_removed_means_gone_from_search_list_and_story(
    films: Path, tmp_path: Path, models: dict[str, Any]
) -> None:
    with open_library(tmp_path, models) as library:
        library.build(films)
        assert library.remove("night.mp4").name == "night.mp4"
        with pytest.raises(NotFound):
            library.story("night.mp4")
        assert all(m.name != "night.mp4" for m in library.search("wall", num=50))


def test_vectors_of_another_embedder_are_not_searched(
    films: Path, tmp_path: Path, models: dict[str, Any]
) -> None:
    with open_library(tmp_path, models) as library:
        library.build(films)
    with (
        open_library(tmp_path, {**models, "text_embedder": HashTextEmbedder(64)}) as library,
        pytest.raises(StoreError, match="same text embedder"),
    ):
        library.search("green")


def test_settings_are_remembered(films: Path, tmp_path: Path, models: dict[str, Any]) -> None:
    config = replace(CONFIG, cut=CutConfig(method="fixed", fixed_clip_s=8.0))
    with open_library(tmp_path, models, config) as library:
        library.build(films)
    with Library.open(tmp_path / "library", models=models) as library:
        assert library.config == config


def test_a_missing_path_is_an_error_before_any_work(tmp_path: Path, models: dict[str, Any]) -> None:
    with open_library(tmp_path, models) as library, pytest.raises(MissingVideo):
        library.build(tmp_path / "nothing")


def test_ask_answers_with_evidence_in_time_order(
    films: Path, tmp_path: Path, models: dict[str, Any]
) -> None:
    with open_library(tmp_path, models) as library:
        library.build(films)
        answer = library.ask("Which wall is green?", video="colours.mp4")
        starts = [moment.start_s for moment in answer.evidence]
        assert starts == sorted(starts)
        assert answer.text.startswith("The wall is painted. [colours.mp4 @ ")
        without = library.ask("Which wall is green?", writer=None)
        assert "green" in without.text


def test_stored_vectors_have_unit_rows_and_one_row_per_clip(
    films: Path, tmp_path: Path, models: dict[str, Any]
) -> None:
    with open_library(tmp_path, models) as library:
        library.build(films)
    with Store.open(tmp_path / "library") as store:
        rows = store.get_all(store.find_video("colours.mp4").video_id, "chapter_vector")
        assert sorted(rows) == [0, 1, 2, 3]
        for row in rows.values():
            assert row.vectors is not None
            assert np.linalg.norm(row.vectors) == pytest.approx(1.0, abs=5e-4)  # float16


@pytest.mark.parametrize(("chunk", "num_commits"), [(64, 1), (3, 2), (1, 4)])
def test_vectors_of_sentences_are_committed_together(
    films: Path, tmp_path: Path, models: dict[str, Any], monkeypatch: pytest.MonkeyPatch,
    chunk: int, num_commits: int,
) -> None:  # fmt: skip
    sizes: list[int] = []
    put_many = Store.put_many

    def counted(self: Store, new: Any) -> Any:
        rows = list(new)
        if rows and rows[0].stage == "sentence_vector":
            sizes.append(len(rows))
        return put_many(self, rows)

    monkeypatch.setattr(Store, "put_many", counted)
    monkeypatch.setattr("fdvs.pipelines.build.finish.EMBED_CHUNK", chunk)
    with open_library(tmp_path, models) as library:
        library.build([films / "colours.mp4"])
    assert (len(sizes), sum(sizes)) == (num_commits, 4)


def test_frames_handed_to_describers_are_those_of_their_clip(
    films: Path, tmp_path: Path, models: dict[str, Any]
) -> None:
    seen: list[tuple[float, float, float]] = []

    def look(view: ClipView) -> list[str]:
        seen.extend((view.clip.start_s, f.time_s, view.clip.end_s) for f in view.frames)
        return ["x"]

    models["captioner"] = ScriptedDescriber(look)
    config = replace(CONFIG, visual=RedundancyConfig(policy="none"))
    with open_library(tmp_path, models, config) as library:
        library.build(films)
    assert len(seen) == 48
    assert all(start <= time <= end for start, time, end in seen)


class ColourMatcher:
    """Places a picture by its mean colour and a query by the colour it names."""

    min_score = 0.99
    identity = ModelIdentity(role="picture_matcher", backend="test", name="colours")

    def place_pictures(self, vectors: Vectors) -> Vectors:
        return unit_rows(vectors[:, -4:-1]).astype(np.float32)

    def place_query(self, query: str) -> Vectors:
        word = next((word for word in query.split() if word in COLOURS), "black")
        colour = np.array([COLOURS[word]], np.float32) / 255 * 2 - 1
        return unit_rows(colour).astype(np.float32)[0]


COLOURS = {"red": (255, 0, 0), "green": (0, 128, 0), "blue": (0, 0, 255), "black": (0, 0, 0)}


class ColourEmbedder(GridImageEmbedder):
    """Adds the mean colour, each channel in -1 ... 1, and a constant."""

    def embed_images(self, images: Any) -> Vectors:
        means = np.array([image.reshape(-1, 3).mean(axis=0) for image in images]) / 255 * 2 - 1
        parts = [super().embed_images(images), means, np.ones((len(images), 1))]
        return np.concatenate(parts, axis=1).astype(np.float32)


def test_a_clip_that_no_text_mentions_is_found_by_its_pictures(
    films: Path, tmp_path: Path, models: dict[str, Any]
) -> None:
    models["captioner"] = ScriptedDescriber(lambda view: ["Nothing to say here."])
    models["image_embedder"] = ColourEmbedder()
    models["picture_matcher"] = ColourMatcher()
    with open_library(tmp_path, models) as library:
        library.build(films)
        (only,) = library.search("something green", min_score=0.9)
        assert (only.name, only.start_s, only.end_s) == ("colours.mp4", 4.0, 8.0)
        assert only.matched_by == ("looks",)
        assert only.picture_score == pytest.approx(1.0, abs=0.01)
        assert library.search_videos("something green", min_score=0.9)[0].name == "colours.mp4"


def test_pictures_placed_by_other_models_are_not_searched(
    films: Path, tmp_path: Path, models: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    models["image_embedder"] = ColourEmbedder()
    models["picture_matcher"] = ColourMatcher()
    with open_library(tmp_path, models) as library:
        library.build(films)
    models["image_embedder"] = GridImageEmbedder(4)
    with open_library(tmp_path, models) as library:
        found = library.search("something green", min_score=0.9)
        assert all("looks" not in moment.matched_by for moment in found)
    assert "no visual search" in caplog.text


def test_key_frames_at_a_fixed_distance_are_noted_unless_they_are_not_used(
    films: Path, tmp_path: Path, models: dict[str, Any]
) -> None:
    with open_library(tmp_path, models) as library:
        (note,) = library.build(films).notes
        assert note.startswith("1 of 2 videos has key frames at a fixed distance")
    config = replace(CONFIG, cut=CutConfig(method="fixed", fixed_clip_s=8.0))
    with open_library(tmp_path, models, config) as library:
        assert library.build(films).notes == ()


def test_settings_that_cannot_run_leave_no_library_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FDVS_CACHE", str(tmp_path / "cache"))
    with pytest.raises(ModelUnavailable, match="fdvs models fetch"):
        Library.open(tmp_path / "library", preset="laptop")
    assert not (tmp_path / "library").exists()
