"""Files that appear in folders, told once they have stopped growing.

Watching wakes; what is there is then looked at anew, so that no event can be missed for long and
a shared folder without events is seen, too. A file is told once its size and its time of change,
and those of the subtitles beside it, have stayed the same for some seconds; again whenever it
changes. A copy that pauses for longer is told too early, and again when it goes on.
"""

from __future__ import annotations

import functools
import os
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path

from fdvs.errors import InvalidValue, MissingVideo, ModelUnavailable, how_to_install
from fdvs.media.files import SIDECAR_SUFFIXES, collect

STEADY_S = 5.0
LOOK_ANEW_S = 60.0  # where no event says that something changed
TICK_MS = 500

Sign = tuple[tuple[str, int, int], ...]  # names, sizes and times of change


class Steadiness:
    """Which files have stayed as they are for long enough. Knows no clock and no disk."""

    def __init__(self, steady_s: float = STEADY_S) -> None:
        self._steady_s = steady_s
        self._told: dict[Path, Sign] = {}
        self._since: dict[Path, tuple[Sign, float]] = {}

    @property
    def is_waiting(self) -> bool:
        """Whether a file has yet to stay as it is."""
        return bool(self._since)

    def look(self, seen: Mapping[Path, Sign], now_s: float) -> list[Path]:
        """Return the files that are to be told now, given all that are there."""
        self._told = {path: sign for path, sign in self._told.items() if path in seen}
        fresh = {path: sign for path, sign in seen.items() if self._told.get(path) != sign}
        before, self._since = self._since, {}
        due = []
        for path, sign in fresh.items():
            known, since_s = before.get(path, (None, now_s))
            if known != sign:
                since_s = now_s
            if known == sign and now_s - since_s >= self._steady_s:
                self._told[path] = sign
                due.append(path)
            else:
                self._since[path] = (sign, since_s)
        return due


def settled(
    folders: Sequence[str | Path],
    *,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    steady_s: float | None = None,
    stop: threading.Event | None = None,
) -> Iterator[list[Path]]:
    """Return the media files of folders, those there and those to come, once they are complete.

    Ends when `stop` is set; an interrupt is a KeyboardInterrupt. Raises InvalidValue for what is no
    folder, ModelUnavailable without the package watchfiles or where the system allows no watch.
    """
    watch = _watcher()
    for folder in folders:
        if not os.path.isdir(folder):
            raise InvalidValue("watch", str(folder), "a folder")
    events = watch(
        *folders, watch_filter=None, debounce=2 * TICK_MS, rust_timeout=TICK_MS,
        yield_on_timeout=True, stop_event=stop, ignore_permission_denied=True,
    )  # fmt: skip
    look = functools.partial(signs, folders, include=include, exclude=exclude)
    return _settled(events, look, Steadiness(STEADY_S if steady_s is None else steady_s))


def _settled(
    events: Iterator[Collection[object]], look: Callable[[], dict[Path, Sign]], steady: Steadiness
) -> Iterator[list[Path]]:
    looked_s = -LOOK_ANEW_S
    try:
        for changes in events:
            now_s = time.monotonic()
            if changes or steady.is_waiting or now_s - looked_s >= LOOK_ANEW_S:
                looked_s = now_s
                if due := steady.look(look(), now_s):
                    yield due
    except OSError as error:
        raise ModelUnavailable(
            f"folders cannot be watched ({error}); WATCHFILES_FORCE_POLLING=1 needs no watches"
        ) from error


def _watcher() -> Callable[..., Iterator[Collection[object]]]:
    try:
        from watchfiles import watch
    except ModuleNotFoundError as error:
        raise ModelUnavailable(
            f"watching needs the package {error.name!r}; {how_to_install('serve')}"
        ) from None
    return watch


def signs(
    folders: Sequence[str | Path], *, include: Sequence[str] = (), exclude: Sequence[str] = ()
) -> dict[Path, Sign]:
    """Return what tells the media files of folders from changed ones; empty files are left out."""
    there = [folder for folder in folders if os.path.isdir(folder)]  # a disk may come and go
    try:
        files = collect(there, include=include, exclude=exclude).files
    except MissingVideo:
        return {}
    beside = _sidecars({path.parent for path in files})
    found = {path: _sign([path, *beside.get((path.parent, path.stem), ())]) for path in files}
    return {path: sign for path, sign in found.items() if _is_there(path, sign)}


def _is_there(path: Path, sign: Sign) -> bool:
    """Whether a file has content; a copy may begin with an empty file."""
    return bool(sign) and sign[0][0] == path.name and sign[0][1] > 0


def _sidecars(folders: set[Path]) -> dict[tuple[Path, str], list[Path]]:
    """Return subtitles by their folder and the names that they may belong to."""
    found: dict[tuple[Path, str], list[Path]] = {}
    for folder in folders:
        try:
            names = sorted(os.listdir(folder))
        except OSError:
            continue
        for name in names:
            path = folder / name
            if path.suffix.lower() not in SIDECAR_SUFFIXES:
                continue
            stem = path.stem  # film.en.srt is of `film.en` or `film`
            while stem:
                found.setdefault((folder, stem), []).append(path)
                stem = stem.rpartition(".")[0]
    return found


def _sign(paths: Sequence[Path]) -> Sign:
    parts = []
    for path in paths:
        try:
            status = path.stat()
        except OSError:  # gone meanwhile, or a link to nothing
            continue
        parts.append((path.name, status.st_size, status.st_mtime_ns))
    return tuple(parts)
