"""`fdvs serve` as a person meets it: a process of its own, looked at in Debian's Chromium."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
PROGRAM = [sys.executable, "-c", "from fdvs.pipelines.cli.start import main; main()"]
PATIENCE_MS = 40_000  # a bound against hanging, on a busy machine
SUBTITLES = (
    "A fox digs a deep hole in the garden.",
    "The rabbit eats fresh green grass.",
    "Heavy rain falls on the old roof.",
    "The children paint a wooden boat.",
)
CLIP_S = 4
TOKEN = "a-token-of-the-browser-tests"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.slow)


def make_talk(path: Path, *, coder: tuple[str, ...] = ("-c:v", "libx264")) -> Path:
    """Write a film of 16 s: another picture every 4 s, and a subtitle for each."""
    import imageio_ffmpeg

    path.parent.mkdir(parents=True, exist_ok=True)
    sources = ("testsrc2", "smptebars", "mandelbrot", "rgbtestsrc")
    inputs = [
        part
        for source in sources
        for part in ("-f", "lavfi", "-t", str(CLIP_S), "-i", f"{source}=size=320x180:rate=10")
    ]
    shown = "".join(f"[{i}:v]format=yuv420p,setsar=1[v{i}];" for i in range(len(sources)))
    joined = "".join(f"[v{i}]" for i in range(len(sources)))
    subprocess.run(
        [
            imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", *inputs, "-filter_complex",
            f"{shown}{joined}concat=n={len(sources)}:v=1:a=0", *coder, "-g", "10",
            "-metadata", f"comment={path.name}", str(path),  # films of other names differ
        ],
        check=True,
    )  # fmt: skip
    lines = [
        f"{i + 1}\n00:00:{i * CLIP_S:02d},200 --> 00:00:{(i + 1) * CLIP_S - 1:02d},800\n{text}\n"
        for i, text in enumerate(SUBTITLES)
    ]
    path.with_suffix(".srt").write_text("\n".join(lines), "utf-8")
    return path


@dataclass
class Served:
    """A running server: `address` holds its token, `origin` does not."""

    address: str
    library: Path
    folder: Path

    @property
    def origin(self) -> str:
        return self.address.partition("/?")[0]


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Serve a library of one film, built with the offline preset."""
    from fdvs.models.weights.fetch import missing_models

    missing = missing_models("offline")
    if missing and os.environ.get("FDVS_REQUIRE_MODELS") == "1":
        pytest.fail(f"models missing: {missing}; run: fdvs models fetch --preset offline")
    if missing:
        pytest.skip(f"not run: models missing: {missing}; fdvs models fetch --preset offline")
    folder = tmp_path_factory.mktemp("served")
    library = folder / "library"
    make_talk(folder / "films" / "garden.mp4")
    built = [*PROGRAM, "build", str(folder / "films"), "-l", str(library), "--preset", "offline"]
    subprocess.run(built, check=True, capture_output=True)
    server = subprocess.Popen(
        [*PROGRAM, "serve", "-l", str(library), "--port", "0"],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "FDVS_TOKEN": TOKEN},
    )  # fmt: skip
    try:
        assert server.stderr is not None
        lines = iter(server.stderr.readline, "")  # standard output is kept for data
        address = next(line.split()[1] for line in lines if line.startswith("open"))
        origin = address.partition("/?")[0]  # the printed address lets in once
        yield Served(f"{origin}/?token={TOKEN}", library, folder)
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(60)


@pytest.fixture(scope="module")  # its event loop must not outlive the tests that use it
def chromium() -> Iterator[Any]:
    """Start Debian's Chromium; where it or Playwright is missing, say so and skip."""
    lacks = [] if importlib.util.find_spec("playwright") else ["Playwright"]
    lacks += [] if Path(CHROMIUM).exists() else ["Chromium"]
    if lacks and os.environ.get("FDVS_REQUIRE_BROWSER") == "1":
        pytest.fail(f"no {', no '.join(lacks)}")
    if lacks:
        pytest.skip(f"not run: no {', no '.join(lacks)} (apt-get install chromium)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--autoplay-policy=no-user-gesture-required"],
        )
        yield browser
        browser.close()


@dataclass
class Window:
    """A page of the browser, with all that it complained of and all that it fetched."""

    page: Any
    complaints: list[str] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)

    def watch(self, origin: str) -> None:
        """Keep console errors, exceptions and requests to other origins."""

        def told(message: Any) -> None:
            if message.type in ("error", "warning"):
                self.complaints.append(message.text)

        def fetched(request: Any) -> None:
            if not request.url.startswith((origin + "/", "data:", f"blob:{origin}/")):
                self.elsewhere.append(request.url)

        self.page.on("console", told)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", fetched)


def open_window(browser: Any, served: Served, **more: Any) -> Window:
    """Open a window at the printed address, as somebody who follows it does."""
    context = browser.new_context(viewport={"width": 1280, "height": 800}, **more)
    context.set_default_timeout(PATIENCE_MS)
    window = Window(context.new_page())
    window.watch(served.origin)
    window.page.goto(served.address)
    return window


@pytest.fixture(scope="session")
def talk() -> Callable[[Path], Path]:
    """`make_talk`, for tests that add films of their own."""
    return make_talk


@pytest.fixture
def window(chromium: Any, served: Served) -> Iterator[Window]:
    """A window at the library; the test fails where it complained or fetched from elsewhere."""
    opened = open_window(chromium, served)
    yield opened
    opened.page.context.close()
    assert opened.complaints == []
    assert opened.elsewhere == []
