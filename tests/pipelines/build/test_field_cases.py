"""Kinds of trouble that folders of videos bring, each as a small film with a truth by construction.

One build of all of them, with the real readers and the real subtitles source. What is heard are
beeps, at known seconds: a source that listens for them stands in for speech.
"""

from __future__ import annotations

import io
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fdvs.config import Config, CutConfig, PerceiveConfig
from fdvs.models.cards import LoadSettings
from fdvs.models.describe.audio import SAMPLE_RATE, TrackSound, audio_tracks, mix
from fdvs.models.factory import load_model
from fdvs.models.scripted import GridImageEmbedder, HashTextEmbedder, ScriptedDescriber
from fdvs.pipelines.detail import VideoDetail
from fdvs.pipelines.library import Library
from fdvs.protocols import Heard
from fdvs.report import BuildReport, BuildRow
from fdvs.types import ModelIdentity, Observation, Timeline

CLIP_S = 4.0
CONFIG = Config(
    cut=CutConfig(method="fixed", fixed_clip_s=CLIP_S),
    perceive=PerceiveConfig(sources=("subtitles", "speech")),
)
RGB = {"red": (255, 0, 0), "lime": (0, 255, 0), "blue": (0, 0, 255), "white": (255, 255, 255)}
COLOURS = tuple(RGB)
CODED = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-threads", "1")
LINES = ("The heron fishes.", "A tram turns.", "Bread is baked.", "Snow falls.")


class BeepSource:
    """A TrackSource that writes `A beep sounds.` wherever a tone begins."""

    source = "speech"
    identity = ModelIdentity(role="source", backend="scripted", name="beeps")

    def read_track(
        self, video_path: Path, timeline: Timeline, *, start_s: float = 0.0
    ) -> Iterator[Heard]:
        found: list[float] = []
        for track in audio_tracks(video_path)[:1]:
            last_s = -9.0
            for block in TrackSound(video_path, track, origin_s=timeline.origin_s).blocks():
                loud = np.flatnonzero(np.abs(mix(block.samples, None)) > 0.1)
                for at_s in block.start_s + loud / SAMPLE_RATE:
                    if at_s - last_s > 0.5:
                        found.append(float(at_s))
                    last_s = at_s
        said = tuple(
            Observation(source="speech", text="A beep sounds.", start_s=s, end_s=s + 0.5)
            for s in found
        )
        yield Heard(start_s=start_s, end_s=max(timeline.duration_s, 60.0), observations=said)


