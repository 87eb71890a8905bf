"""One made picture, to ask a captioner about before any film: a red disc on a white ground."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from fdvs.errors import BadModelOutput, ModelError, ModelUnavailable, Stopped
from fdvs.protocols import Describer
from fdvs.types import Clip, ClipView, Frame, Image

PICTURE = "a red disc on a white ground"
SIDE_PX = 448
RED, WHITE = (220, 20, 30), (255, 255, 255)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What a captioner said of the picture, and how long it took."""

    text: str
    seconds: float


def try_captioner(captioner: Describer) -> Trial:
    """Ask a captioner about the made picture.

    Raises ModelUnavailable, with the captioner's or its server's own words, where it is not
    described. Whether the words fit the picture is not judged.
    """
    started_s = time.monotonic()
    who = captioner.identity.label()
    try:
        (found,) = captioner.describe([made_view()])
    except Stopped:
        raise
    except ModelError as error:
        raise ModelUnavailable(
            f"{who} was asked about one made picture before any film is read, and cannot be used: "
            f"{error}{'' if isinstance(error, ModelUnavailable) else _advice(error)}"
        ) from error
    text = " ".join(one.text for one in found)
    return Trial(text=text, seconds=round(time.monotonic() - started_s, 2))


def _advice(error: ModelError) -> str:
    if isinstance(error, BadModelOutput):
        return "; choose a model that sees pictures, an instruct one: fdvs doctor lists them"
    return "; test it again: fdvs doctor --try MODEL"


@cache
def made_picture() -> Image:
    """Return the picture, uint8 [448, 448, 3]."""
    y, x = np.mgrid[:SIDE_PX, :SIDE_PX] - (SIDE_PX - 1) / 2
    is_disc = np.hypot(x, y) < 0.36 * SIDE_PX
    picture: Image = np.where(is_disc[..., None], RED, WHITE).astype(np.uint8)
    return picture


def made_view() -> ClipView:
    """Return a clip of a second whose only frame is the picture."""
    clip = Clip(video_id="", index=0, start_s=0.0, end_s=1.0)
    frame = Frame(time_s=0.0, image=made_picture())
    return ClipView(video_path=Path("made picture"), clip=clip, frames=(frame,))
