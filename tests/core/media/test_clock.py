"""One clock per file: where pictures and sound lie, from the first picture that can be decoded."""

from __future__ import annotations

import shutil
from dataclasses import astuple
from pathlib import Path

import av
import numpy as np
import pytest

from fdvs.errors import MediaError
from fdvs.media.pyav_input import demux_safely, is_drain, open_input
from fdvs.media.readers import open_reader, probe
from fdvs.types import Timeline

TONE = ["-f", "lavfi", "-i"]
# Encoders begin and end sound at whole packets, with up to a packet of priming.
PACKET_S = 0.08


def tone(length_s: float) -> list[str]:
    return [*TONE, f"sine=440:d={length_s}"]


def line_of(path: Path) -> Timeline:
    line = probe(path).timeline
    assert line is not None
    return line


@pytest.fixture(scope="session")
def shifted(studio, film):
    """Make a Matroska of 24 s of pictures, with sound of `length_s` from another time on."""

    def make(name: str, *, pictures_from_s: float, sound_from_s: float, length_s: float) -> Path:
        path: Path = studio.folder / name
        source = str(film("bframes_mp4").path)
        inputs = ["-itsoffset", str(pictures_from_s), "-i", source]
        inputs += ["-itsoffset", str(sound_from_s), *tone(length_s)]
        maps = "-map 0:v -map 1:a -c:v copy -c:a aac".split()
        studio.run([*inputs, *maps, str(path)])
        return path

    return make


def test_sound_before_the_first_picture_has_negative_times(shifted):
    path = shifted("late_pictures.mkv", pictures_from_s=6, sound_from_s=0, length_s=20)
    line = line_of(path)
    assert line.origin_s == pytest.approx(6, abs=PACKET_S)
    assert line.sound_start_s == pytest.approx(-6, abs=PACKET_S)
    assert line.sound_end_s == pytest.approx(14, abs=PACKET_S)
    assert line.pictures_end_s == line.duration_s == pytest.approx(24, abs=PACKET_S)


def test_sound_that_begins_late_and_goes_on_makes_the_file_longer(shifted):
    path = shifted("long_sound.mkv", pictures_from_s=0, sound_from_s=3, length_s=30)
    info, line = probe(path), line_of(path)
    assert line.sound_start_s == pytest.approx(3, abs=PACKET_S)
    assert line.sound_end_s == pytest.approx(33, abs=PACKET_S)
    assert line.pictures_end_s == pytest.approx(24, abs=PACKET_S)
    assert info.duration_s == line.duration_s == line.sound_end_s
    assert info.fps == pytest.approx(25, abs=0.1)


def test_a_rest_of_sound_after_the_pictures_is_no_tail(shifted):
    path = shifted("short_tail.mkv", pictures_from_s=0, sound_from_s=0, length_s=24.5)
    line = line_of(path)
    assert line.sound_end_s == pytest.approx(24.5, abs=PACKET_S)
    assert probe(path).duration_s == line.pictures_end_s == pytest.approx(24, abs=PACKET_S)


def test_a_film_without_sound_has_no_sound_times(film):
    line = line_of(film("late_start").path)
    assert astuple(line)[1:] == pytest.approx((24.0, None, None, 24.0))
    assert line.origin_s == pytest.approx(7, abs=PACKET_S)


def test_pictures_that_cannot_be_decoded_at_the_front_do_not_count(film):
    whole, cut = line_of(film("ts").path), line_of(film("ts_cut").path)
    lost_s = cut.origin_s - whole.origin_s
    assert lost_s > 1
    assert cut.duration_s == pytest.approx(whole.duration_s - lost_s, abs=1e-3)


@pytest.fixture(scope="session")
def late_sound(studio, film) -> Path:
    """A transport stream whose second half alone has a sound track, under a new number."""
    path: Path = studio.folder / "late_sound.ts"
    parts = []
    for number, sound in enumerate(([], tone(24))):
        part = studio.folder / f"late_sound_{number}.ts"
        offset = ["-output_ts_offset", str(24 * number)]
        source = ["-i", str(film("bframes_mp4").path)]
        codecs = "-c:v copy -c:a mp2".split()
        studio.run([*source, *sound, *codecs, *offset, str(part)])
        parts.append(part.read_bytes())
    path.write_bytes(b"".join(parts))
    return path


@pytest.mark.parametrize("reader", ["pyav", "ffmpeg"])
def test_a_stream_that_appears_in_mid_file_does_not_end_the_reading(late_sound, reader):
    with open_reader(late_sound, reader=reader) as source:
        assert source.info.duration_s == pytest.approx(48, abs=PACKET_S)
        assert len(list(source.iter_frames(every_s=0, short_side_px=16))) == 1200


def test_sound_that_begins_in_mid_file_is_found(late_sound):
    info, line = probe(late_sound), line_of(late_sound)
    assert info.has_audio
    assert line.sound_start_s == pytest.approx(24, abs=2 * PACKET_S)
    assert line.sound_end_s == pytest.approx(48, abs=2 * PACKET_S)


def test_sound_that_begins_late_in_a_flash_recording_is_found(studio, film, tmp_path):
    path = tmp_path / "late.flv"
    source = ["-i", str(film("four_minutes").path), "-itsoffset", "100", *tone(20)]
    codecs = "-map 0:v -map 1:a -c:v copy -c:a aac -t 130".split()
    studio.run([*source, *codecs, str(path)])
    assert line_of(path).sound_start_s == pytest.approx(100, abs=2 * PACKET_S)


