"""Open a local file with PyAV: only allowed containers, only the file protocol.

FFmpeg is given a path, never a Python file object: with one it loses its file-only default, and a
playlist may reach the network. Every FFmpeg error becomes a MediaError of one line.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from fdvs.errors import NotAVideo, UndecodableVideo
from fdvs.media.files import FORMATS, PROTOCOLS, refusal
from fdvs.media.resize import MAX_PIXELS
from fdvs.text.clean import one_line

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.stream import VideoStream

MAX_THREADS = 4
MAX_MESSAGE_CHARS = 200
# These list no streams: those that begin behind the first 5 MB or 5 s, FFmpeg's default, are not
# found. Where pictures or sound seem to be missing, it looks for them further on.
_WITHOUT_HEADER = frozenset({"mpegts", "mpeg", "flv"})
_LONG_PROBE = {"probesize": str(64 << 20), "analyzeduration": str(3600 * 1_000_000)}


@contextlib.contextmanager
def media_errors(timeout_s: float) -> Iterator[None]:
    """Turn the errors of FFmpeg into MediaErrors."""
    import av

    try:
        yield
    except (TimeoutError, av.error.ExitError):
        raise UndecodableVideo(f"no answer from the file within {timeout_s:g} s") from None
    except av.error.FFmpegError as error:
        raise UndecodableVideo(f"cannot be read: {message_of(error.strerror)}") from None
    except UnicodeError:
        raise UndecodableVideo("cannot be read: damaged text in the header") from None


def message_of(text: object) -> str:
    """Return an outside message as one bounded line."""
    return one_line(str(text))[:MAX_MESSAGE_CHARS]


def counted(number: int, what: str) -> str:
    """Return `1 packet`, `2 packets`."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def open_input(path: Path, timeout_s: float) -> InputContainer:
    """Open an absolute path that `check_file` has passed. The caller closes.

    Raises:
        NotAVideo: not an allowed container.
        UndecodableVideo: the file does not answer.
    """
    opened = _opened(path, timeout_s, {})
    is_partial = not (opened.streams.video and opened.streams.audio)
    if is_partial and opened.format.name in _WITHOUT_HEADER:
        opened.close()
        opened = _opened(path, timeout_s, _LONG_PROBE)
    return opened


def _opened(path: Path, timeout_s: float, probe: dict[str, str]) -> InputContainer:
    import av

    options = {"protocol_whitelist": PROTOCOLS, "format_whitelist": FORMATS, **probe}
    with media_errors(timeout_s):
        try:
            opened = av.open(
                # The prefix keeps names such as `concat:x` from being taken for protocols.
                "file:" + os.fspath(path),
                mode="r",
                options=options,
                metadata_errors="replace",
                timeout=(timeout_s, timeout_s),
            )
        except (av.error.InvalidDataError, av.error.ArgumentError, EOFError):
            # ArgumentError is how FFmpeg says that a whitelist refused the container.
            raise refusal(path) from None
    return cast("InputContainer", opened)


def pick_stream(container: InputContainer) -> VideoStream | None:
    """Return the best video stream that is not a cover picture, None if there is none.

    The decoder is set up; `read_only` says what else is to be read. Raises NotAVideo where FFmpeg
    has no decoder for the stream.
    """
    best = container.streams.best("video")
    if best is None or is_cover(best):
        others = [s for s in container.streams.video if not is_cover(s)]
        if not others:
            return None
        best = max(others, key=_num_pixels)
    if best.codec_context is None:
        raise NotAVideo("no decoder for the codec of the video stream")
    best = cast("VideoStream", best)
    best.thread_type = "AUTO"
    best.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
    best.codec_context.thread_count = min(MAX_THREADS, os.cpu_count() or 1)
    return best


def read_only(container: InputContainer, streams: Sequence[Any]) -> None:
    """Let the container skip the packets of all other streams."""
    from av.stream import Discard

    wanted = {stream.index for stream in streams}
    for stream in container.streams:
        stream.discard = Discard.default if stream.index in wanted else Discard.all


def is_cover(stream: Any) -> bool:
    from av.stream import Disposition

    return bool(stream.disposition & Disposition.attached_pic)


def _num_pixels(stream: Any) -> int:
    context = stream.codec_context
    return context.width * context.height if context is not None else 0


def why_no_stream(container: InputContainer) -> str:
    """Return the reason why a file of an allowed container holds neither pictures nor sound."""
    if any(is_cover(stream) for stream in container.streams.video):
        return "only cover art, no video or sound"
    return "no video or sound stream"


def demux_safely(container: InputContainer, *streams: Any) -> Iterator[Packet[Any]]:
    """Yield the packets of some streams in file order, then an empty one each, for draining.

    PyAV knows the streams that a file begins with; at the end of a file in which another one
    appears later (joined recordings, FLV) its `demux` raises IndexError. That is the end.
    """
    with contextlib.suppress(IndexError):
        yield from container.demux(*streams)


class Packets:
    """The packets of some streams, up to the end or the first read error (`error`).

    The last packet of a stream is empty: decoding it drains the decoder.
    """

    def __init__(self, container: InputContainer, *streams: Any) -> None:
        self._container = container
        self._streams = streams
        self.error: str | None = None

    def __iter__(self) -> Iterator[Packet[Any]]:
        import av

        try:
            yield from demux_safely(self._container, *self._streams)
        except av.error.FFmpegError as error:
            if isinstance(error, TimeoutError | av.error.ExitError):
                raise
            self.error = message_of(error.strerror)


def is_drain(packet: Packet[Any]) -> bool:
    return packet.size == 0 and packet.dts is None


def decoded(packet: Packet[Any]) -> list[Any] | None:
    """Return the frames that a packet completes, None where it is damaged."""
    import av

    try:
        return list(packet.decode())
    except (av.error.FFmpegError, EOFError):
        return None