@dataclass
class Case:
    """The files of all cases and what became of them."""

    folder: Path
    details: dict[str, VideoDetail] = field(default_factory=dict)
    rows: dict[str, BuildRow] = field(default_factory=dict)
    pictures: dict[str, list[bytes]] = field(default_factory=dict)

    def text(self, name: str) -> str:
        return " ".join(clip.text for clip in self.details[name].clips)

    def beeps_s(self, name: str) -> list[float]:
        return [round(cue.start_s, 1) for cue in self.details[name].said]

    def colours(self, name: str, *, column: float = 0.5) -> list[str]:
        """Return the colour of each clip's thumbnail at a part of its width."""
        found = []
        for data in self.pictures[name]:
            pixels = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), np.int16)
            spot = pixels[pixels.shape[0] // 2, round(column * (pixels.shape[1] - 1))]
            found.append(min(COLOURS, key=lambda c: int(np.abs(spot - RGB[c]).sum())))
        return found


def ffmpeg(*arguments: object) -> None:
    import imageio_ffmpeg

    program = imageio_ffmpeg.get_ffmpeg_exe()
    subprocess.run([program, "-v", "error", "-y", *map(str, arguments)], check=True)


def pictures(seconds: float, *, shift: int = 0) -> list[str]:
    """Return inputs of a film that changes its colour every CLIP_S."""
    num = round(seconds / CLIP_S + 0.49)
    chosen = [COLOURS[(shift + n) % 4] for n in range(num)]
    parts = ";".join(
        f"color={c}:s=64x48:r=10:d={min(CLIP_S, seconds - n * CLIP_S)}[v{n}]"
        for n, c in enumerate(chosen)
    )
    joined = "".join(f"[v{n}]" for n in range(num))
    return ["-f", "lavfi", "-i", f"{parts};{joined}concat=n={num}:v=1:a=0"]


def beeps(at_s: Sequence[float], seconds: float, *, rate: int = 16000, layout: str = "mono") -> Any:
    """Return inputs of a sound in which a tone of 0.3 s begins at each time."""
    is_on = "+".join(f"between(t,{s},{s + 0.3})" for s in at_s)
    tone = f"0.5*sin(2*PI*800*t)*({is_on})"
    both = "|".join([tone] * (2 if layout == "stereo" else 1))
    return ["-f", "lavfi", "-i", f"aevalsrc='{both}':d={seconds}:s={rate}:c={layout}"]


def film(path: Path, *options: object, seconds: float = 16.0, shift: int = 0) -> None:
    ffmpeg(*pictures(seconds, shift=shift), *CODED, *options, path)


def srt(cues: Sequence[tuple[float, float, str]]) -> str:
    return "\n".join(
        f"{n}\n00:00:{a:06.3f} --> 00:00:{b:06.3f}\n{text}\n".replace(".", ",", 2)
        for n, (a, b, text) in enumerate(cues, 1)
    )


CUES = [(1 + 4 * n, 3 + 4 * n, text) for n, text in enumerate(LINES)]


def make_sound(folder: Path) -> None:
    ffmpeg(
        *pictures(8), *beeps([2], 8, rate=48000, layout="stereo"), *CODED, "-shortest",
        "-c:a", "aac", folder / "first.ts",
    )  # fmt: skip
    ffmpeg(
        *pictures(8, shift=2), *beeps([3], 8, rate=32000), *CODED, "-shortest",
        "-c:a", "aac", folder / "second.ts",
    )  # fmt: skip
    both = (folder / "first.ts").read_bytes() + (folder / "second.ts").read_bytes()
    (folder / "format-changes.ts").write_bytes(both)
    (folder / "first.ts").unlink()
    (folder / "second.ts").unlink()
    ffmpeg(
        *beeps([5], 16), "-itsoffset", 3, *pictures(12), "-map", "1:v", "-map", "0:a", *CODED,
        "-c:a", "pcm_s16le", folder / "late-pictures.mkv",
    )  # fmt: skip
    ffmpeg(
        *pictures(8, shift=1), *beeps([2, 11], 14), *CODED, "-c:a", "pcm_s16le",
        folder / "sound-goes-on.mkv",
    )  # fmt: skip


def make_pictures(folder: Path) -> None:
    film(folder / "plain.mp4", "-g", 1)
    ffmpeg("-ss", CLIP_S, "-i", folder / "plain.mp4", "-c", "copy", folder / "trimmed.mp4")
    film(folder / "one-key-frame.mp4", "-x264-params", "keyint=infinite:scenecut=0", shift=1)
    halves = "color=red:s=32x48:d=4[a];color=blue:s=32x48:d=4[b];[a][b]hstack"
    ffmpeg("-f", "lavfi", "-i", halves, *CODED, folder / "straight.mp4")
    ffmpeg("-display_hflip", "-i", folder / "straight.mp4", "-c", "copy", folder / "mirrored.mp4")
    jump = "setpts='PTS+gte(N,80)*3600/TB'"
    film(folder / "jump.mkv", "-vf", jump, "-fps_mode", "passthrough", "-enc_time_base", "1/1000")
    film(folder / "disc.VOB", "-c:v", "mpeg2video", "-f", "vob", seconds=8.0, shift=3)
    (folder / "elsewhere").mkdir()
    film(folder / "elsewhere" / "linked.mp4", seconds=8.0, shift=2)
    (folder / "films").mkdir()
    (folder / "films" / "link").symlink_to(folder / "elsewhere")


def make_subtitled(folder: Path) -> None:
    for shift, name in enumerate(
        ("styled", "forced", "talk", "talk.part2", "cyrillic", "rolling", "broken", "odd")
    ):
        film(folder / f"{name}.mp4", "-metadata", f"comment={name}", shift=shift)
    events = "\n".join(
        f"Dialogue: 0,0:00:{a:05.2f},0:00:{b:05.2f},D,,0,0,0,,{{\\i1\\pos(9,9)}}{text}"
        for a, b, text in CUES
    )
    head = "[Script Info]\n\n[Events]\nFormat: Layer,Start,End,Style,Name,L,R,V,Effect,Text\n"
    (folder / "styled.ass").write_text(head + events)
    (folder / "forced.en.forced.srt").write_text(srt([(1, 3, "A sign in Greek")]))
    (folder / "forced.en.srt").write_text(srt(CUES))
    (folder / "talk.part2.srt").write_text(srt(CUES))
    russian = [(1, 3, "Цапля ловит рыбу у старого моста."), (5, 7, "Трамвай медленно повернул.")]
    (folder / "cyrillic.srt").write_bytes(srt(russian * 3).encode("cp1251"))
    vtt, before = "WEBVTT\n\n", " "
    for n, line in enumerate(LINES):
        a = 1 + 3 * n
        vtt += f"00:00:{a:06.3f} --> 00:00:{a + 2.9:06.3f}\n{before}\n{line}\n\n"
        vtt += f"00:00:{a + 2.9:06.3f} --> 00:00:{a + 2.95:06.3f}\n{line}\n \n\n"
        before = line
    (folder / "rolling.en.vtt").write_text(vtt)
    (folder / "broken.srt").write_text("<html><body>404 Not Found</body></html>")
    odd = [(9, 11, "<b>Bread</b> is baked."), (1, 6, "The heron fishes."), (5, 7, "A tram turns.")]
    (folder / "odd.srt").write_text(srt([*odd, (50, 55, "Long after the end.")]))


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    """Build all cases at once."""
    folder = tmp_path_factory.mktemp("cases")
    for make in (make_sound, make_pictures, make_subtitled):
        make(folder)
    found = Case(folder)
    models: dict[str, Any] = {
        "image_embedder": GridImageEmbedder(),
        "text_embedder": HashTextEmbedder(),
        "captioner": ScriptedDescriber(lambda view: ["A wall."]),
        "source:subtitles": load_model("subtitles", "source", LoadSettings()),
        "source:speech": BeepSource(),
    }
    paths = [p for p in folder.iterdir() if p.name not in ("elsewhere",)]
    with Library.open(folder / "library", config=CONFIG, models=models) as library:
        report: BuildReport = library.build([p for p in paths if p.suffix not in NOT_FILMS])
        for row in report.rows:
            found.rows[row.name] = row
            if row.status != "failed":
                detail = found.details[row.name] = library.video(row.video_id or "")
                found.pictures[row.name] = [
                    library.thumbnail(detail.video_id, c.index)
                    for c in detail.clips
                    if c.has_picture
                ]
    return found


NOT_FILMS = (".srt", ".ass", ".vtt")


def test_every_film_is_built(case: Case) -> None:
    assert {row.name: row.reason for row in case.rows.values() if row.status == "failed"} == {}
    assert len(case.rows) == 19


def test_a_sound_whose_format_changes_is_heard_to_its_end(case: Case) -> None:
    first_s, second_s = case.beeps_s("format-changes.ts")
    assert first_s == pytest.approx(2.0, abs=0.2)
    assert second_s == pytest.approx(8 + 3.0, abs=0.4)


def test_sound_before_the_pictures_is_placed_by_the_pictures(case: Case) -> None:
    assert case.beeps_s("late-pictures.mkv") == [pytest.approx(5 - 3.0, abs=0.15)]
    assert "beep" in case.details["late-pictures.mkv"].clips[0].text


def test_sound_after_the_last_picture_is_told(case: Case) -> None:
    assert case.beeps_s("sound-goes-on.mkv") == pytest.approx([2.0, 11.0], abs=0.15)
    told = [c for c in case.details["sound-goes-on.mkv"].clips if "beep" in c.text]
    assert told[-1].start_s <= 11.0 < told[-1].end_s


def test_what_an_edit_list_hides_is_not_shown(case: Case) -> None:
    assert case.colours("plain.mp4") == ["red", "lime", "blue", "white"]
    assert case.colours("trimmed.mp4") == ["lime", "blue", "white"]


def test_one_key_frame_does_not_make_one_picture(case: Case) -> None:
    assert case.colours("one-key-frame.mp4") == ["lime", "blue", "white", "red"]


def test_a_mirrored_film_is_shown_as_players_show_it(case: Case) -> None:
    for column, straight, mirrored in ((0.2, "red", "blue"), (0.8, "blue", "red")):
        assert case.colours("straight.mp4", column=column) == [straight]
        assert case.colours("mirrored.mp4", column=column) == [mirrored]


def test_a_clock_that_jumps_an_hour_ahead_costs_few_clips_and_is_noted(case: Case) -> None:
    assert len(case.details["jump.mkv"].clips) < 10
    (note,) = case.rows["jump.mkv"].warnings
    assert "to 1:00:0" in note


def test_a_file_of_a_disc_that_is_named_is_built(case: Case) -> None:
    assert case.colours("disc.VOB") == ["white", "red"]


def test_a_linked_folder_is_followed(case: Case) -> None:
    assert case.colours("linked.mp4") == ["blue", "white"]


def test_styled_subtitles_are_told_without_their_tags(case: Case) -> None:
    text = case.text("styled.mp4")
    assert all(line in text for line in LINES)
    assert not set("{}\\") & set(text)


def test_full_subtitles_go_before_forced_ones(case: Case) -> None:
    text = case.text("forced.mp4")
    assert all(line in text for line in LINES)
    assert "Greek" not in text


def test_another_films_subtitles_are_not_taken(case: Case) -> None:
    assert LINES[0] in case.text("talk.part2.mp4")
    assert LINES[0] not in case.text("talk.mp4")


def test_an_old_encoding_is_read_or_said_to_be_guessed(case: Case) -> None:
    assert "Цапля ловит рыбу" in case.text("cyrillic.mp4")
    assert any("guessed" in note for note in case.rows["cyrillic.mp4"].warnings)


def test_rolling_captions_are_told_once(case: Case) -> None:
    text = case.text("rolling.mp4")
    assert [text.count(line.rstrip(".")) for line in LINES] == [1, 1, 1, 1]


def test_a_file_that_is_no_subtitle_is_named_and_costs_nothing(case: Case) -> None:
    assert case.rows["broken.mp4"].status == "built"
    assert any("broken.srt" in note for note in case.rows["broken.mp4"].warnings)
    assert "404" not in case.text("broken.mp4")


def test_odd_cues_are_told_in_time_order_without_marks(case: Case) -> None:
    text = case.text("odd.mp4")
    places = [text.index(line) for line in LINES[:3]]
    assert places == sorted(places)
    assert "<b>" not in text
    assert "Long after" not in text
    assert case.rows["odd.mp4"].warnings
