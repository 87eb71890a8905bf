"""Measure speech recognition of a whole track against clip by clip, on a lecture by espeak-ng.

Prints the word error rate, processor seconds for an hour of sound, and the words of the lecture
that were lost near a clip's border. Clip by clip is the way before version 2 of the source: each
clip alone with a second on both sides, words by their midpoint; the recogniser is the same.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import tempfile
import time
import wave
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import csv_rows
import numpy as np
from lecture_text import LECTURE

from fdvs.media.readers import probe
from fdvs.models.cards import LoadSettings, load_card
from fdvs.models.describe.audio import SAMPLE_RATE, Samples, TrackSound, audio_tracks, mix
from fdvs.models.describe.speech import SpeechSource
from fdvs.models.describe.speech_whisper import Recogniser, Whisper
from fdvs.models.weights.fetch import model_folder
from fdvs.text.sentences import split_sentences

PAUSE_S = 0.4
MARGIN_S = 1.0
NEAR_BORDER_S = 0.75


@dataclass(frozen=True, slots=True, kw_only=True)
class Spoken:
    """A word and its time; of the lecture's own words, by even steps within their sentence."""

    word: str
    at_s: float


def make_lecture(path: Path, *, voice: str) -> list[Spoken]:
    """Write the lecture as WAV, sentence by sentence; return its words with their times."""
    found: list[Spoken] = []
    parts: list[bytes] = []
    at_s, rate = 0.0, 22_050
    with tempfile.TemporaryDirectory() as folder:
        said = Path(folder) / "sentence.wav"
        for sentence in split_sentences(" ".join(LECTURE.split())):
            espeak = shutil.which("espeak-ng") or "espeak-ng"
            subprocess.run([espeak, "-v", voice, "-s", "150", "-w", said, sentence], check=True)
            with wave.open(str(said)) as source:
                rate = source.getframerate()
                sound = source.readframes(source.getnframes())
            length_s = len(sound) / 2 / rate
            words = words_of(sentence)
            found += [
                Spoken(word=word, at_s=at_s + (number + 0.5) / len(words) * length_s)
                for number, word in enumerate(words)
            ]
            parts += [sound, bytes(2 * round(PAUSE_S * rate))]
            at_s += length_s + PAUSE_S
    with wave.open(str(path), "wb") as sink:
        sink.setnchannels(1)
        sink.setsampwidth(2)
        sink.setframerate(rate)
        sink.writeframes(b"".join(parts))
    return found


def words_of(text: str) -> list[str]:
    return re.findall(r"[a-z']+", text.lower())


def whole_track(source: SpeechSource, path: Path) -> list[str]:
    timeline = probe(path).timeline
    assert timeline is not None
    return [
        word
        for heard in source.read_track(path, timeline)
        for found in heard.observations
        for word in words_of(found.text)
    ]


def clip_by_clip(model: Recogniser, path: Path, *, clip_s: float) -> list[str]:
    """Recognise each clip alone with MARGIN_S around it; its words have their midpoint inside."""
    sound = TrackSound(path, audio_tracks(path)[0], origin_s=0.0)
    samples = np.concatenate([mix(block.samples, "all") for block in sound.blocks()])
    bounds_s = np.arange(0, len(samples) / SAMPLE_RATE + clip_s, clip_s)
    return [word for a, b in pairwise(bounds_s) for word in _clip_words(model, samples, a, b)]


def _clip_words(model: Recogniser, samples: Samples, start_s: float, end_s: float) -> list[str]:
    begin_s = max(0.0, start_s - MARGIN_S)
    part = samples[round(begin_s * SAMPLE_RATE) : round((end_s + MARGIN_S) * SAMPLE_RATE)]
    if not len(part):
        return []
    return [
        word
        for segment in model.recognise(part, language="en", beam_size=5)
        for said in segment.words
        if start_s <= (said.start_s + said.end_s) / 2 + begin_s < end_s
        for word in words_of(said.text)
    ]


def align(truth: Sequence[str], heard: Sequence[str]) -> tuple[int, list[int]]:
    """Return (edit distance, places of the words of `truth` that are missing in `heard`)."""
    costs = np.zeros((len(truth) + 1, len(heard) + 1), int)
    costs[:, 0], costs[0] = range(len(truth) + 1), range(len(heard) + 1)
    for row, word in enumerate(truth, 1):
        for column, other in enumerate(heard, 1):
            change = costs[row - 1, column - 1] + (word != other)
            costs[row, column] = min(change, costs[row - 1, column] + 1, costs[row, column - 1] + 1)
    missing, row, column = [], len(truth), len(heard)
    while row:
        if column and costs[row, column] == costs[row - 1, column - 1] + (
            truth[row - 1] != heard[column - 1]
        ):
            row, column = row - 1, column - 1
        elif costs[row, column] == costs[row - 1, column] + 1:
            row -= 1
            missing.append(row)
        else:
            column -= 1
    return int(costs[-1, -1]), missing[::-1]


def near_border(at_s: float, clip_s: float) -> bool:
    return min(at_s % clip_s, clip_s - at_s % clip_s) < NEAR_BORDER_S


def measure(name: str, path: Path, truth: Sequence[Spoken], *, clip_s: float) -> list[csv_rows.Row]:
    card, settings = load_card(name), LoadSettings(device="cpu")
    source = SpeechSource.load(card, settings)
    model = Whisper.load(model_folder(card), settings, name=name)
    ways = {
        "whole track": lambda: whole_track(source, path),
        "clip by clip": lambda: clip_by_clip(model, path, clip_s=clip_s),
    }
    with wave.open(str(path)) as sound:
        length_s = sound.getnframes() / sound.getframerate()
    rows = []
    for way, run in ways.items():
        since_s = time.process_time()
        heard = run()
        spent_s = time.process_time() - since_s
        errors, missing = align([spoken.word for spoken in truth], heard)
        rows.append(
            {
                "model": name,
                "way": way,
                "sound_s": round(length_s, 1),
                "words": len(truth),
                "wer": round(errors / len(truth), 4),
                "missing": len(missing),
                "missing_near_borders": sum(near_border(truth[at].at_s, clip_s) for at in missing),
                "cpu_s_per_hour": round(spent_s / length_s * 3600),
            }
        )
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", default=["speech-tiny-en", "speech-base"])
    parser.add_argument("--voice", default="en-us", help="voice of espeak-ng")
    parser.add_argument("--clip-s", type=float, default=10.0, help="length of a clip in seconds")
    parser.add_argument("--csv", type=Path, help="file for the rows")
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "lecture.wav"
        truth = make_lecture(path, voice=chosen.voice)
        measured = [measure(name, path, truth, clip_s=chosen.clip_s) for name in chosen.models]
    csv_rows.print_and_write([row for rows in measured for row in rows], chosen.csv)


if __name__ == "__main__":
    main()
