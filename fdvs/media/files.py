"""Media files: find them, check them before they are decoded, and explain a refusal.

Only existing regular files are decoded: no folder, device, pipe, socket, URL or pattern. After a
refusal the first bytes are inspected, to give a reason that people can act on.
"""

from __future__ import annotations

import glob
import os
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fdvs.errors import MissingVideo, NotAVideo

# Container formats by their FFmpeg demuxer names, without those that open further files (hls,
# dash, concat, image2, sdp).
FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,flv,ogg,asf,mp3,wav,flac,aac,aiff"
PROTOCOLS = "file"
CONTAINERS = (
    "MP4/MOV, Matroska/WebM, AVI, MPEG-TS/PS, FLV, Ogg, ASF; sound: MP3, WAV, FLAC, AAC, AIFF"
)

# File names that are searched for in folders.
VIDEO_SUFFIXES = frozenset(
    ".3g2 .3gp .asf .avi .flv .m2ts .m4v .mkv .mov .mp4 .mpeg .mpg .mts .ogv .ts .webm .wmv".split()
)

AUDIO_SUFFIXES = frozenset(".aac .aif .aiff .flac .m4a .mka .mp3 .oga .ogg .opus .wav .wma".split())
MEDIA_SUFFIXES = VIDEO_SUFFIXES | AUDIO_SUFFIXES

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
}
_AUDIO_MAGIC = ((b"ID3", "MP3"), (b"fLaC", "FLAC"), (b"MThd", "MIDI"), (b"#!AMR", "AMR"))
_VIDEO_MAGIC = (
    (b"\x1aE\xdf\xa3", "Matroska"),
    (b"FLV", "FLV"),
    (b"OggS", "Ogg"),
    (b"0&\xb2u\x8ef\xcf\x11", "ASF"),
)
_MAX_BOXES = 4096


def printable(path: Path) -> str:
    """Return the path as one line of text that is safe to print and store."""
    text = os.fsencode(path).decode("utf-8", "replace")
    return "".join(c if c.isprintable() else "?" for c in text)


def check_file(path: Path) -> Path:
    """Return the absolute path of an existing, readable, non-empty regular file.

    Raises:
        MissingVideo: no such file, not a regular file, not readable.
        NotAVideo: the file is empty.
    """
    absolute = Path(os.path.abspath(path))
    try:
        # O_NONBLOCK: opening a named pipe without a writer must not block.
        status = os.stat(absolute)
        kind = stat.S_IFMT(status.st_mode)
        if kind == stat.S_IFREG:
            os.close(os.open(absolute, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))
    except FileNotFoundError:
        raise MissingVideo(f"no such file: {printable(path)}; only local files are read") from None
    except PermissionError:
        raise MissingVideo("not readable: permission denied") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise MissingVideo(f"not readable: {reason}") from None
    if kind != stat.S_IFREG:
        raise MissingVideo(f"not a regular file but {_KINDS.get(kind, 'something else')}")
    if status.st_size == 0:
        raise NotAVideo("empty file (0 bytes)")
    return absolute


def refusal(path: Path) -> NotAVideo:
    """Return the reason why no demuxer of the allowed containers accepted this file."""
    size_bytes = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(4096)
    audio = audio_kind(head)
    if audio is not None:
        return NotAVideo(f"no video stream ({audio} audio only)")
    if head[4:8] == b"ftyp" or head[4:8] in (b"mdat", b"moov", b"wide", b"free", b"skip"):
        return NotAVideo(_reason_of_mp4(path, size_bytes))
    container = next((name for magic, name in _VIDEO_MAGIC if head.startswith(magic)), None)
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        container = "AVI"
    if container is not None:
        return NotAVideo(f"damaged {container} file: no stream can be read from it")
    guess = " (text?)" if _looks_like_text(head) else ""
    return NotAVideo(f"not an allowed video container{guess}; allowed: {CONTAINERS}")


def audio_kind(head: bytes) -> str | None:
    """Name the audio-only format that these first bytes belong to, if any."""
    if head[:4] in (b"RIFF", b"RF64") and head[8:12] == b"WAVE":
        return "WAV"
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return "AIFF"
    for magic, name in _AUDIO_MAGIC:
        if head.startswith(magic):
            return name
    if len(head) > 2 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0:
        # MPEG audio sync word; layer bits 00 with 12 sync bits are AAC in ADTS.
        return "AAC" if head[1] & 0xF6 == 0xF0 else "MP3"
    return None


def _looks_like_text(head: bytes) -> bool:
    if b"\0" in head:
        return False
    try:
        # A multi-byte character may be cut at the end of the head.
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.start >= len(head) - 3 and len(head) == 4096
    return True


def _reason_of_mp4(path: Path, size_bytes: int) -> str:
    """Walk the top-level boxes of an MP4/MOV file to see whether it has an index."""
    with path.open("rb") as file:
        offset = 0
        for _ in range(_MAX_BOXES):
            file.seek(offset)
            header = file.read(16)
            if len(header) < 8:
                break
            length = int.from_bytes(header[:4], "big")
            if length == 1 and len(header) == 16:
                length = int.from_bytes(header[8:16], "big")
            if length < 8 or offset + length > size_bytes:
                break
            if header[4:8] == b"moov":
                return "damaged MP4: the index (moov) cannot be read"
            offset += length
    return "no index (moov); the file is cut short"


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """Media files in a stable order, without duplicates; `num_ignored` counts other files."""

    files: tuple[Path, ...]
    num_ignored: int


def collect(paths: Sequence[str | Path]) -> Collected:
    """Walk folders recursively and expand patterns; media files are known by their suffix.

    Raises MissingVideo if a path does not exist or a pattern matches nothing.
    """
    seen: dict[Path, None] = {}
    ignored: set[Path] = set()
    for given in paths:
        for file in _files_of(given):
            key = Path(os.path.abspath(file))
            if key.suffix.lower() in MEDIA_SUFFIXES:
                seen.setdefault(key)
            else:
                ignored.add(key)
    return Collected(files=tuple(seen), num_ignored=len(ignored))


def _files_of(given: str | Path) -> Iterable[Path]:
    path = Path(given)
    if path.is_dir():
        return _walk(path)
    if os.path.lexists(path):
        return [path]
    matches = sorted(glob.glob(str(given), recursive=True)) if glob.has_magic(str(given)) else []
    if not matches:
        raise MissingVideo(f"{given}: no such file or folder; give folders, files or a pattern")
    return [file for match in matches for file in _files_of(Path(match))]


def _walk(folder: Path) -> Iterable[Path]:
    for root, folders, files in os.walk(folder):
        folders.sort()
        for name in sorted(files):
            yield Path(root) / name
