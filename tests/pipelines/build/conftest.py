"""Two small films of plain colours beside files that are no films."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

SHOTS = [("red", 4), ("green", 4), ("blue", 4), ("white", 4)]


@pytest.fixture
def films(tmp_path: Path, make_film: Any) -> Path:
    folder = tmp_path / "films"
    folder.mkdir()
    make_film(folder / "colours.mp4", SHOTS)
    make_film(folder / "night.mp4", [("black", 3), ("yellow", 5)])
    (folder / "text.mp4").write_text("no film")
    (folder / "notes.txt").write_text("ignored")
    return folder
