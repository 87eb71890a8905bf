"""Films made by ffmpeg whose every picture carries its number, so that truth comes from there.

A picture is 160x96: 16 cells, 8 columns and 2 rows, white for a 1 and black for a 0, most
significant bit first. `film(name)` makes each film once per session.
"""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

WIDTH_PX, HEIGHT_PX, FPS = 160, 96, 25
COLUMNS, ROWS = 8, 2
X264 = "-c:v libx264 -preset ultrafast -g 50 -x264-params"
BFRAMES = f"{X264} bframes=2:b-adapt=0:scenecut=0"
OPEN_GOP = f"{X264} bframes=3:b-adapt=0:scenecut=0:open-gop=1"


@dataclass(frozen=True, kw_only=True)
class Film:
    """A file, the time of each picture from the first one on, and the number drawn in it."""

    path: Path
    times_s: tuple[float, ...]
    numbers: tuple[int, ...]

    def number_at(self, time_s: float) -> int:
        """The number of the last picture with time <= time_s."""
        place = int(np.searchsorted(self.times_s, time_s + 1e-6, side="right")) - 1
        return self.numbers[max(0, place)]


def draw(number: int, width_px: int = WIDTH_PX, height_px: int = HEIGHT_PX) -> np.ndarray:
    bits = [(number >> shift) & 1 for shift in range(15, -1, -1)]
    cells = np.array(bits, dtype=np.uint8).reshape(ROWS, COLUMNS) * 255
    return np.kron(cells, np.ones((height_px // ROWS, width_px // COLUMNS), dtype=np.uint8))


def number_of(image: np.ndarray) -> int:
    """Read the number back; fails where a cell is neither black nor white."""
    height_px, width_px = image.shape[:2]
    ys = (2 * np.arange(ROWS) + 1) * height_px // (2 * ROWS)
    xs = (2 * np.arange(COLUMNS) + 1) * width_px // (2 * COLUMNS)
    around = np.arange(-2, 3)
    rows = (ys[:, None] + around).ravel()
    columns = (xs[:, None] + around).ravel()
    pixels = image[rows[:, None], columns].astype(np.float32)
    cells = pixels.reshape(ROWS, 5, COLUMNS, 5, 3).mean(axis=(1, 3, 4)).ravel()
    assert np.all((cells < 70) | (cells > 185)), f"unclear cells: {cells.round()}"
    return int("".join("01"[int(cell > 128)] for cell in cells), 2)


class Studio:
    """Makes films on demand and keeps them."""

    def __init__(self, folder: Path, ffmpeg: str) -> None:
        self.folder = folder
        self.ffmpeg = ffmpeg
        self._models: dict[str, Film] = {}

    def film(self, name: str) -> Film:
        if name not in self._models:
            self._models[name] = RECIPES[name](self, name)
        return self._models[name]

    def run(self, arguments: list[str], pictures: bytes | None = None) -> None:
        subprocess.run(
            [self.ffmpeg, "-v", "error", "-nostdin", "-y", *arguments],
            input=pictures,
            check=True,
            timeout=60,
            stdin=subprocess.DEVNULL if pictures is None else None,
        )

    def encode(
        self,
        name: str,
        options: str,
        *,
        num_frames: int = 600,
        numbers: range | None = None,
        size: tuple[int, int] = (WIDTH_PX, HEIGHT_PX),
        before: str = "",
    ) -> Path:
        """Encode numbered pictures; `options` end with the format, e.g. `-f mp4`."""
        numbers = range(num_frames) if numbers is None else numbers
        path = self.folder / name
        head = f"-f rawvideo -pix_fmt gray -s {size[0]}x{size[1]} -r {FPS} -i pipe:0 {before}"
        pictures = b"".join(draw(number, *size).tobytes() for number in numbers)
        pixels = "" if "-pix_fmt" in options else "-pix_fmt yuv420p"
        arguments = f"-threads 2 {head} {pixels} {options}"
        self.run([*arguments.split(), str(path)], pictures)
        return path


def constant(path: Path, num_frames: int = 600, first: int = 0) -> Film:
    return Film(
        path=path,
        times_s=tuple(index / FPS for index in range(num_frames)),
        numbers=tuple(range(first, first + num_frames)),
    )


def plain(suffix: str, options: str, num_frames: int = 600) -> Callable[[Studio, str], Film]:
    def make(studio: Studio, name: str) -> Film:
        path = studio.encode(name + suffix, options, num_frames=num_frames)
        return constant(path, num_frames)

    return make


def variable_rate(suffix: str) -> Callable[[Studio, str], Film]:
    """Every fifth picture stays for three frames."""

    def make(studio: Studio, name: str) -> Film:
        options = f"-vf settb=1/50,setpts=2*(N+2*floor(N/5)) -fps_mode passthrough {BFRAMES}"
        path = studio.encode(name + suffix, options, num_frames=300)
        times_s = tuple((n + 2 * (n // 5)) / FPS for n in range(300))
        return Film(path=path, times_s=times_s, numbers=tuple(range(300)))

    return make


def edit_list(studio: Studio, name: str) -> Film:
    """A copy cut at 1.32 s: the file holds the pictures from 0 on, an edit list hides 33."""
    path = studio.folder / f"{name}.mp4"
    source = studio.film("bframes_mp4").path
    studio.run(["-ss", "1.32", "-i", str(source), "-c", "copy", str(path)])
    return constant(path, 567, first=33)


def cut_transport_stream(studio: Studio, name: str) -> Film:
    """Whole packets cut from the front, in the middle of a group of pictures."""
    data = studio.film("ts").path.read_bytes()
    path = studio.folder / f"{name}.ts"
    start = len(data) * 3 // 10 // 188 * 188
    path.write_bytes(data[start:])
    # The first key frame after the cut is known by the group length only: see the test.
    return constant(path, 0)


def copied(source: str, suffix: str, before: str, after: str) -> Callable[[Studio, str], Film]:
    def make(studio: Studio, name: str) -> Film:
        original = studio.film(source)
        path = studio.folder / f"{name}{suffix}"
        studio.run([*before.split(), "-i", str(original.path), *after.split(), str(path)])
        return Film(path=path, times_s=original.times_s, numbers=original.numbers)

    return make


def size_change(width_px: int, height_px: int) -> Callable[[Studio, str], Film]:
    """Two transport streams in one file; the second has pictures of another size."""

    def make(studio: Studio, name: str) -> Film:
        first = studio.encode(f"{name}_a.ts", f"{BFRAMES} -f mpegts", num_frames=100)
        second = studio.encode(
            f"{name}_b.ts",
            f"{BFRAMES} -output_ts_offset 4 -f mpegts",
            numbers=range(100, 200),
            size=(width_px, height_px),
        )
        path = studio.folder / f"{name}.ts"
        path.write_bytes(first.read_bytes() + second.read_bytes())
        return constant(path, 200)

    return make


def two_streams(studio: Studio, name: str) -> Film:
    """The first stream is small and counts from 1000, the second is the film."""
    other = studio.encode(f"{name}_small.mp4", BFRAMES, numbers=range(1000, 1100), size=(80, 48))
    main = studio.film("bframes_mp4")
    path = studio.folder / f"{name}.mp4"
    # FFmpeg's choice goes by disposition first.
    maps = "-map 0:v -map 1:v -c copy -disposition:v:0 0 -disposition:v:1 default"
    studio.run(["-i", str(other), "-i", str(main.path), *maps.split(), str(path)])
    return Film(path=path, times_s=main.times_s, numbers=main.numbers)


def audio(name: str, options: str) -> Callable[[Studio, str], Film]:
    def make(studio: Studio, _: str) -> Film:
        path = studio.folder / name
        tone = "-f lavfi -i sine=440:d=2"
        studio.run([*f"{tone} {options}".split(), str(path)])
        return constant(path, 0)

    return make


def cover(name: str, options: str) -> Callable[[Studio, str], Film]:
    def make(studio: Studio, _: str) -> Film:
        picture = studio.encode(f"{name}.jpg", "-c:v mjpeg -pix_fmt yuvj420p", num_frames=1)
        path = studio.folder / name
        tone = ["-f", "lavfi", "-i", "sine=440:d=2", "-i", str(picture)]
        maps = f"-map 0:a -map 1:v -c:v copy -disposition:v attached_pic {options}".split()
        studio.run([*tone, *maps, str(path)])
        return constant(path, 0)

    return make


def audio_first(studio: Studio, name: str) -> Film:
    main = studio.film("bframes_mp4")
    path = studio.folder / f"{name}.mkv"
    tone = ["-f", "lavfi", "-i", "sine=440:d=24"]
    maps = "-map 0:a -map 1:v -c:a aac -c:v copy"
    studio.run([*tone, "-i", str(main.path), *maps.split(), str(path)])
    return Film(path=path, times_s=main.times_s, numbers=main.numbers)


RECIPES: dict[str, Callable[[Studio, str], Film]] = {
    "bframes_mp4": plain(".mp4", BFRAMES),
    "bframes_mkv": plain(".mkv", BFRAMES),
    "open_gop_mp4": plain(".mp4", OPEN_GOP),
    "open_gop_mkv": plain(".mkv", OPEN_GOP),
    "open_gop_hevc": plain(
        ".mp4",
        "-c:v libx265 -preset ultrafast -x265-params log-level=error:keyint=50:min-keyint=50:"
        "bframes=3:b-adapt=0:scenecut=0:open-gop=1",
        300,
    ),
    "vfr_mp4": variable_rate(".mp4"),
    "vfr_mkv": variable_rate(".mkv"),
    "edit_list": edit_list,
    "ts": plain(".ts", BFRAMES),
    "ts_open_gop": plain(".ts", OPEN_GOP),
    "ts_wrap": plain(".ts", f"{BFRAMES} -output_ts_offset 95433"),
    "ts_mpeg2": plain(".ts", "-c:v mpeg2video -g 50 -bf 2 -q:v 2 -sc_threshold 1000000000"),
    "ts_cut": cut_transport_stream,
    "late_start": plain(".mp4", f"{BFRAMES} -output_ts_offset 7"),
    "fragmented": plain(".mp4", f"{BFRAMES} -movflags frag_keyframe+empty_moov"),
    "flv": plain(".flv", f"{BFRAMES} -f flv"),
    "vp9": plain(".webm", "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -g 50 -b:v 400k", 300),
    "av1": plain(".mp4", "-c:v libaom-av1 -usage realtime -cpu-used 8 -g 50 -b:v 400k", 100),
    "intra_refresh": plain(".mp4", f"{X264} bframes=0:scenecut=0:intra-refresh=1"),
    "all_intra": plain(".mp4", "-c:v libx264 -preset ultrafast -g 1", 100),
    "one_frame": plain(".mp4", BFRAMES, 1),
    "no_first_times": copied(
        "bframes_mkv",
        ".mkv",
        "-copyts",
        "-c copy -output_ts_offset -1.32 -avoid_negative_ts disabled",
    ),
    "one_time_twice": copied(
        "all_intra",
        ".mp4",
        "",
        "-c copy -bsf:v setts=dts=DTS-20*DURATION:pts=PTS-DURATION*eq(N\\,50)",
    ),
    "four_minutes": copied("bframes_mp4", "_long.mp4", "-stream_loop 9", "-c copy"),
    "avi_bframes": plain(".avi", f"{BFRAMES} -f avi", 300),
    "avi_mpeg4": plain(".avi", "-c:v mpeg4 -g 50 -bf 0 -q:v 2 -f avi", 300),
    "avi_mpeg4_b": plain(".avi", "-c:v mpeg4 -g 50 -bf 2 -q:v 2 -f avi", 120),
    "mpeg_ps": plain(".mpg", "-c:v mpeg2video -g 50 -bf 2 -q:v 2 -f mpeg", 120),
    "ts_hevc": plain(
        ".ts",
        "-c:v libx265 -preset ultrafast -x265-params log-level=error:keyint=50:min-keyint=50:"
        "bframes=4:open-gop=1 -f mpegts",
        120,
    ),
    "wmv": plain(".wmv", "-c:v wmv2 -g 50 -q:v 2 -f asf", 120),
    "theora": plain(".ogv", "-c:v libtheora -g 50 -q:v 8 -f ogg", 120),
    "raw_h264": plain(".h264", f"{BFRAMES} -f h264", 100),
    "h264_10_bit": plain(".mp4", f"-pix_fmt yuv420p10le {BFRAMES}", 100),
    "hevc_10_bit": plain(
        ".mp4",
        "-pix_fmt yuv420p10le -c:v libx265 -preset ultrafast -x265-params log-level=error",
        100,
    ),
    "sar": plain(".mp4", f"-vf setsar=2/1 {BFRAMES}", 100),
    "no_duration": plain(".webm", "-c:v libvpx-vp9 -deadline realtime -live 1 -f webm", 100),
    "rotated_90": copied("bframes_mp4", ".mp4", "-display_rotation 90", "-c copy"),
    "rotated_180": copied("bframes_mp4", ".mp4", "-display_rotation 180", "-c copy"),
    "rotated_270": copied("bframes_mp4", ".mp4", "-display_rotation 270", "-c copy"),
    "size_change": size_change(2 * WIDTH_PX, 2 * HEIGHT_PX),
    "shape_change": size_change(HEIGHT_PX, WIDTH_PX),
    "two_streams": two_streams,
    "audio_first": audio_first,
    "audio_m4a": audio("tone.m4a", "-c:a aac"),
    "audio_wav": audio("tone.wav", ""),
    "audio_mp3": audio("tone.mp3", "-c:a libmp3lame"),
    "audio_flac": audio("tone.flac", ""),
    "audio_in_mkv": audio("tone.mkv", "-c:a aac"),
    "audio_aac": audio("tone.aac", "-c:a aac"),
    "audio_ogg": audio("tone.ogg", "-c:a libvorbis"),
    "audio_opus": audio("tone.opus", "-c:a libopus"),
    "audio_aiff": audio("tone.aiff", ""),
    "cover_m4a": cover("cover.m4a", "-c:a aac"),
    "cover_mp3": cover("cover.mp3", "-c:a libmp3lame"),
}


@pytest.fixture(scope="session")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    import imageio_ffmpeg

    return Studio(tmp_path_factory.mktemp("films"), imageio_ffmpeg.get_ffmpeg_exe())


@pytest.fixture(scope="session")
def film(studio: Studio) -> Callable[[str], Film]:
    """Make the film of this name (see RECIPES), once."""
    return studio.film


@pytest.fixture(scope="session")
def read_number() -> Callable[[np.ndarray], int]:
    return number_of


@dataclass
class Server:
    """A loopback HTTP server that gives a film to everybody and counts who asked."""

    url: str
    hits: list[str]


@pytest.fixture
def http_server(film: Callable[[str], Film]) -> Iterator[Server]:
    body = film("bframes_mp4").path.read_bytes()
    hits: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            hits.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield Server(url=f"http://127.0.0.1:{server.server_address[1]}/film.mp4", hits=hits)
    server.shutdown()
    server.server_close()
    thread.join(5)
