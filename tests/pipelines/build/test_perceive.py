"""Every source in a thread of its own: what waits for what, bounds, ends, and equal results."""

from __future__ import annotations

import random
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from fdvs.config import Config, CutConfig, PerceiveConfig
from fdvs.errors import BadModelOutput, ModelUnavailable
from fdvs.models.scripted import ScriptedDescriber
from fdvs.pipelines.build.perceive import room_for
from fdvs.pipelines.library import Library
from fdvs.protocols import Heard
from fdvs.report import BuildEvent
from fdvs.stopping import pause
from fdvs.store.store import Store
from fdvs.types import ClipView, ModelIdentity, Observation, Timeline

CLIP_S = 2.0
NUM_CLIPS = 40
PATIENCE_S = 60
COLOURS = ["red", "green", "blue", "white", "yellow"]


def config_with(*sources: str) -> Config:
    cut = CutConfig(method="fixed", fixed_clip_s=CLIP_S)
    return Config(cut=cut, perceive=PerceiveConfig(sources=sources))


class SpokenTrack:
    """A TrackSource that says one sentence a clip; `before` is called ahead of each."""

    source = "speech"
    identity = ModelIdentity(role="source", backend="scripted", name="spoken")

    def __init__(self, before: Callable[[int], None] = lambda number: None) -> None:
        self._before = before

    def read_track(
        self, video_path: Path, timeline: Timeline, *, start_s: float = 0.0
    ) -> Iterator[Heard]:
        for number in range(int(start_s / CLIP_S), round(timeline.duration_s / CLIP_S)):
            self._before(number)
            at_s = number * CLIP_S
            said = Observation(
                source="speech", text=f"Sentence {number}.", start_s=at_s, end_s=at_s + 1
            )
            yield Heard(
                start_s=at_s, end_s=at_s + CLIP_S, observations=(said,), notes=(f"note {number}",)
            )


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory, make_film: Any) -> Path:
    folder = tmp_path_factory.mktemp("films")
    shots = [(COLOURS[i % len(COLOURS)], CLIP_S) for i in range(NUM_CLIPS)]
    path: Path = make_film(folder / "long.mp4", shots)
    return path


def describer(
    name: str, look: Callable[[ClipView], None] = lambda view: None, *, batch_size: int = 4
) -> ScriptedDescriber:
    def describe(view: ClipView) -> list[str]:
        look(view)
        return [f"{name} saw clip {view.clip.index}."]

    return ScriptedDescriber(describe, source=name, batch_size=batch_size)


def stored_rows(folder: Path) -> list[str]:
    """Return every row that a build has written, but for the times it took and the seal."""
    with Store.open(folder) as store, store.reading() as connection:
        found = connection.execute(
            "SELECT video_id, stage, item, fingerprint, digest, payload, num_rows, num_dims,"
            " vectors FROM artifacts WHERE stage NOT IN ('cost', 'saved', 'done')"
        ).fetchall()
        found += connection.execute("SELECT video_id, name, path FROM videos").fetchall()
        found += connection.execute("SELECT path, video_id, status, reason FROM sources").fetchall()
    return sorted(repr(tuple(row)) for row in found)


def in_time(work: Callable[[], Any]) -> Any:
    """Return what `work` returns; a deadlock fails."""
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(work()), daemon=True)
    thread.start()
    thread.join(PATIENCE_S)
    assert not thread.is_alive(), "the build does not end"
    return found[0]


def build_in_time(library: Path, films: Any, models: dict[str, Any], config: Config) -> Any:
    def build() -> Any:
        with Library.open(library, config=config, models=models) as opened:
            return opened.build(films)

    return in_time(build)


def other_threads() -> set[str]:
    return {thread.name for thread in threading.enumerate() if thread.name.startswith("fdvs-")}


# -- what waits for what ---------------------------------------------------------------------------


def test_a_captioner_goes_on_and_is_committed_while_a_track_is_still_read(
    tmp_path: Path, film: Path, models: dict[str, Any]
) -> None:
    committed = threading.Event()

    def wait(number: int) -> None:
        assert number or committed.wait(PATIENCE_S), "clips waited for the track"

    def watch(event: BuildEvent) -> None:
        if event.kind == "clip" and event.done == NUM_CLIPS:
            with Store.open(tmp_path / "library") as store:
                (video,) = store.videos()
                assert len(store.get_all(video.video_id, "see:captioner")) == NUM_CLIPS
                assert not store.get_all(video.video_id, "chapter")
            committed.set()

    models["captioner"] = describer("caption")
    models["source:speech"] = SpokenTrack(wait)
    config = config_with("speech")
    with Library.open(tmp_path / "library", config=config, models=models) as library:
        report = library.build(film, progress=watch)
    assert report.exit_code == 0, report.rows
    with Store.open(tmp_path / "library") as store:
        (video,) = store.videos()
        chapters = store.get_all(video.video_id, "chapter")
    assert len(chapters) == NUM_CLIPS
    for number, chapter in chapters.items():
        assert f"Sentence {number}." in chapter.payload["text"]
        assert f"clip {number}." in chapter.payload["text"]


def test_a_describer_does_not_wait_for_another_until_no_more_clips_may_come(
    tmp_path: Path, film: Path, models: dict[str, Any]
) -> None:
    enough = threading.Event()
    asked: list[int] = []
    most = room_for(1)

    def look(view: ClipView) -> None:
        asked.append(view.clip.index)
        if len(asked) == most:
            enough.set()

    def slow(view: ClipView) -> None:
        if view.clip.index == 0:
            assert enough.wait(PATIENCE_S), f"only {len(asked)} clips were described meanwhile"
            time.sleep(0.5)
            assert len(asked) == most, "more clips are held than there is room for"

    models["captioner"] = describer("caption", look, batch_size=1)
    models["source:screen-text"] = describer("screen text", slow, batch_size=1)
    report = build_in_time(tmp_path / "library", film, models, config_with("screen-text"))
    assert (report.exit_code, report.rows[0].warnings) == (0, ())
    assert asked == list(range(NUM_CLIPS))


