"""Make a short talk with slides and subtitles for the demo: `make_talk.py FOLDER`.

Two minutes of slides, drawn here, and a subtitle file beside them that says what a speaker would
say. Nobody speaks: so the demo shows what FDVS does with words on any machine, in seconds.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import av
import numpy as np
from PIL import Image, ImageDraw, ImageFont

NAME = "tides-talk"
SIZE = (960, 540)
FPS = 5
WORDS_PER_S = 2.5
PAUSE_S = 0.4
SLIDES = (
    ("What tides are", ("Twice a day", "Rise and fall of the sea"), (
        "Good evening and welcome.",
        "Tonight I want to explain why the sea comes and goes.",
        "A tide is the slow rise and fall of the sea, and on most coasts it happens twice a day.",
        "From one high water to the next it takes twelve hours and twenty-five minutes.",
    )),
    ("The pull of the moon", ("Near side: water is pulled", "Far side: water stays behind"), (
        "What causes it?",
        "The moon pulls the water on the near side of the earth more strongly than the earth"
        " itself.",
        "On the far side the water is pulled less, so it stays behind and makes a second bulge.",
        "The earth turns under these two bulges, and that is why there are two tides a day.",
    )),
    ("Spring and neap tides", ("New and full moon: spring tide", "Half moon: neap tide"), (
        "The sun helps, with about half of the strength of the moon.",
        "At new moon and full moon both pull in one line, and the water rises highest:"
        " a spring tide.",
        "At half moon they work against each other, and the tide is weak: a neap tide.",
    )),
    ("The highest tides", ("Bay of Fundy: 16 metres", "Mediterranean: 30 centimetres"), (
        "The shape of the coast decides how high the water gets.",
        "In the Bay of Fundy in Canada the water rises by sixteen metres, the height of a house.",
        "In the Mediterranean it rises by only thirty centimetres, because the strait of Gibraltar"
        " is too narrow.",
    )),
    ("Power from tides", ("La Rance, 1966", "240 megawatts"), (
        "People have used tides for a thousand years, first to grind grain in tide mills.",
        "The first large power station was opened in 1966 at La Rance in France.",
        "It gives 240 megawatts, enough for a town of two hundred thousand people.",
        "Its weak point is mud, which slowly fills the basin behind the dam.",
    )),
    ("Slower days", ("2 milliseconds a century",), (
        "Tides rub against the sea floor, and that slows the earth down.",
        "A day becomes about two milliseconds longer every century.",
        "When the dinosaurs lived, a day had only twenty-three hours.",
        "Thank you for listening.",
    )),
)  # fmt: skip


def main(arguments: list[str]) -> int:
    """Make film and subtitles where they are not there yet."""
    if len(arguments) != 1:
        print("usage: make_talk.py FOLDER", file=sys.stderr)
        return 2
    folder = Path(arguments[0])
    folder.mkdir(parents=True, exist_ok=True)
    film, cues = folder / f"{NAME}.mp4", folder / f"{NAME}.srt"
    if not (film.exists() and cues.exists()):
        times = slide_times()
        cues.write_text(subtitles(times), "utf-8")
        part = film.with_suffix(".part.mp4")
        write_film(part, times)
        os.replace(part, film)
    return 0


def slide_times() -> list[list[tuple[float, float, str]]]:
    """Return for each slide its sentences with start and end in seconds."""
    times, now_s = [], 0.5
    for _, _, sentences in SLIDES:
        said = []
        for sentence in sentences:
            end_s = now_s + len(sentence.split()) / WORDS_PER_S
            said.append((now_s, end_s, sentence))
            now_s = end_s + PAUSE_S
        times.append(said)
    return times


def subtitles(times: list[list[tuple[float, float, str]]]) -> str:
    """Return the sentences as SubRip."""
    cues = [cue for said in times for cue in said]
    return "".join(
        f"{number}\n{_clock(start_s)} --> {_clock(end_s)}\n{text}\n\n"
        for number, (start_s, end_s, text) in enumerate(cues, start=1)
    )


def _clock(time_s: float) -> str:
    milliseconds = round(time_s * 1000)
    seconds, milliseconds = divmod(milliseconds, 1000)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d},{milliseconds:03d}"


def write_film(path: Path, times: list[list[tuple[float, float, str]]]) -> None:
    """Write the slides, each until the next one's first sentence, with a key frame at each."""
    starts = [0.0, *(said[0][0] - PAUSE_S / 2 for said in times[1:]), times[-1][-1][1] + 1]
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=FPS)
        stream.width, stream.height = SIZE
        stream.pix_fmt = "yuv420p"
        stream.codec_context.gop_size = 1000
        number = 0
        for place, (title, bullets, _) in enumerate(SLIDES):
            picture = np.asarray(draw(title, bullets))
            first = number
            while number < round(starts[place + 1] * FPS):
                frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
                if number == first:
                    frame.pict_type = av.video.frame.PictureType.I
                out.mux(stream.encode(frame))
                number += 1
        out.mux(stream.encode())


def draw(title: str, bullets: tuple[str, ...]) -> Image.Image:
    """Return a slide."""
    image = Image.new("RGB", SIZE, (248, 248, 244))
    pen = ImageDraw.Draw(image)
    pen.rectangle((0, 0, 18, SIZE[1]), fill=(28, 78, 128))
    pen.text((70, 60), title, fill=(20, 40, 80), font=ImageFont.load_default(52))
    for place, bullet in enumerate(bullets):
        at = (90, 190 + 70 * place)
        pen.text(at, f"- {bullet}", fill=(40, 40, 40), font=ImageFont.load_default(34))
    return image


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
