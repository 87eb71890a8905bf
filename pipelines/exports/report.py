"""A report of one video as a single HTML file: story, strip, pictures, what was left out.

It holds everything itself, runs no script, and its own policy lets it load nothing.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from importlib.resources import files

from fdvs.errors import ModelUnavailable, NotFound, how_to_install
from fdvs.pipelines.detail import VideoDetail
from fdvs.text.plain import plain_line
from fdvs.text.timecode import timecode

MAX_PICTURES = 400  # of a longer video every n-th clip is shown

Picture = Callable[[int], bytes]


def html_report(detail: VideoDetail, picture: Picture) -> str:
    """Return the report. `picture` returns the JPEG of a clip, or raises NotFound."""
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined
    except ModuleNotFoundError as error:
        raise ModelUnavailable(
            f"a report needs the package {error.name!r}; {how_to_install('serve')}"
        ) from None
    made = Environment(
        loader=PackageLoader("fdvs.pipelines.exports"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    made.filters |= {"time": timecode, "line": plain_line}
    css = files("fdvs.pipelines.exports").joinpath("templates/report.css").read_text("utf-8")
    step = -(-len(detail.clips) // MAX_PICTURES)
    shown = {clip.index for clip in detail.clips[:: max(1, step)]}
    pictures = {index: _data(picture, index) for index in shown}
    return made.get_template("report.html").render(
        detail=detail, clips={c.index: c for c in detail.clips}, css=css,
        pictures={index: data for index, data in pictures.items() if data},
        whole=max(detail.duration_s, 0.001),
    )  # fmt: skip


def _data(picture: Picture, index: int) -> str:
    try:
        return "data:image/jpeg;base64," + base64.b64encode(picture(index)).decode()
    except NotFound:
        return ""
