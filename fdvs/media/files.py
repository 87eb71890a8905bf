"""Media files: find them, check them before they are decoded, and explain a refusal.

Only existing regular files are decoded: no folder, device, pipe, socket, URL or pattern. After a
refusal the first bytes are inspected, to give a reason that people can act on.
"""

from __future__ import annotations

import glob
import os
import stat
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from fdvs.errors import MissingVideo, NotAVideo
from fdvs.files import READ_FLAGS

# Container formats by their FFmpeg demuxer names, without those that open further files (hls,
# dash, concat, image2, sdp).
FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,flv,ogg,asf,mp3,wav,flac,aac,aiff"
PROTOCOLS = "file"
CONTAINERS = (
    "MP4/MOV, Matroska/WebM, AVI, MPEG-TS/PS, FLV, Ogg, ASF; sound: MP3, WAV, FLAC, AAC, AIFF"
)

# File names that are searched for in folders.
VIDEO_SUFFIXES = frozenset(
    ".3g2 .3gp .asf .avi .f4v .flv .m2t .m2ts .m4v .mkv .mov .mp4 .mpeg .mpg .mts .ogv .ts .vob "
    ".webm .wmv".split()
)
AUDIO_SUFFIXES = frozenset(".aac .aif .aiff .flac .m4a .mka .mp3 .oga .ogg .opus .wav .wma".split())
MEDIA_SUFFIXES = VIDEO_SUFFIXES | AUDIO_SUFFIXES
# Subtitles and lyrics, as players name them; a video's lie beside it or in a folder there.
SIDECAR_SUFFIXES = frozenset(
    ".ass .dfxp .idx .lrc .sami .sbv .scc .smi .srt .ssa .stl .sub .sup .ttml .vtt".split()
)
# TypeScript and its modules share the suffixes of transport streams.
_MAYBE_SCRIPTS = frozenset({".ts", ".mts"})
# Folders of systems and network storage: thumbnails, previews and deleted files.
_LITTER = frozenset(
    {"@eadir", "#recycle", "$recycle.bin", "system volume information", "lost+found", "__macosx"}
)

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
}
_AUDIO_MAGIC = ((b"ID3", "MP3"), (b"fLaC", "FLAC"), (b"MThd", "MIDI"), (b"#!AMR", "AMR"))
_OTHER_MAGIC = (
    b"\xff\xd8\xff",
    b"\x89PNG",
    b"GIF8",
    b"PK\x03\x04",
    b"%PDF",
    b"\x1f\x8b",
    b"\x7fELF",
)
_VIDEO_MAGIC = (
    (b"\x1aE\xdf\xa3", "Matroska"),
    (b"FLV", "FLV"),
    (b"OggS", "Ogg"),
    (b"0&\xb2u\x8ef\xcf\x11", "ASF"),
)
_MAX_BOXES = 4096
_HEAD_BYTES = 4096
_MAX_NAMED = 5


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
        status = os.stat(absolute)
        kind = stat.S_IFMT(status.st_mode)
        if kind == stat.S_IFREG:
            os.close(os.open(absolute, READ_FLAGS))
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
        head = file.read(_HEAD_BYTES)
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
    if not head or b"\0" in head:
        return False
    try:
        # A multi-byte character may be cut at the end of the head.
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.start >= len(head) - 3 and len(head) == _HEAD_BYTES
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
    """Media files in a stable order, without duplicates.

    `num_ignored` counts other files, but not subtitles beside a media file. `notes` are sentences
    on folders that were left out.
    """

    files: tuple[Path, ...]
    num_ignored: int
    notes: tuple[str, ...] = ()


def collect(
    paths: Sequence[str | Path], *, include: Sequence[str] = (), exclude: Sequence[str] = ()
) -> Collected:
    """Find the media files among files, folders and patterns.

    A file that is named is taken whatever its suffix, unless its first bytes are text, a picture
    or an archive. Folders are walked with the folders linked in them, each once; there and among
    the matches of a pattern media files are known by their suffix, hidden files and the litter of
    systems are skipped, and `include` and `exclude` filter: patterns such as `*.mp4` or `old/*` of
    a name or of a path within the folder, in any case of letters.

    Raises MissingVideo if a path does not exist or a pattern matches nothing.
    """
    walk = _Walk(tuple(include), tuple(exclude))
    for given in paths:
        walk.add(given)
    beside = sum(_is_beside(path, walk.files) for path in walk.ignored)
    return Collected(
        files=tuple(walk.files),
        num_ignored=len(walk.ignored) - beside,
        notes=tuple(walk.notes()),
    )


def _is_beside(path: Path, media: Iterable[Path]) -> bool:
    """Whether a file is named like the subtitles of a media file in its folder or the one above.

    The source of subtitles says which of them it used.
    """
    if path.suffix.lower() not in SIDECAR_SUFFIXES:
        return False
    name = path.name.lower()
    near = (path.parent, path.parent.parent)
    return any(one.parent in near and name.startswith(one.stem.lower()) for one in media)


