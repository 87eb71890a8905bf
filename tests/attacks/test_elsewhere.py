"""Media and subtitles that point elsewhere: no other file is opened, no host is asked."""

from __future__ import annotations

import ctypes
import json
import os
import random
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from .conftest import Attack, write_film

pytestmark = [pytest.mark.attack, pytest.mark.slow]

IN_OPEN, IN_NONBLOCK = 0x20, 0o4000
SUFFIXES = (
    ".mp4 .mkv .mov .avi .m2ts .flv .wmv .webm .mp3 .wav .m4a .ogg .srt .ass .vtt .sub".split()
)
PLAYLISTS = {
    "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{0}\n#EXT-X-ENDLIST\n",
    "hls map": '#EXTM3U\n#EXT-X-MAP:URI="{0}"\n#EXT-X-KEY:METHOD=AES-128,URI="{0}"\n'
    "#EXTINF:9,\n{0}\n",
    "concat": "ffconcat version 1.0\nfile '{0}'\n",
    "concat stream": "ffconcat version 1.0\nstream\nfile {0}\n"
    "option protocol_whitelist file,http\n",
    "dash": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static">'
    "<Period><AdaptationSet><Representation><BaseURL>{0}</BaseURL></Representation>"
    "</AdaptationSet></Period></MPD>",
    "entity": '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY e SYSTEM "{0}">]><MPD>&e;</MPD>',
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n"
    "a=control:{0}\n",
    "asx": '<asx version="3.0"><entry><ref href="{0}"/></entry></asx>',
    "pls": "[playlist]\nFile1={0}\nNumberOfEntries=1\n",
    "m3u": "{0}\n", "ram": "{0}\n", "rtsptext": "rtsptext\n{0}\n",
    "smil": '<smil><video src="{0}"/></smil>',
    "xspf": "<playlist><trackList><track><location>{0}</location></track></trackList></playlist>",
    "svg": '<svg xmlns:xlink="http://www.w3.org/1999/xlink"><image xlink:href="{0}"/></svg>',
    "avs": 'AviSource("{0}")\n', "vpy": "import vapoursynth as vs\nvs.core.ffms2.Source('{0}')\n",
    "edl": "# mpv EDL v0\n{0},0,5\n", "cue": 'FILE "{0}" WAVE\n  TRACK 01 AUDIO\n',
    "srt": '1\n00:00:00,000 --> 00:00:02,000\n<img src="{0}">hello\n',
    "ass": "[Events]\nFormat: Start, End, Text\n"
    "Dialogue: 0:00:00.00,0:00:02.00,{{\\fn{0}}}hello\n",
    "vtt": 'WEBVTT\n\nSTYLE\n::cue {{ background: url("{0}") }}\n\n'
    "00:00.000 --> 00:02.000\nhello\n",
    "vobsub": "# VobSub index file, v7\nid: en, index: 0\n"
    "timestamp: 00:00:00:000, filepos: 0\n{0}\n",
    "image": "P6\n{0}\n",
}  # fmt: skip


