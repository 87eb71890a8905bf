"""Make the films of films.json: ten kinds of files, whose every word is known.

    python research/make_films.py FOLDER

Lectures come from lectures.json; the others are some ten to sixty seconds. Needs the programs
espeak-ng and ffmpeg. A film that is there already is left as it is.
"""

from __future__ import annotations

import json
import sys
import tempfile
import wave
from collections.abc import Sequence
from pathlib import Path

from make_lectures import FFMPEG, SIZE, VOICES, film_of, run
from PIL import Image, ImageDraw, ImageFont

from fdvs.types import JsonDict

HERE = Path(__file__).parent
CUE_S, SCREEN_S, TITLE_S, TURN_PAUSE_S = 4.0, 6.0, 5.0, 0.7
CODED = ("-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p")
MOVING = "gradients=size=640x360:rate=10:seed=7:duration={}"
COLOURS = ("ForestGreen", "SaddleBrown", "SteelBlue", "DarkOliveGreen", "DarkSlateGray")


def main(arguments: Sequence[str]) -> int:
    """Make every film that is not there yet."""
    if len(arguments) != 1:
        print((__doc__ or "").splitlines()[2].strip(), file=sys.stderr)
        return 2
    make_all(Path(arguments[0]))
    return 0


def films() -> list[JsonDict]:
    """Return the scripts of all films."""
    found: list[JsonDict] = json.loads((HERE / "films.json").read_text("utf-8"))
    return found


def make_all(folder: Path) -> None:
    """Make what is missing in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for script in films():
        target = folder / script["name"]
        if not target.exists():
            with tempfile.TemporaryDirectory() as work:
                make(script, Path(work), target)
            print(target, flush=True)


def make(script: JsonDict, work: Path, target: Path) -> None:
    """Make one film by what its script holds."""
    if "lecture" in script:
        lectures = json.loads((HERE / "lectures.json").read_text("utf-8"))
        lecture = next(one for one in lectures if one["name"] == script["lecture"])
        film_of({**lecture, "footer": script.get("footer", "")}, work, target)
    elif "screens" in script:
        _pictures(_screens(script["screens"], work), SCREEN_S, target)
    elif "titles" in script:
        _pictures(_titles(script["titles"], work), TITLE_S, target)
    elif "cues" in script:
        length_s = CUE_S * len(script["cues"])
        run(*FFMPEG, "-f", "lavfi", "-i", MOVING.format(length_s), *CODED, str(target))
        target.with_suffix(".en.srt").write_text(_srt(script["cues"], CUE_S), "utf-8")
    elif "voices" in script:
        _two_languages(script["voices"], work, target)
    elif "turns" in script:
        voices = ("en-us", "en-gb")
        sound = _said([(voices[n % 2], t) for n, t in enumerate(script["turns"])], work)
        run(*FFMPEG, "-i", str(sound), "-b:a", "64k", str(target))
    elif "note" in script:
        sound = _said([("en-us", script["note"])], work)
        run(
            *FFMPEG, "-f", "lavfi", "-i", MOVING.format(60), "-i", str(sound), "-shortest",
            *CODED, "-c:a", "aac", str(target),
        )  # fmt: skip
    else:
        run(*FFMPEG, "-f", "lavfi", "-i", MOVING.format(script["silent"]), *CODED, str(target))


def _said(turns: Sequence[tuple[str, str]], work: Path) -> Path:
    """Return a WAV file of (voice, text) one after another, with a pause behind each."""
    target = work / "said.wav"
    with wave.open(str(target), "wb") as whole:
        for number, (voice, text) in enumerate(turns):
            part = work / f"part{number}.wav"
            run("espeak-ng", "-v", voice, "-s", "150", "-w", str(part), text)
            with wave.open(str(part)) as file:
                if not number:
                    whole.setparams(file.getparams())
                whole.writeframes(file.readframes(file.getnframes()))
                whole.writeframes(bytes(2 * round(TURN_PAUSE_S * file.getframerate())))
    return target


def _two_languages(voices: dict[str, list[str]], work: Path, target: Path) -> None:
    """Write a Matroska file with a sound track and a text track in each language."""
    inputs, maps, marks = [], ["-map", "0:v"], []
    for number, (language, lines) in enumerate(voices.items()):
        folder = work / language
        folder.mkdir()
        sound = _said([(VOICES[language], line) for line in lines], folder)
        cues = folder / "cues.srt"
        cues.write_text(_srt(lines, CUE_S), "utf-8")
        inputs += ["-i", str(sound), "-i", str(cues)]
        maps += ["-map", f"{2 * number + 1}:a", "-map", f"{2 * number + 2}:s"]
        tag = {"en": "eng", "de": "ger"}[language]
        marks += [f"-metadata:s:a:{number}", f"language={tag}"]
        marks += [f"-metadata:s:s:{number}", f"language={tag}"]
    length_s = CUE_S * max(map(len, voices.values()))
    run(
        *FFMPEG, "-f", "lavfi", "-i", MOVING.format(length_s), *inputs, *maps, *marks, *CODED,
        "-c:a", "aac", "-c:s", "srt", str(target),
    )  # fmt: skip


def _srt(lines: Sequence[str], each_s: float) -> str:
    def stamp(seconds: float) -> str:
        ms = round(seconds * 1000)
        return f"00:{ms // 60000:02}:{ms // 1000 % 60:02},{ms % 1000:03}"

    cues = (
        f"{n + 1}\n{stamp(n * each_s)} --> {stamp((n + 1) * each_s - 0.5)}\n{text}\n"
        for n, text in enumerate(lines)
    )
    return "\n".join(cues)


def _pictures(paths: Sequence[Path], each_s: float, target: Path) -> None:
    listed = "".join(f"file '{path}'\nduration {each_s}\n" for path in [*paths, paths[-1]])
    parts = paths[0].parent / "parts.txt"
    parts.write_text(listed, "utf-8")
    run(
        *FFMPEG, "-f", "concat", "-safe", "0", "-i", str(parts), "-r", "5",
        "-t", str(each_s * len(paths)), *CODED, str(target),
    )  # fmt: skip


def _screens(screens: Sequence[Sequence[str]], work: Path) -> list[Path]:
    """Draw a terminal that shows one command after another, the last three of them."""
    paths = []
    for number in range(len(screens)):
        image = Image.new("RGB", SIZE, (24, 26, 32))
        draw, top = ImageDraw.Draw(image), 40
        for line in (
            line for screen in screens[max(0, number - 2) : number + 1] for line in screen
        ):
            draw.text((50, top), line, fill=(220, 220, 210), font=ImageFont.load_default(28))
            top += 44
        paths.append(work / f"{number}.png")
        image.save(paths[-1])
    return paths


def _titles(titles: Sequence[str], work: Path) -> list[Path]:
    """Draw a plain coloured picture with a title for each."""
    paths = []
    for number, title in enumerate(titles):
        image = Image.new("RGB", SIZE, COLOURS[number % len(COLOURS)])
        font = ImageFont.load_default(44)
        ImageDraw.Draw(image).text((120, 230), title, fill="white", font=font)
        paths.append(work / f"{number}.png")
        image.save(paths[-1])
    return paths


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
