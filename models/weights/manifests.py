"""The model cache: its folders, the manifests of fetched models, and hashes of their files.

`FDVS_CACHE` overrides the user's cache folder. A manifest is written last, so a folder with a
manifest is complete. Knows no registries, hubs or model code.
"""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from fdvs.errors import ModelError
from fdvs.files import read_regular, write_whole
from fdvs.fingerprint import digest, file_sha256

MANIFEST = "manifest.json"
HASHES = "hashes.json"
MAX_JSON_BYTES = 8 << 20
BLOCK_BYTES = 512  # of st_blocks, whatever the disk's are
MAX_HOLE_BYTES = 1 << 30

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRecord:
    """Size and SHA-256 (hex) of one fetched file."""

    num_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """A fetched model: its `source`, and its `files` relative to `folder`."""

    name: str
    source: Mapping[str, str]
    folder: str
    files: Mapping[str, FileRecord] = field(default_factory=dict)

    @property
    def num_bytes(self) -> int:
        return sum(f.num_bytes for f in self.files.values())


def cache_root() -> Path:
    """Return the folder of everything fetched: `$FDVS_CACHE`, or `models` in the user's cache."""
    if own := os.environ.get("FDVS_CACHE"):
        return Path(own).expanduser()
    import platformdirs

    return Path(platformdirs.user_cache_dir("fdvs")) / "models"


def slug(name: str) -> str:
    """Return a model's name as one safe folder name.

    >>> slug("transformers:org/some model")
    'transformers--org--some--model'
    """
    return re.sub(r"[^A-Za-z0-9._-]+", "--", name).lstrip(".") or "model"


def home_of(name: str) -> Path:
    """Return the cache's folder for a model's name (it need not exist)."""
    return cache_root() / slug(name)


def record_files(folder: Path, names: Collection[str] = ()) -> dict[str, FileRecord]:
    """Hash the named files of a folder; without names every one but hidden and the manifest."""
    paths = [folder / name for name in sorted(names)] if names else content_files(folder)
    return {
        path.relative_to(folder).as_posix(): FileRecord(
            num_bytes=path.stat().st_size, sha256=file_sha256(path)
        )
        for path in paths
    }


def content_files(folder: Path) -> list[Path]:
    """Return a model folder's files sorted by name, except hidden ones and the manifest."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.is_file()
        and path.name != MANIFEST
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


def write_manifest(home: Path, manifest: Manifest) -> None:
    """Write a manifest into `home`, atomically."""
    write_json(home / MANIFEST, asdict(manifest))


def read_manifest(name: str) -> Manifest | None:
    """Return the manifest of a model's name; None if there is none, or it is not usable."""
    return parse_manifest(read_json(home_of(name) / MANIFEST))


def parse_manifest(value: Any) -> Manifest | None:
    """Return the manifest of a parsed JSON value; None if it is not one."""
    try:
        files = {str(k): FileRecord(**v) for k, v in value["files"].items()}
        source = {str(k): str(v) for k, v in value["source"].items()}
        folder, name = str(value["folder"]), str(value["name"])
        if not all(isinstance(f.num_bytes, int) for f in files.values()):
            return None
    except (TypeError, KeyError, AttributeError):
        return None
    return Manifest(name=name, source=source, folder=folder, files=files)


def folder_of(manifest: Manifest) -> Path:
    """Return the folder that a manifest describes: its own (`.`) or another one."""
    return home_of(manifest.name) if manifest.folder == "." else Path(manifest.folder)


def is_complete(manifest: Manifest) -> bool:
    """Whether every recorded file exists with its recorded size (content is not read)."""
    folder = folder_of(manifest)
    for name, record in manifest.files.items():
        try:
            if (folder / name).stat().st_size != record.num_bytes:
                return False
        except OSError:
            return False
    return bool(manifest.files)


def is_unchanged(manifest: Manifest) -> bool:
    """Whether every recorded file still has its recorded hash (hashes are cached)."""
    return first_changed(manifest) is None


def first_changed(manifest: Manifest) -> Path | None:
    """Return the first file that is missing or has not its recorded hash (hashes are cached)."""
    folder, known = folder_of(manifest), _known_hashes()
    if not manifest.files:
        return folder
    before = dict(known)
    changed = next(
        (folder / name for name, record in manifest.files.items()
         if not _is_as_recorded(folder / name, record, known)), None,
    )  # fmt: skip
    if known != before:
        _store_hashes(known)
    return changed


def _is_as_recorded(path: Path, record: FileRecord, known: dict[str, Any]) -> bool:
    try:
        has_size = path.is_file() and path.stat().st_size == record.num_bytes
        return has_size and _file_hash(path, known) == record.sha256
    except OSError:
        return False


def write_json(path: Path, value: Any) -> None:
    """Write JSON so that no reader sees half of it."""
    write_whole(path, json.dumps(value, sort_keys=True, indent=1))


def read_json(path: Path) -> Any:
    """Return parsed JSON, None where the file is missing, too large or broken."""
    try:
        return json.loads(read_regular(path, max_bytes=MAX_JSON_BYTES))
    except (OSError, ValueError, RecursionError):
        return None


def weights_sha256(place: Path, names: Collection[str] = ()) -> str:
    """Return one hash over a model's files (a folder, or a single file), names included.

    `names` are those that were fetched, relative to a folder: what another program adds there
    later (a README, another format) does not make it another model. Without them all files count.

    Hashing gigabytes takes a while, so single hashes are remembered by path, size and
    modification time; a file that changed in either is read again.
    """
    fetched = sorted(path for path in (place / name for name in names) if path.is_file())
    files = [place] if place.is_file() else fetched or content_files(place)
    known = _known_hashes()
    before = dict(known)
    pairs = [
        (f.name if f is place else f.relative_to(place).as_posix(), _file_hash(f, known))
        for f in files
    ]
    if known != before:
        _store_hashes(known)
    return digest(pairs)


def check_no_holes(path: Path) -> None:
    """Raise ModelError for a large file that is nearly all holes: hashing it would take hours.

    Copies that were stopped leave such files, and disks write weights without holes.
    """
    found = path.stat()
    num_written = found.st_blocks * BLOCK_BYTES
    if found.st_size > MAX_HOLE_BYTES and num_written < found.st_size // 10:
        raise ModelError(
            f"{path} is not whole: of its {found.st_size} bytes {num_written} were written; copy "
            "or download it again"
        )


def _file_hash(path: Path, known: dict[str, Any]) -> str:
    real = path.resolve()
    stat = real.stat()
    check_no_holes(real)
    entry = known.get(str(real))
    if isinstance(entry, list) and entry[:2] == [stat.st_size, stat.st_mtime_ns]:
        return str(entry[2])
    sha256 = file_sha256(real)
    known[str(real)] = [stat.st_size, stat.st_mtime_ns, sha256]
    return sha256


def _known_hashes() -> dict[str, Any]:
    value = read_json(cache_root() / HASHES)
    entries = value.items() if isinstance(value, dict) else ()
    return {k: v for k, v in entries if isinstance(v, list) and len(v) == 3}


def _store_hashes(known: dict[str, Any]) -> None:
    """Store the known hashes, except those of deleted files."""
    try:
        write_json(cache_root() / HASHES, {k: v for k, v in known.items() if Path(k).exists()})
    except OSError as error:
        logger.info("hashes not cached (%s); they will be computed again", error)
