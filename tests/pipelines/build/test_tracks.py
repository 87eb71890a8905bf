"""Sources that read whole files: read once, stored by stretch, given to clips, never fatal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from fdvs.config import Config, CutConfig, PerceiveConfig
from fdvs.errors import BadModelOutput
from fdvs.pipelines.build.tracks import give_to_clips
from fdvs.pipelines.library import Library
from fdvs.protocols import Heard
from fdvs.report import BuildEvent, BuildReport
from fdvs.store.store import Store
from fdvs.types import Clip, ModelIdentity, Observation, Timeline

CONFIG = Config(
    cut=CutConfig(method="fixed", fixed_clip_s=4.0), perceive=PerceiveConfig(sources=("subtitles",))
)
SHOTS = [("red", 4), ("green", 4), ("blue", 4)]


class ScriptedTrack:
    """A TrackSource that says scripted lines, one stretch per line; raises what is not a line.

    `starts` records from where it was asked.
    """

    source = "speech"
    identity = ModelIdentity(role="source", backend="scripted", name="scripted-track")

    def __init__(
        self, script: Sequence[tuple[float, str] | Exception], notes: Sequence[str] = ()
    ) -> None:
        self.script, self.notes = list(script), tuple(notes)
        self.starts: list[float] = []

    def read_track(
        self, video_path: Path, timeline: Timeline, *, start_s: float = 0.0
    ) -> Iterator[Heard]:
        self.starts.append(start_s)
        for line in self.script:
            if isinstance(line, Exception):
                raise line
            at_s, text = line
            if at_s < start_s:
                continue
            said = Observation(source=self.source, text=text, start_s=at_s, end_s=at_s + 1.0)
            yield Heard(start_s=at_s, end_s=at_s + 1.0, observations=(said,), notes=self.notes)


@pytest.fixture
def film(tmp_path: Path, make_film: Any) -> Path:
    path: Path = make_film(tmp_path / "talk.mp4", SHOTS)
    return path


def build(folder: Path, film: Path, models: dict[str, Any], track: ScriptedTrack) -> BuildReport:
    models["source:subtitles"] = track
    with Library.open(folder / "library", config=CONFIG, models=models) as library:
        return library.build(film)


def chapters(folder: Path) -> list[str]:
    with Store.open(folder / "library") as store:
        (video,) = store.videos()
        return [row.payload["text"] for row in store.get_all(video.video_id, "chapter").values()]


def test_what_a_track_says_is_in_the_chapter_of_its_clip_and_its_notes_in_the_row(
    tmp_path: Path, film: Path, models: dict[str, Any]
) -> None:
    track = ScriptedTrack(
        [(1.0, "The first elephant."), (9.0, "A yellow boat.")], ["a second track was not used"]
    )
    report = build(tmp_path, film, models, track)
    assert report.rows[0].warnings == ("a second track was not used",)
    assert report.exit_code == 0
    first, second, third = chapters(tmp_path)
    assert "elephant" in first
    assert "elephant" not in second + third
    assert "yellow boat" in third
    with Library.open(tmp_path / "library", config=CONFIG, models=models) as library:
        assert library.videos()[0].notes == ("a second track was not used",)


def test_a_track_is_read_once(tmp_path: Path, film: Path, models: dict[str, Any]) -> None:
    track = ScriptedTrack([(1.0, "The first elephant.")])
    build(tmp_path, film, models, track)
    assert build(tmp_path, film, models, track).rows[0].status == "unchanged"
    with Store.open(tmp_path / "library") as store:
        store.trim(store.videos()[0].video_id, "done", keep_items=0)
    assert build(tmp_path, film, models, track).rows[0].status == "built"
    assert track.starts == [0.0]


@pytest.mark.parametrize("error", [BadModelOutput("no more"), IndexError("list index")])
def test_a_track_that_fails_is_noted_and_read_on_behind_its_last_stretch(
    tmp_path: Path, film: Path, models: dict[str, Any], error: Exception
) -> None:
    track = ScriptedTrack([(1.0, "The first elephant."), error])
    (row,) = (report := build(tmp_path, film, models, track)).rows
    assert (row.status, row.missing) == ("built", ("subtitles",))
    assert row.warnings[0].startswith("subtitles failed from 0:02 on: ")
    assert report.exit_code == (1 if isinstance(error, BadModelOutput) else 70)
    assert "elephant" in chapters(tmp_path)[0], "what was read before is told"
    track.script[1] = (9.0, "A yellow boat.")
    (row,) = build(tmp_path, film, models, track).rows
    assert (row.status, row.warnings) == ("built", ())
    assert track.starts == [0.0, 2.0]
    assert "yellow boat" in chapters(tmp_path)[2]
    assert build(tmp_path, film, models, track).rows[0].status == "unchanged"


def test_a_build_that_is_stopped_goes_on_behind_the_last_stretch(
    tmp_path: Path, film: Path, models: dict[str, Any]
) -> None:
    track = ScriptedTrack([(1.0, "The first elephant."), (9.0, "A yellow boat.")])
    models["source:subtitles"] = track

    def stop(event: BuildEvent) -> None:
        if event.kind == "track" and event.at_s:
            raise KeyboardInterrupt

    with Library.open(tmp_path / "library", config=CONFIG, models=models) as library:
        with pytest.raises(KeyboardInterrupt):
            library.build(film, progress=stop)
        library.build(film)
    assert track.starts == [0.0, 2.0]
    assert "elephant" in chapters(tmp_path)[0]
    assert "yellow boat" in chapters(tmp_path)[2]


CLIPS = [
    Clip(video_id="v", index=index, start_s=10.0 * index, end_s=10.0 * index + 10)
    for index in range(3)
]


@pytest.mark.parametrize(
    ("source", "start_s", "end_s", "clips"),
    [
        ("subtitles", 2, 4, [0]),
        ("subtitles", 9, 15, [0]),  # a sentence: where it begins
        ("speech", 9, 15, [1]),  # spoken: where most of it is said
        ("speech", 7, 12, [0]),
        ("speech", 1, 29, [1]),
        ("subtitles", 0, 30, [0, 1, 2]),  # long: every clip it covers
        ("subtitles", 4, 21, [0, 1]),
        ("subtitles", 10, 20, [1]),
        ("speech", -3, -1, [0]),
        ("subtitles", -3, 2, [0]),
        ("speech", 31, 33, [2]),
        ("subtitles", 30, 30, [2]),
    ],
)
def test_a_line_is_given_to_its_clips(
    source: str, start_s: float, end_s: float, clips: list[int]
) -> None:
    line = Observation(source=source, text="words", start_s=start_s, end_s=end_s)
    given = give_to_clips([line], CLIPS)
    assert [index for index, said in enumerate(given) if said] == clips
    assert all(0 <= said.start_s <= said.end_s for by_clip in given for said in by_clip)


def test_lines_are_given_in_time_order_and_none_is_lost() -> None:
    lines = [
        Observation(source="speech", text=str(t), start_s=t, end_s=t + 2.5)
        for t in range(35, -5, -1)
    ]
    given = [said.text for by_clip in give_to_clips(lines, CLIPS) for said in by_clip]
    assert sorted(given, key=int) == [str(t) for t in range(-4, 36)]
    assert given[4:] == [str(t) for t in range(36)]


def test_a_watcher_hears_which_source_is_at_work_and_how_far_it_has_come(
    tmp_path: Path, film: Path, models: dict[str, Any]
) -> None:
    models["source:subtitles"] = ScriptedTrack([(1.0, "The first elephant."), (9.0, "A boat.")])
    events: list[BuildEvent] = []
    with Library.open(tmp_path / "library", config=CONFIG, models=models) as library:
        library.build(film, progress=events.append)
    heard = [(e.text, e.at_s, e.length_s, e.number) for e in events if e.kind == "track"]
    assert heard == [("speech", at_s, 12.0, 1) for at_s in (0.0, 2.0, 10.0, 10.0)]
    (started,) = (e for e in events if e.kind == "start")
    (opened,) = (e for e in events if e.kind == "video")
    assert started.size_bytes == opened.size_bytes == film.stat().st_size
