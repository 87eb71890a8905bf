"""kill -9 of a server while it builds: the next build ends as an unbroken one."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from fdvs.pipelines import results
from fdvs.pipelines.library import Library

PROGRAM = [sys.executable, "-P", "-c", "from fdvs.pipelines.cli.start import main; main()"]
NUM_SHOTS = 40
NUM_DONE = 3  # clips, before the server is killed
PATIENCE_S = 120.0  # against hanging, on a busy machine


def outcome(library: Path) -> str:
    """Return all that is known of the videos of a library, but for how long it took."""
    with Library.open(library, create=False) as opened:
        rows = opened.videos()
        known = [results.detail_json(opened.video(row.video_id or row.name)) for row in rows]
        told = [{name: one for name, one in each.items() if name != "saved"} for each in known]
        return results.to_json([[(row.name, row.status, row.num_chapters) for row in rows], told])


@pytest.mark.slow
@pytest.mark.usefixtures("needs_models")
def test_a_server_that_is_killed_leaves_what_the_next_build_completes(
    served: Callable[..., Any], make_film: Callable[..., Path], tmp_path: Path
) -> None:
    colours = ["red", "green", "blue", "white", "yellow", "black"]
    shots = [(colours[i * 5 % 6], 2.0) for i in range(NUM_SHOTS)]
    film = make_film(tmp_path / "long.mp4", shots)
    lines = [
        f"{i + 1}\n00:{2 * i // 60:02d}:{2 * i % 60:02d},100 --> 00:{2 * i // 60:02d}:"
        f"{2 * i % 60 + 1:02d},900\nThe wall number {i} is painted {colours[i * 5 % 6]}.\n"
        for i in range(NUM_SHOTS)
    ]
    film.with_suffix(".srt").write_text("\n".join(lines), "utf-8")
    child, told = served(tmp_path / "killed")
    token = Path(told["token"]).read_text().strip()
    headers = {"Authorization": f"Bearer {token}"}
    num_done = 0
    with httpx.Client(base_url=told["api"], headers=headers, timeout=PATIENCE_S) as client:
        place = client.post("/builds", json={"paths": [str(film)]}).headers["location"]
        events = place.removeprefix("/api/v1") + "/events"
        with client.stream("GET", events) as stream:
            for line in stream.iter_lines():
                event = json.loads(line[6:]) if line.startswith("data: ") else {}
                num_done = event.get("done", 0) if event.get("kind") == "clip" else num_done
                if num_done >= NUM_DONE or event.get("kind") == "end":
                    break
            child.kill()
    assert NUM_DONE <= num_done < NUM_SHOTS
    child.communicate(timeout=PATIENCE_S)
    for name in ("killed", "whole"):  # the first one waits for what the dead server had started
        command = [*PROGRAM, "build", str(film), "-l", str(tmp_path / name)]
        subprocess.run(command, check=True, capture_output=True, timeout=PATIENCE_S)
    assert "The wall number 39 is painted" in outcome(tmp_path / "whole")
    assert outcome(tmp_path / "killed") == outcome(tmp_path / "whole")