class _Walk:
    """A walk over the file system: what it found so far."""

    def __init__(self, include: tuple[str, ...], exclude: tuple[str, ...]) -> None:
        self.files: dict[Path, None] = {}
        self.ignored: set[Path] = set()
        self._include, self._exclude = include, exclude
        self._closed: list[str] = []
        self._loops: list[str] = []

    def add(self, given: str | Path) -> None:
        path = Path(given)
        if os.path.isdir(path):
            self._add_folder(path)
        elif os.path.lexists(path):
            self._keep(path, is_media=_is_media(path) or not _is_other(path))
        else:
            self._add_matches(str(given))

    def notes(self) -> list[str]:
        """Return a sentence on each kind of folder that was left out."""
        notes = []
        if self._closed:
            notes.append(f"not searched: {_some(self._closed)}")
        if self._loops:
            notes.append(f"links to a folder above them, not followed: {_some(self._loops)}")
        return notes

    def _add_matches(self, pattern: str) -> None:
        # Brackets in the names of existing folders are no pattern.
        root, rest = Path(), list(Path(pattern).parts)
        while rest and os.path.lexists(root / rest[0]):
            root /= rest.pop(0)
        found: list[str] = []
        if rest and glob.has_magic(os.path.join(*rest)):
            found = sorted(glob.glob(os.path.join(*rest), root_dir=root, recursive=True))
        if not found:
            raise MissingVideo(
                f"{pattern}: no such file or folder; give folders, files or a pattern"
            )
        for name in found:
            path = root / name
            if os.path.isdir(path):
                self._add_folder(path)
            else:
                self._add_found(path, name)

    def _add_folder(self, root: Path) -> None:
        """Walk a folder: first what lies in it, then the folders that links lead to."""
        seen: set[tuple[int, int]] = set()
        folders = deque([root])
        while folders:
            links: list[Path] = []
            self._walk_tree(folders.popleft(), root, seen, links)
            folders.extend(link for link in links if self._is_open(link))

    def _walk_tree(
        self, top: Path, root: Path, seen: set[tuple[int, int]], links: list[Path]
    ) -> None:
        stack = [top]
        while stack:
            folder = stack.pop()
            inner: list[Path] = []
            for entry in self._entries(folder, seen):
                path = folder / entry.name
                name = os.path.relpath(path, root)
                if self._is_excluded(name):
                    continue
                if not _leads_to_folder(entry):
                    self._add_found(path, name)
                else:
                    (links if entry.is_symlink() else inner).append(path)
            stack.extend(reversed(inner))

    def _entries(self, folder: Path, seen: set[tuple[int, int]]) -> list[os.DirEntry[str]]:
        """Return what lies in a folder, by name; nothing the second time."""
        try:
            status = folder.stat()
            if (place := (status.st_dev, status.st_ino)) in seen:
                return []
            seen.add(place)
            with os.scandir(folder) as entries:
                return sorted((e for e in entries if not _is_litter(e.name)), key=lambda e: e.name)
        except OSError as error:
            self._closed.append(f"{printable(folder)} ({error.strerror or error})")
            return []

    def _is_open(self, link: Path) -> bool:
        """Return whether a link leads to a folder that does not contain the link itself."""
        target, place = os.path.realpath(link), os.path.realpath(link.parent)
        if os.path.commonpath([target, place]) == target:
            self._loops.append(printable(link))
            return False
        return True

    def _add_found(self, path: Path, name: str) -> None:
        """Count a file that nobody named; `name` is its path in the folder."""
        if self._is_excluded(name) or (self._include and not _matches(name, self._include)):
            return
        suffix = path.suffix.lower()
        is_script = suffix in _MAYBE_SCRIPTS and _looks_like_text(_head(path))
        self._keep(path, is_media=suffix in MEDIA_SUFFIXES and not is_script)

    def _is_excluded(self, name: str) -> bool:
        return _matches(name, self._exclude)

    def _keep(self, path: Path, *, is_media: bool) -> None:
        key = Path(os.path.abspath(path))
        if is_media:
            self.files.setdefault(key)
        else:
            self.ignored.add(key)


def _matches(name: str, patterns: Sequence[str]) -> bool:
    names = {name.lower(), os.path.basename(name).lower()}
    return any(fnmatchcase(n, pattern.lower()) for pattern in patterns for n in names)


def _leads_to_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _is_litter(name: str) -> bool:
    return name.startswith(".") or name.lower() in _LITTER


def _is_media(path: Path) -> bool:
    return path.suffix.lower() in MEDIA_SUFFIXES


def _is_other(path: Path) -> bool:
    """Return whether the first bytes are those of a text, a picture, a program or an archive."""
    head = _head(path)
    return bool(head) and (head.startswith(_OTHER_MAGIC) or _looks_like_text(head))


def _head(path: Path) -> bytes:
    """Return the first bytes of a regular file, b"" if it cannot be read."""
    try:
        if not path.is_file():
            return b""
        with path.open("rb") as file:
            return file.read(_HEAD_BYTES)
    except OSError:
        return b""


def _some(names: Sequence[str]) -> str:
    more = len(names) - _MAX_NAMED
    return ", ".join(names[:_MAX_NAMED]) + (f" and {more} more" if more > 0 else "")