@pytest.fixture(scope="session")
def joined(studio, film):
    """Join two recordings that number their streams differently, in one order or the other."""

    def make(order: tuple[int, int]) -> Path:
        parts = []
        for number in (0, 1):
            path = studio.folder / f"part_{number}.ts"
            source = ["-i", str(film("bframes_mp4").path)]
            place = ["-c", "copy", "-streamid", f"0:{500 + number}"]
            place += ["-mpegts_pmt_start_pid", str(4000 + number)]
            studio.run([*source, *place, str(path)])
            parts.append(path.read_bytes())
        whole: Path = studio.folder / f"joined_{order[0]}.ts"
        whole.write_bytes(b"".join(parts[number] for number in order))
        return whole

    return make


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_part_with_other_stream_numbers_is_named(joined, order):
    [note] = [w for w in probe(joined(order)).warnings if "of the file" in w]
    assert note.startswith(("49% of the file, after 0:2", "50% of the file, after 0:2"))
    assert "joined recordings" in note


def test_a_stream_that_is_not_known_at_the_start_does_not_end_the_demuxing(joined):
    """Opened with a short probe, which finds what a usual one finds of a longer file."""
    with av.open(str(joined((0, 1))), options={"probesize": "100000"}) as container:
        assert len(container.streams) == 1
        packets = list(demux_safely(container, container.streams.video[0]))
    assert sum(not is_drain(packet) for packet in packets) == 600
    assert sum(is_drain(packet) for packet in packets) == 1


SOUND = ["audio_m4a", "audio_wav", "audio_mp3", "audio_flac", "audio_in_mkv"]
SOUND += ["audio_aac", "audio_ogg", "audio_opus", "audio_aiff", "cover_m4a", "cover_mp3"]


@pytest.mark.parametrize("name", SOUND)
def test_a_sound_file_is_an_entry_without_pictures(film, name):
    path = film(name).path
    for reader in ("pyav", "ffmpeg"):
        with open_reader(path, reader=reader) as source:
            info = source.info
            assert list(source.frames_at([0.0, 1.0], short_side_px=32)) == []
            assert list(source.iter_frames(every_s=0, short_side_px=None)) == []
            assert source.warnings == ()
        assert not info.has_pictures
        assert info.has_audio
        assert info.key_times_s == (0.0,)
        assert info.duration_s == pytest.approx(2, abs=0.15)
        line = info.timeline
        assert line is not None
        assert (line.pictures_end_s, line.sound_start_s) == (0.0, 0.0)
        assert line.sound_end_s == line.duration_s == info.duration_s


def test_noise_under_the_name_of_a_sound_file_is_refused(tmp_path):
    for name in ("noise.mp3", "noise.aac", "noise.wav", "text.mp3"):
        path = tmp_path / name
        is_text = name.startswith("text")
        path.write_bytes(b"la la la\n" * 999 if is_text else np.random.default_rng(0).bytes(40_000))
        with pytest.raises(MediaError):
            probe(path)


def test_a_film_whose_pictures_are_damaged_is_kept_for_its_sound(studio, film, tmp_path):
    path = tmp_path / "half.avi"
    source = ["-i", str(film("avi_mpeg4").path), *tone(12)]
    studio.run([*source, *"-map 0:v -map 1:a -c:v copy -c:a mp2".split(), str(path)])
    data = bytearray(path.read_bytes())
    end, at = data.index(b"idx1"), data.index(b"movi") + 4
    while at < end and data[at : at + 4] in (b"00dc", b"01wb"):
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        if data[at : at + 4] == b"00dc":
            data[at + 8 : at + 8 + size] = bytes(size)
        at += 8 + size + size % 2
    path.write_bytes(data)
    info = probe(path)
    assert not info.has_pictures
    assert info.duration_s == pytest.approx(12, abs=0.2)
    assert info.warnings[0].startswith("only the sound is used: no picture can be decoded (300 ")


def test_sound_whose_clock_jumps_absurdly_is_counted_by_its_packets(studio, tmp_path):
    path = tmp_path / "jump.mkv"
    late = r"setts=ts=if(lt(N\,90)\,TS\,TS+2e9/TB)"
    studio.run([*tone(8), "-c:a", "pcm_s16le", "-bsf:a", late, str(path)])
    assert probe(path).duration_s == pytest.approx(8, abs=0.2)


def test_sound_whose_clock_restarts_is_counted_by_its_packets(studio, tmp_path):
    part, path = tmp_path / "part.ts", tmp_path / "twice.ts"
    studio.run([*tone(8), "-c:a", "mp2", str(part)])
    path.write_bytes(part.read_bytes() * 2)
    assert probe(path).duration_s == pytest.approx(16, abs=0.2)


def test_a_file_is_read_once(film, monkeypatch):
    """Scanning reads the packets of pictures and sound in one pass."""
    opened = []

    def counting(path, timeout_s):
        opened.append(path)
        return open_input(path, timeout_s)

    monkeypatch.setattr("fdvs.media.scan.open_input", counting)
    probe(film("audio_first").path)
    assert len(opened) == 1


def test_a_copy_in_another_container_has_the_same_clock(film, studio, tmp_path):
    source = film("audio_first").path
    shutil.copy(source, tmp_path / "a.mkv")
    studio.run(["-i", str(source), "-c", "copy", str(tmp_path / "a.mp4")])
    one, two = line_of(tmp_path / "a.mkv"), line_of(tmp_path / "a.mp4")
    assert one.duration_s == pytest.approx(two.duration_s, abs=0.01)
    assert one.sound_end_s == pytest.approx(two.sound_end_s or 0, abs=PACKET_S)
