"""Which sound to recognise: the track and the channel that carry the voice.

A minute of each track is listened to. Commentaries and audio descriptions come last, then tracks in
another language than the wanted one. Of a stereo track one channel, or the difference of both, is
taken only where its voice is clearly longer or clearer than in their sum: a microphone on one side
and noise on the other, or sides of opposite phase that cancel each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from fdvs.errors import BadModelOutput
from fdvs.models.describe.audio import (
    SAMPLE_RATE,
    AudioTrack,
    Channel,
    Samples,
    TrackSound,
    mix,
)
from fdvs.models.describe.speech_language import MIN_VOICE
from fdvs.models.describe.speech_whisper import VOICE_WINDOW, Recogniser
from fdvs.types import Timeline

# The language that the text embedders know best.
USUAL_LANGUAGE = "en"
NUM_SAMPLES = 4
SAMPLE_S = 15.0
MAX_TRACKS = 8
# A track is passed over for a later one with more than twice as much voice.
MIN_SHARE = 0.5
# What one channel must carry more than both together: this factor and a second of voice, or, with
# about as much voice, this much more energy in voice than in pauses.
MIN_GAIN = 1.25
MIN_GAIN_S = 1.0
MIN_GAIN_DB = 8.0
ABOUT_EQUAL = 0.9
MAX_CONTRAST_DB = 60.0
MIN_PAUSE_WINDOWS = 16
_CHANNEL_NOTES = {
    "left": "its voice is in the left channel; the right one was not used",
    "right": "its voice is in the right channel; the left one was not used",
    "difference": "its two channels cancel each other; their difference was used",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Listening:
    """Seconds of voice in a channel, and how much louder voice is than pauses."""

    voice_s: float
    contrast_db: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The track and channel to recognise, and notes on what was not used."""

    track: AudioTrack
    channel: Channel
    notes: tuple[str, ...] = ()


def choose_sound(
    path: Path,
    tracks: Sequence[AudioTrack],
    timeline: Timeline,
    model: Recogniser,
    *,
    language: str,
) -> Choice | None:
    """Return the sound with the voice, None where no track can be decoded.

    `language` is the wanted one as a code of ISO 639-1, "" to prefer English.
    """
    wanted = language or USUAL_LANGUAGE
    usable = sorted((t for t in tracks if t.has_decoder), key=lambda t: _rank(t, wanted))
    if not usable:
        return None
    if len(usable) == 1 and usable[0].num_channels != 2:
        return Choice(track=usable[0], channel="all", notes=_unused(tracks, usable[0]))
    heard = [_listen(path, track, timeline, model) for track in usable[:MAX_TRACKS]]
    most_s = [max(part.voice_s for part in channels.values()) for channels in heard]
    at = next(
        (
            at
            for at, voice_s in enumerate(most_s)
            if voice_s >= MIN_SHARE * max(most_s) and not usable[at].is_commentary
        ),
        0,
    )
    channel = _channel(heard[at])
    notes = _unused(tracks, usable[at])
    if channel != "all":
        notes += (_CHANNEL_NOTES[channel],)
    return Choice(track=usable[at], channel=channel, notes=notes)


def _rank(track: AudioTrack, wanted: str) -> tuple[object, ...]:
    language = 0 if track.language == wanted else 1 if not track.language else 2
    return track.is_commentary, language, not track.is_default, track.number


def _unused(tracks: Sequence[AudioTrack], used: AudioTrack) -> tuple[str, ...]:
    others = [track for track in tracks if track is not used]
    if not others:
        return ()
    names = ", ".join(
        track.name + ("" if track.has_decoder else ": no decoder") for track in others[:MAX_TRACKS]
    )
    return (f"speech was recognised in sound {used.name}; not used: {names}",)


def _listen(
    path: Path, track: AudioTrack, timeline: Timeline, model: Recogniser
) -> dict[Channel, _Listening]:
    """Listen to a minute of a track, to each channel of a stereo track."""
    try:
        samples = _minute(path, track, timeline)
    except BadModelOutput:
        return {"all": _Listening(voice_s=0.0)}
    channels: tuple[Channel, ...] = get_args(Channel) if len(samples) == 2 else ("all",)
    mixed = {channel: mix(samples, channel) for channel in channels}
    voice = {channel: model.voice(mixed[channel]) for channel in channels}
    most = np.maximum.reduce(list(voice.values()))
    return {
        channel: _Listening(
            voice_s=float(voice[channel].sum()) * VOICE_WINDOW / SAMPLE_RATE,
            contrast_db=_contrast_db(mixed[channel], most),
        )
        for channel in channels
    }


def _contrast_db(samples: Samples, voice: NDArray[np.float32]) -> float:
    """Return the energy of windows with a voice over that of windows without, 0 if unknown."""
    padded = np.pad(samples, (0, -len(samples) % VOICE_WINDOW)).reshape(-1, VOICE_WINDOW)
    energy = np.square(padded).mean(axis=1)
    spoken, quiet = energy[voice >= MIN_VOICE], energy[voice < MIN_VOICE / 2]
    if min(len(spoken), len(quiet)) < MIN_PAUSE_WINDOWS or spoken.mean() <= 0:
        return 0.0
    floor = spoken.mean() * 10 ** (-MAX_CONTRAST_DB / 10)
    return float(10 * np.log10(spoken.mean() / max(float(np.median(quiet)), floor)))


def _minute(path: Path, track: AudioTrack, timeline: Timeline) -> Samples:
    """Return samples [num_channels, num_samples] from places all over the track."""
    begin_s = timeline.sound_start_s or 0.0
    end_s = max(timeline.sound_end_s or timeline.duration_s, begin_s)
    spans = [(begin_s, begin_s + NUM_SAMPLES * SAMPLE_S)]
    if end_s - begin_s > NUM_SAMPLES * SAMPLE_S:
        starts = np.linspace(begin_s, end_s - SAMPLE_S, NUM_SAMPLES + 2)[1:-1]
        spans = [(float(start_s), float(start_s) + SAMPLE_S) for start_s in starts]
    sound = TrackSound(path, track, origin_s=timeline.origin_s)
    parts = [
        block.samples
        for start_s, stop_s in spans
        for block in sound.blocks(start_s=start_s, end_s=stop_s)
    ]
    return np.concatenate(parts, axis=1) if parts else np.zeros((1, 0), np.float32)


def _channel(heard: dict[Channel, _Listening]) -> Channel:
    """Return the channel to recognise; of about equal ones the difference comes first."""
    both, most_s = heard["all"], max(part.voice_s for part in heard.values())
    order: tuple[Channel, ...] = ("difference", "left", "right")
    near = [c for c in order if c in heard and heard[c].voice_s >= ABOUT_EQUAL * most_s]
    if most_s > max(MIN_GAIN * both.voice_s, both.voice_s + MIN_GAIN_S):
        return near[0]
    clear = [c for c in near if heard[c].contrast_db >= both.contrast_db + MIN_GAIN_DB]
    return max(clear, key=lambda c: heard[c].contrast_db, default="all")