def box(kind: bytes, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack(">I", 8 + len(body)) + kind + body


def with_reference(film: bytes, target: str) -> bytes:
    """Return an MP4 whose data reference names another file: `url ` without the flag for itself."""
    own = box(b"url ", b"\0\0\0\1")
    at = film.index(own)
    other = box(b"url ", b"\0\0\0\0", target.encode() + b"\0")
    data = bytearray(film[:at] + other + film[at + len(own) :])
    for kind in (b"dref", b"dinf", b"minf", b"mdia", b"trak", b"moov"):
        start = data.rindex(kind, 0, at) - 4
        size = struct.unpack(">I", data[start : start + 4])[0] + len(other) - len(own)
        data[start : start + 4] = struct.pack(">I", size)
    return bytes(data)


def reference_movie(target: str) -> bytes:
    """Return a QuickTime reference movie, which names the movie to play instead."""
    name = target.encode() + b"\0"
    url = box(b"rdrf", b"\0\0\0\0", b"url ", struct.pack(">I", len(name)), name)
    return box(b"ftyp", b"qt  \0\0\0\0qt  ") + box(b"moov", box(b"rmra", box(b"rmda", url)))


class Watched:
    """A file, and whether anybody has opened it (inotify)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        libc = ctypes.CDLL(None, use_errno=True)
        self._watch = libc.inotify_init1(IN_NONBLOCK)
        if self._watch < 0 or libc.inotify_add_watch(self._watch, os.fsencode(path), IN_OPEN) < 0:
            pytest.skip("this system cannot tell who opens a file (inotify)")

    def was_opened(self) -> bool:
        try:
            return bool(os.read(self._watch, 65536))
        except BlockingIOError:
            return False


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    """A film outside of the folder that is built."""
    (tmp_path / "elsewhere").mkdir()
    return Watched(write_film(tmp_path / "elsewhere" / "secret.ts", [10, 200]))


@pytest.fixture
def listener() -> Iterator[tuple[str, list[str]]]:
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/film.ts", asked
    server.shutdown()
    server.server_close()


def test_the_watch_sees_who_opens_a_file(watched: Watched) -> None:
    """The control."""
    assert not watched.was_opened()
    subprocess.run([sys.executable, "-c", f"open({str(watched.path)!r})"], check=True)
    assert watched.was_opened()


def targets(secret: Path, url: str, folder: Path) -> list[str]:
    beside = os.path.relpath(secret, folder)
    return [
        str(secret), beside, f"file:{secret}", f"file://{secret}", url, url.replace("http", "tcp"),
        f"concat:{secret}|{secret}", f"subfile,,start,0,end,0,,:{secret}", f"crypto:{secret}",
        f"async:{secret}", f"data:text/plain,{secret}", url.replace("http://", "rtsp://"),
    ]  # fmt: skip


def test_media_that_point_elsewhere(
    attack: Attack,
    watched: Watched,
    listener: tuple[str, list[str]],
    tmp_path: Path,
    start_build: Callable[..., subprocess.Popen[str]],
) -> None:
    rng = random.Random(9)
    url, asked = listener
    folder = tmp_path / "films"
    folder.mkdir()
    film = write_film(tmp_path / "own.mp4", [60, 180]).read_bytes()
    write_film(folder / "good.mp4", [60, 180])
    wanted = targets(watched.path, url, folder)
    names = {"good.mp4"}
    for number in range(attack.trials(200)):
        suffix, target = rng.choice(SUFFIXES), rng.choice(wanted)
        kind = rng.choice([*PLAYLISTS, "dref", "rmra", "link"])
        path = folder / f"{number} {kind}{suffix}"
        if kind == "dref":
            path.write_bytes(with_reference(film, target))
        elif kind == "rmra":
            path.write_bytes(reference_movie(target))
        elif kind == "link":
            path = folder / f"{number} %03d{suffix}"
            path.write_text(PLAYLISTS["concat"].format(target))
        else:
            path.write_text(rng.choice(["", "\ufeff", "\n\n"]) + PLAYLISTS[kind].format(target))
        if suffix not in (".srt", ".ass", ".vtt", ".sub"):
            names.add(path.name)
        else:  # a sidecar of the good film
            path.rename(folder / f"good.{number}{suffix}")
    watched.was_opened()  # by this test, which wrote it
    out, errors = start_build(tmp_path / "library", folder).communicate(timeout=180)
    rows = {row[0]: row for row in map(json.loads, out.splitlines())}
    attack.count("" if not asked else f"a host was asked: {asked}", num=len(names) - 1)
    if watched.was_opened():
        attack.failures.append("the other file was opened")
    if rows.keys() != names or rows["good.mp4"][1] != "built":
        attack.failures.append(f"rows {sorted(names ^ rows.keys())} are missing: {errors[-500:]}")
