"""Files that are no videos, broken videos, hostile videos: one error type, one line."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from fdvs.errors import MediaError, MissingVideo, NotAVideo, UndecodableVideo
from fdvs.media.files import audio_kind, check_file, printable
from fdvs.media.pyav_input import media_errors
from fdvs.media.readers import check_container, open_reader, probe
from fdvs.media.scan import scan


def reason(path, kind=MediaError, **options) -> str:
    with pytest.raises(kind) as caught:
        open_reader(path, **options)
    text = str(caught.value)
    assert "\n" not in text
    assert 0 < len(text) < 300
    return text


def test_a_missing_file_is_named(tmp_path):
    assert "nothing.mp4" in reason(tmp_path / "nothing.mp4", MissingVideo)


def test_what_is_no_regular_file_is_refused_without_opening_it(tmp_path):
    fifo = tmp_path / "fifo.mp4"
    os.mkfifo(fifo)
    loop = tmp_path / "loop.mp4"
    loop.symlink_to(loop)
    dangling = tmp_path / "dangling.mp4"
    dangling.symlink_to(tmp_path / "gone.mp4")
    assert reason(tmp_path, MissingVideo) == "not a regular file but a folder"
    assert reason(fifo, MissingVideo) == "not a regular file but a named pipe"
    assert reason(Path("/dev/zero"), MissingVideo) == "not a regular file but a device"
    assert "not readable" in reason(loop, MissingVideo)
    assert "no such file" in reason(dangling, MissingVideo)
    assert "not readable" in reason(tmp_path / "a\0b.mp4", MissingVideo)
    assert "not readable" in reason(tmp_path / ("x" * 300 + ".mp4"), MissingVideo)


def test_a_link_to_a_regular_file_is_fine(film, tmp_path):
    link = tmp_path / "link.mp4"
    link.symlink_to(film("bframes_mp4").path)
    assert probe(link).num_packets == 600


def test_an_unreadable_file_is_refused(film, tmp_path, monkeypatch):
    path = tmp_path / "secret.mp4"
    shutil.copy(film("bframes_mp4").path, path)

    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("fdvs.media.files.os.open", refuse)
    assert reason(path, MissingVideo) == "not readable: permission denied"


def test_an_empty_file_says_so(tmp_path):
    path = tmp_path / "zero.mp4"
    path.touch()
    assert reason(path, NotAVideo) == "empty file (0 bytes)"


@pytest.mark.parametrize("text", ["hello", "grüße " * 2000, "<html>" * 900])
def test_text_named_as_a_video_says_so(tmp_path, text):
    path = tmp_path / "text.mp4"
    path.write_text(text)
    assert "not an allowed video container (text?)" in reason(path, NotAVideo)


def test_a_picture_named_as_a_video_is_no_allowed_container(tmp_path):
    from PIL import Image

    for name in ("webp", "png", "gif", "jpeg"):
        path = tmp_path / f"{name}.mp4"
        Image.new("RGB", (64, 64)).save(path, format=name)
        assert reason(path, NotAVideo).startswith("not an allowed video container; allowed")


def test_noise_named_as_a_video_is_no_allowed_container(tmp_path):
    path = tmp_path / "noise.mp4"
    path.write_bytes(b"\x00\x01" + np.random.default_rng(0).bytes(5000))
    assert reason(path, NotAVideo).startswith("not an allowed video container; allowed")


def test_what_is_no_media_file_is_refused_by_its_head(film, tmp_path):
    path = tmp_path / "zeros.mp4"
    path.touch()
    os.truncate(path, 1 << 40)
    with pytest.raises(NotAVideo):
        check_container(path)
    check_container(film("bframes_mp4").path)


@pytest.mark.parametrize("share", [0.01, 0.3, 0.9])
def test_an_mp4_cut_before_its_index_says_so(film, tmp_path, share):
    data = film("bframes_mp4").path.read_bytes()
    path = tmp_path / "cut.mp4"
    path.write_bytes(data[: int(len(data) * share)])
    assert reason(path, NotAVideo) == "no index (moov); the file is cut short"


def test_an_mp4_with_a_damaged_index_says_so(film, tmp_path):
    data = bytearray(film("bframes_mp4").path.read_bytes())
    start = data.index(b"moov") + 4
    data[start : start + 3000] = b"\xff" * min(3000, len(data) - start)
    path = tmp_path / "damaged.mp4"
    path.write_bytes(data)
    text = reason(path, MediaError)
    assert "moov" in text or "no video" in text


def test_sound_is_known_by_its_first_bytes():
    assert audio_kind(b"\xff\xf1\x50\x80") == "AAC"
    assert audio_kind(b"\xff\xfb\x90\x00") == "MP3"
    assert audio_kind(b"FORM\0\0\0\0AIFF") == "AIFF"
    assert audio_kind(b"\0\0\0\x18ftypmp42") is None


def without_content(path, target):
    """Copy an AVI with the content of every video packet set to zero."""
    data = bytearray(path.read_bytes())
    end = data.index(b"idx1")
    at = data.index(b"movi") + 4
    while at < end and data[at : at + 4] == b"00dc":
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        data[at + 8 : at + 8 + size] = bytes(size)
        at += 8 + size + size % 2
    target.write_bytes(data)
    return target


def test_an_avi_without_one_decodable_picture_is_an_error_not_an_empty_result(film, tmp_path):
    path = without_content(film("avi_mpeg4").path, tmp_path / "zeros.avi")
    assert "no picture can be decoded (300 packets" in reason(path, UndecodableVideo)


def test_an_avi_of_which_nothing_is_left_names_its_container(film, tmp_path):
    path = without_content(film("avi_bframes").path, tmp_path / "zeros.avi")
    assert "AVI" in reason(path, MediaError)


def test_a_truncated_film_is_read_to_its_end_with_a_warning(film, tmp_path, read_number):
    data = film("bframes_mkv").path.read_bytes()
    path = tmp_path / "cut.mkv"
    path.write_bytes(data[: len(data) // 3])
    with open_reader(path) as reader:
        frames = list(reader.iter_frames(every_s=0, short_side_px=None))
        [warning, *_] = reader.warnings
        duration_s = reader.info.duration_s
    assert warning.startswith("truncated: ")
    assert warning.endswith("s of 24.0 s declared")
    assert 6 < duration_s < 10
    assert [read_number(f.image) for f in frames[:-3]] == list(range(len(frames) - 3))


def test_a_truncated_film_with_its_index_in_front_warns(film, studio, tmp_path):
    whole = tmp_path / "whole.mp4"
    source = film("bframes_mp4").path
    studio.run(["-i", str(source), "-c", "copy", "-movflags", "+faststart", str(whole)])
    data = whole.read_bytes()
    path = tmp_path / "cut.mp4"
    path.write_bytes(data[: len(data) // 2])
    with open_reader(path) as reader:
        num_frames = sum(1 for _ in reader.iter_frames(every_s=0, short_side_px=32))
        text = " ".join(reader.warnings)
    assert 100 < num_frames < 500
    assert "truncated" in text or "reading stopped" in text


def test_sound_that_outlasts_the_pictures_is_no_truncation(film, studio, tmp_path):
    path = tmp_path / "long_sound.mkv"
    source = str(film("one_frame").path)
    tone = ["-f", "lavfi", "-i", "sine=440:d=3"]
    studio.run(["-i", source, *tone, "-c:v", "copy", "-c:a", "aac", str(path)])
    assert probe(path).has_audio
    assert probe(path).warnings == ()


def test_damaged_packets_are_counted_and_the_rest_is_read(film, tmp_path):
    data = bytearray(film("all_intra").path.read_bytes())
    start = data.index(b"mdat") + 4
    size = len(data) - start - 5000
    for place in range(20, 80, 20):
        at = start + size * place // 100
        data[at : at + 400] = b"\xff" * 400
    path = tmp_path / "damaged.mp4"
    path.write_bytes(data)
    with open_reader(path) as reader:
        num_frames = sum(1 for _ in reader.iter_frames(every_s=0, short_side_px=32))
        assert reader.counts.damaged > 0
        assert f"{reader.counts.damaged} damaged packet" in reader.warnings[-1]
        assert num_frames >= 100 - 3 * reader.counts.damaged > 50
        assert len(list(reader.frames_at([0.0, 1.0, 2.0, 3.9], short_side_px=32))) == 4


@pytest.mark.parametrize("name", ["pyav", "ffmpeg"])
def test_a_name_that_is_not_utf_8_is_read(film, tmp_path, name):
    raw = os.fsencode(tmp_path) + b"/\xff\xfe caf\xe9.mp4"
    shutil.copy(os.fsencode(film("bframes_mp4").path), raw)
    path = Path(os.fsdecode(raw))
    with open_reader(path, reader=name) as reader:
        assert len(list(reader.frames_at([1.0], short_side_px=32))) == 1
    printable(path).encode("utf-8")


def test_a_reason_can_be_printed_whatever_the_name(tmp_path):
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\x1b[31m\n.mp4"))
    reason(path, MissingVideo).encode("utf-8")
    assert "\x1b" not in printable(path)


def test_damaged_text_in_a_header_does_not_stop_reading(film, studio, tmp_path):
    path = tmp_path / "title.mp4"
    source = film("bframes_mp4").path
    studio.run(["-i", str(source), "-c", "copy", "-metadata", "title=MARKMARK", str(path)])
    data = path.read_bytes()
    path.write_bytes(data.replace(b"MARKMARK", b"\xff\xfe\xfd\xff\xff\xff\xff\xff"))
    assert probe(path).num_packets == 600


def test_a_picture_that_claims_to_be_huge_is_refused(film, monkeypatch):
    monkeypatch.setattr("fdvs.media.scan.MAX_PIXELS", 1000)
    assert "160x96 is too large" in reason(film("bframes_mp4").path, NotAVideo)


def test_absurd_time_stamps_do_not_make_an_absurd_duration(film, studio, tmp_path):
    path = tmp_path / "gap.mkv"
    pictures = ["-vf", "settb=1/1000,setpts=N*40000000", "-fps_mode", "passthrough"]
    source = str(film("one_frame").path)
    encode = ["-frames:v", "3", "-c:v", "mpeg4", str(path)]
    studio.run(["-stream_loop", "2", "-i", source, *pictures, *encode])
    info = probe(path)
    assert not info.is_timed
    assert info.duration_s < 10
    assert "far more time than 3 pictures can last" in " ".join(info.warnings)


def test_errors_of_one_step_become_media_errors():
    slow = pytest.raises(UndecodableVideo, match=r"no answer from the file within 2 s")
    with slow, media_errors(2.0):
        raise TimeoutError
    with pytest.raises(UndecodableVideo, match="damaged text"), media_errors(2.0):
        b"\xff".decode()


def test_check_file_gives_an_absolute_path(film, monkeypatch):
    path = film("bframes_mp4").path
    monkeypatch.chdir(path.parent)
    assert check_file(Path(path.name)) == path


def test_nothing_but_a_path_is_read(film):
    with film("bframes_mp4").path.open("rb") as file, pytest.raises(TypeError):
        open_reader(file)


class TestNoOtherFileOrHostIsTouched:
    """Playlists, patterns, URLs: refused, and the server was never asked."""

    def test_urls_and_ffmpeg_protocols_are_only_names_of_missing_files(
        self, film, http_server, tmp_path
    ):
        target = film("bframes_mp4").path
        for name in (
            http_server.url,
            f"concat:{target}|{target}",
            f"subfile,,start,0,end,0,,:{target}",
            f"async:{target}",
            f"cache:{target}",
            f"file:{target}",
            "pipe:0",
            "tcp://127.0.0.1:9",
        ):
            reason(Path(name), MissingVideo)
        assert http_server.hits == []

    def test_playlists_and_scripts_under_a_video_s_name_are_refused(
        self, film, http_server, tmp_path
    ):
        target = film("ts").path
        local = tmp_path / "part.ts"
        shutil.copy(target, local)
        hls = "#EXTM3U\n#EXT-X-TARGETDURATION:24\n#EXTINF:24,\n{}\n#EXT-X-ENDLIST\n"
        dash = (
            '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
            'mediaPresentationDuration="PT24S"><Period><AdaptationSet mimeType="video/mp4">'
            '<Representation id="1" bandwidth="1"><BaseURL>{}</BaseURL>'
            "</Representation></AdaptationSet></Period></MPD>"
        )
        texts = {
            "hls_http": hls.format(http_server.url),
            "hls_relative": hls.format(local.name),
            "hls_absolute": hls.format(local),
            "concat_relative": f"ffconcat version 1.0\nfile {local.name}\n",
            "concat_http": f"ffconcat version 1.0\nfile {http_server.url}\n",
            "dash": dash.format(http_server.url),
            "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\nc=IN IP4 127.0.0.1\n",
        }
        for name, text in texts.items():
            for suffix in (".mp4", ".m3u8", ".ffconcat", ".mkv"):
                path = tmp_path / f"{name}{suffix}"
                path.write_text(text)
                for reader in ("pyav", "ffmpeg"):
                    assert "not an allowed video container" in reason(path, reader=reader)
        assert http_server.hits == []

    @pytest.mark.parametrize("protocols", ["file", "file,http,tcp"])
    def test_even_a_playlist_that_opens_reaches_no_host(
        self, http_server, tmp_path, monkeypatch, protocols
    ):
        """The second wall alone; with a gap in it (the control) the server would be asked."""
        path = tmp_path / "list.m3u8"
        head = "#EXTM3U\n#EXT-X-TARGETDURATION:24\n#EXTINF:24,\n"
        path.write_text(f"{head}{http_server.url}\n#EXT-X-ENDLIST\n")
        monkeypatch.setattr("fdvs.media.pyav_input.FORMATS", "hls,mov,mpegts")
        monkeypatch.setattr("fdvs.media.pyav_input.PROTOCOLS", protocols)
        with contextlib.suppress(MediaError):
            open_reader(path, timeout_s=5).close()
        assert bool(http_server.hits) == (protocols != "file")

    def test_image_patterns_are_refused(self, film, studio, tmp_path):
        source = str(film("one_frame").path)
        for number in (1, 2):
            studio.run(["-i", source, "-update", "1", str(tmp_path / f"im{number:03d}.png")])
        reason(tmp_path / "im%03d.png", MissingVideo)
        shutil.copy(tmp_path / "im001.png", tmp_path / "picture%03d.png")
        assert "not an allowed video container" in reason(tmp_path / "picture%03d.png")

    def test_the_ffmpeg_program_has_its_own_whitelists(self, film, http_server, tmp_path):
        from fdvs.media.ffmpeg_reader import command, ffmpeg_program

        facts = scan(film("bframes_mp4").path, timeout_s=10)
        path = tmp_path / "list.mp4"
        for text in (
            f"ffconcat version 1.0\nfile {http_server.url}\n",
            f"ffconcat version 1.0\nfile {film('bframes_mp4').path.name}\n",
            f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{http_server.url}\n#EXT-X-ENDLIST\n",
        ):
            path.write_text(text)
            done = subprocess.run(
                command(ffmpeg_program(), path, facts, 2), capture_output=True, timeout=20
            )
            assert done.returncode != 0
            assert done.stdout == b""
        assert http_server.hits == []


def test_a_codec_that_nobody_knows_is_named(film, tmp_path):
    data = film("bframes_mkv").path.read_bytes()
    path = tmp_path / "unknown.mkv"
    path.write_bytes(data.replace(b"V_MPEG4/ISO/AVC", b"V_XPEG4/ISO/AVC"))
    assert "no decoder" in reason(path, NotAVideo)


def test_a_video_beside_cover_art_is_found(film, studio, tmp_path):
    picture = tmp_path / "cover.jpg"
    main = film("bframes_mp4").path
    studio.run(["-i", str(main), "-frames:v", "1", "-update", "1", str(picture)])
    path = tmp_path / "film.mp4"
    maps = "-map 1:v -map 0:v -c copy -disposition:v:0 attached_pic -disposition:v:1 0"
    studio.run(["-i", str(main), "-i", str(picture), *maps.split(), str(path)])
    info = probe(path)
    assert (info.codec, info.num_packets) == ("h264", 600)


@pytest.mark.parametrize(
    ("name", "text"),
    [("bframes_mkv", "Matroska"), ("avi_mpeg4", "AVI"), ("flv", "FLV")],
)
def test_a_known_container_without_streams_is_called_damaged(film, tmp_path, name, text):
    path = tmp_path / "head.mkv"
    path.write_bytes(film(name).path.read_bytes()[:12])
    assert text in reason(path, NotAVideo) or "no video stream" in reason(path, NotAVideo)


def test_a_container_of_subtitles_only_has_no_pictures_and_no_sound(studio, tmp_path):
    text = tmp_path / "text.srt"
    text.write_text("1\n00:00:00,000 --> 00:00:01,000\nhello\n")
    path = tmp_path / "text.mkv"
    studio.run(["-i", str(text), str(path)])
    assert reason(path, NotAVideo) == "no video or sound stream"


def test_a_film_of_no_packets_has_no_picture(film, tmp_path):
    data = film("fragmented").path.read_bytes()
    path = tmp_path / "head.mp4"
    path.write_bytes(data[: data.index(b"moof") - 4])
    assert "no picture" in reason(path, UndecodableVideo)
