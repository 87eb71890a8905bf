"""Make the films of lectures.json: a synthetic voice reads them beside their slides.

    python research/make_lectures.py FOLDER

Needs the programs espeak-ng and ffmpeg. One film a lecture, about three minutes each.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import wave
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

HERE = Path(__file__).parent
SIZE = (960, 540)
PAUSE_S = 0.6
VOICES = {"en": "en-us", "de": "de"}


def main(arguments: list[str]) -> int:
    """Make every film that is not there yet."""
    if len(arguments) != 1:
        print((__doc__ or "").splitlines()[2].strip(), file=sys.stderr)
        return 2
    folder = Path(arguments[0])
    folder.mkdir(parents=True, exist_ok=True)
    for lecture in json.loads((HERE / "lectures.json").read_text("utf-8")):
        target = folder / f"{lecture['name']}.mp4"
        if not target.exists():
            with tempfile.TemporaryDirectory() as work:
                film_of(lecture, Path(work), target)
            print(target)
    return 0


def film_of(lecture: dict[str, Any], work: Path, target: Path) -> None:
    """Make the film of a lecture; `footer`, if it has one, stands on every slide."""
    slides = [slide for topic in lecture["topics"] for slide in topic["slides"]]
    for number, slide in enumerate(slides):
        _draw(slide, work / f"{number}.png", footer=lecture.get("footer", ""))
        sound, voice = work / f"{number}.wav", VOICES[lecture["language"]]
        run("espeak-ng", "-v", voice, "-s", "150", "-w", str(sound), " ".join(slide["said"]))
        with wave.open(str(sound)) as file:
            length_s = file.getnframes() / file.getframerate() + PAUSE_S
        run(
            *FFMPEG, "-loop", "1", "-framerate", "5", "-i", str(work / f"{number}.png"),
            "-i", str(sound), "-af", f"apad=pad_dur={PAUSE_S}", "-shortest", "-t", str(length_s),
            "-c:v", "libx264", "-pix_fmt", "yuv420p", "-c:a", "aac", "-ar", "22050",
            str(work / f"{number}.mp4"),
        )  # fmt: skip
    parts = "".join(f"file '{work / str(number)}.mp4'\n" for number in range(len(slides)))
    (work / "parts.txt").write_text(parts, "utf-8")
    run(
        *FFMPEG, "-f", "concat", "-safe", "0", "-i", str(work / "parts.txt"), "-c", "copy",
        str(target),
    )  # fmt: skip


def _draw(slide: dict[str, Any], target: Path, *, footer: str) -> None:
    image = Image.new("RGB", SIZE, (250, 250, 246))
    draw = ImageDraw.Draw(image)
    draw.text((60, 50), slide["title"], fill=(20, 40, 90), font=ImageFont.load_default(46))
    for place, bullet in enumerate(slide["bullets"]):
        at = (90, 150 + place * 60)
        draw.text(at, f"- {bullet}", fill=(30, 30, 30), font=ImageFont.load_default(30))
    if footer:
        draw.text((60, 495), footer, fill=(90, 90, 90), font=ImageFont.load_default(24))
    image.save(target)


FFMPEG = ("ffmpeg", "-nostdin", "-y", "-loglevel", "error")


def run(*command: str) -> None:
    subprocess.run(command, check=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