def test_a_batch_that_cannot_fill_is_described_as_it_is(
    tmp_path: Path, film: Path, models: dict[str, Any]
) -> None:
    """One clip waits for the captioner, whose batch is larger than all that may wait behind it."""

    def fail_once(view: ClipView) -> None:
        if view.clip.index == 0:
            raise BadModelOutput("no words")

    models["captioner"] = describer("caption", fail_once)
    assert build_in_time(tmp_path / "library", film, models, config_with()).rows[0].missing
    models["captioner"] = again = describer("caption", batch_size=12)
    models["source:screen-text"] = describer("screen text", batch_size=1)
    report = build_in_time(tmp_path / "library", film, models, config_with("screen-text"))
    assert (report.exit_code, report.rows[0].missing) == (0, ())
    assert [index for _, index, _ in again.seen] == [0]


def test_batches_are_full_where_clips_are_ready(
    tmp_path: Path, film: Path, models: dict[str, Any]
) -> None:
    sizes: list[int] = []

    class Counting(ScriptedDescriber):
        def describe(self, clips: Sequence[ClipView]) -> list[list[Observation]]:
            sizes.append(len(clips))
            return super().describe(clips)

    models["captioner"] = Counting(lambda view: ["x"], batch_size=16)
    build_in_time(tmp_path / "library", film, models, config_with())
    assert sizes == [16, 16, 8]


# -- ends ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["captioner", "source:speech"])
def test_a_source_that_is_not_there_ends_the_build(
    tmp_path: Path, film: Path, models: dict[str, Any], where: str
) -> None:
    def gone(_: object) -> None:
        raise ModelUnavailable("the model went away")

    models["captioner"] = describer("caption", gone if where == "captioner" else lambda view: None)
    models["source:speech"] = SpokenTrack(gone if where != "captioner" else lambda number: None)
    config = config_with("speech")
    opened = Library.open(tmp_path / "library", config=config, models=models)
    with opened as library, pytest.raises(ModelUnavailable, match="went away"):
        library.build(film)
    assert not other_threads()


def test_a_build_that_is_stopped_ends_within_a_second(
    tmp_path: Path, film: Path, models: dict[str, Any]
) -> None:
    def sleep_long(view: ClipView) -> None:
        if view.clip.index == 8:
            pause(PATIENCE_S)

    stopped_s: list[float] = []

    def stop(event: BuildEvent) -> None:
        if event.kind == "clip" and event.done == 4:
            stopped_s.append(time.monotonic())
            raise KeyboardInterrupt

    models["captioner"] = describer("caption", sleep_long)
    models["source:speech"] = SpokenTrack(lambda number: pause(PATIENCE_S) if number else None)
    models["source:screen-text"] = describer("screen text", lambda view: pause(0.01))
    config = config_with("speech", "screen-text")
    with Library.open(tmp_path / "library", config=config, models=models) as library:
        with pytest.raises(KeyboardInterrupt):
            library.build(film, progress=stop)
        assert time.monotonic() - stopped_s[0] < 1.0
    assert not other_threads()


# -- equal results ---------------------------------------------------------------------------------


def build_with_delays(
    folder: Path, films: Sequence[Path], models: dict[str, Any], seed: int | None
) -> Any:
    """Build with sources that sleep and fail at random places, the same for every seed."""
    random_s = random.Random(seed)
    alone = threading.Lock()

    def doze(_: object = None) -> None:
        if seed is not None:
            with alone:
                seconds = random_s.choice([0, 0, 0.001, 0.01, 0.03])
            time.sleep(seconds)

    def bad_at(*places: int) -> Callable[[ClipView], None]:
        def look(view: ClipView) -> None:
            doze()
            if view.clip.index in places:
                raise BadModelOutput(f"no words for clip {view.clip.index}")

        return look

    models |= {
        "captioner": describer("caption", bad_at(30), batch_size=3),
        "source:screen-text": describer("screen text", bad_at(2, 3, 4), batch_size=1),
        "source:tags": describer("tags", doze, batch_size=5),
        "source:speech": SpokenTrack(doze),
        "source:subtitles": SpokenTrack(doze),
    }
    config = config_with("screen-text", "speech", "tags", "subtitles")
    report = build_in_time(folder, films, models, config)
    return [(r.status, r.warnings, r.missing, r.num_clips_computed) for r in report.rows]


def test_results_do_not_depend_on_which_source_is_faster(
    tmp_path: Path, film: Path, make_film: Any, models: dict[str, Any]
) -> None:
    short = make_film(tmp_path / "short.mp4", [("black", CLIP_S)] * 3)
    films = [film, short, Path(shutil.copy(film, tmp_path / "twin.mp4"))]
    expected = build_with_delays(tmp_path / "quick", films, dict(models), None)
    assert [status for status, *_ in expected] == ["built", "built", "unchanged"]
    assert expected[0][2] == ("captioner", "screen-text")
    rows = stored_rows(tmp_path / "quick")
    assert len(rows) > 6 * NUM_CLIPS
    for seed in range(4):
        folder = tmp_path / f"seed{seed}"
        assert build_with_delays(folder, films, dict(models), seed) == expected
        assert stored_rows(folder) == rows
