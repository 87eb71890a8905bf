"""What the usual readers of research code do with a folder of hostile files, one process a file.

For each reader: files of which it gave pictures, that raised an exception, crashed the process or
did not end. A loop over a folder without a guard ends at the first of the last three.
"""

from __future__ import annotations

import argparse
import collections
import subprocess
import sys
from pathlib import Path

from csv_rows import print_and_write

MAX_S = 20.0
READERS = {
    "OpenCV": "import cv2; c = cv2.VideoCapture(PATH); n = 0\n"
    "while c.read()[0] and n < 200: n += 1\nassert n, 'no picture'",
    "decord": "import decord; r = decord.VideoReader(PATH)\nfor i in range(min(200, len(r))): r[i]",
    "PyAV": "import av, itertools\nwith av.open(PATH) as c:\n"
    "    n = sum(1 for _ in itertools.islice(c.decode(video=0), 200))\nassert n, 'no picture'",
}


def outcome(code: str, path: Path) -> str:
    """Return `pictures`, `exception`, `crash` or `no end`."""
    program = f"PATH = {str(path)!r}\n{code}"
    try:
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, timeout=MAX_S, check=False
        )
    except subprocess.TimeoutExpired:
        return "no end"
    if done.returncode < 0:
        return "crash"
    return "exception" if done.returncode else "pictures"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--csv", type=Path)
    given = parser.parse_args()
    files = [path for path in sorted(given.folder.iterdir()) if not path.is_dir()]
    files = [path for path in files if path.suffix not in (".srt", ".vtt")]
    rows = []
    for name, code in READERS.items():
        counts = collections.Counter(outcome(code, path) for path in files)
        rows.append({"reader": name, "files": len(files), **{
            what: counts[what] for what in ("pictures", "exception", "crash", "no end")
        }})  # fmt: skip
    print_and_write(rows, given.csv)


if __name__ == "__main__":
    main()
