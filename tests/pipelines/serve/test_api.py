"""The REST API: the bytes of the command line, problems, limits, builds."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from fdvs.pipelines import results
from fdvs.pipelines.library import Library
from fdvs.pipelines.serve import api

ROOT = Path(__file__).resolve().parents[3]
API = api.PREFIX


def test_answers_are_those_of_the_command_line(
    client: TestClient, library: Library, video_id: str
) -> None:
    def line(value: object) -> str:
        return results.to_json(value) + "\n"

    story = client.get(f"{API}/videos/{video_id}/story").text
    assert story == line(results.story_json(library.story(video_id)))
    found = client.get(f"{API}/search", params={"q": "fox"}).text
    moments = [results.moment_json(one) for one in library.search("fox")]
    assert found == line({"query": "fox", "moments": moments})
    rows = client.get(f"{API}/videos").json()
    assert rows["items"] == json.loads(line([results.row_json(r) for r in library.videos()]))
    assert rows["next"] is None


def test_rows_come_in_pages(client: TestClient) -> None:
    first = client.get(f"{API}/videos", params={"limit": 1}).json()
    second = client.get(f"{API}/videos", params={"limit": 1, "cursor": first["next"]}).json()
    assert [len(first["items"]), len(second["items"]), second["next"]] == [1, 1, None]
    assert first["items"] != second["items"]


def test_a_question_is_answered_with_its_citations(client: TestClient) -> None:
    answer = client.post(f"{API}/ask", json={"question": "What does the fox dig?"}).json()
    assert "deep hole" in answer["text"]
    assert answer["sentences"][0]["citations"][0]["citation"].startswith("[one.mp4 @ 0:0")


def test_a_video_is_told_clip_by_clip(client: TestClient, video_id: str) -> None:
    detail = client.get(f"{API}/videos/{video_id}").json()
    assert [clip["index"] for clip in detail["clips"]] == list(range(len(detail["clips"])))
    assert detail["clips"][0]["colour"].startswith("#")
    assert detail["story"]["story"]


@pytest.mark.parametrize(
    ("method", "place", "body", "status", "name"),
    [
        ("GET", "/videos/nobody", None, 404, "NotFound"),
        ("GET", "/nothing", None, 404, "Internal"),
        ("GET", "/search", None, 422, "Internal"),
        ("GET", "/search?q=fox&num=1000", None, 422, "Internal"),
        ("GET", f"/search?q={'x' * 1001}", None, 422, "Internal"),
        ("POST", "/ask", {"question": ""}, 422, "Internal"),
        ("POST", "/ask", {"question": "?", "more": 1}, 422, "Internal"),
        ("POST", "/builds", {"paths": ["/no/such/folder"]}, 422, "InvalidValue"),
        ("GET", "/builds/7", None, 404, "NotFound"),
    ],
)
def test_what_cannot_be_done_is_a_problem(
    client: TestClient, method: str, place: str, body: object, status: int, name: str
) -> None:
    answer = client.request(method, API + place, json=body)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == status
    if name != "Internal":
        assert problem["type"] == f"urn:fdvs:problem:{name}"
    assert str(ROOT) not in answer.text


def test_a_build_runs_beside_and_its_events_are_told(client: TestClient, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    started = client.post(f"{API}/builds", json={"paths": [str(tmp_path / "empty")]})
    assert started.status_code == 202
    place = started.headers["location"]
    for _ in range(300):
        state = client.get(place).json()
        if state["status"] in ("done", "failed"):
            break
        time.sleep(0.1)
    assert state["status"] == "done", state
    assert state["report"]["rows"] == []
    with client.stream("GET", f"{place}/events") as stream:
        events = [json.loads(x[6:]) for x in stream.iter_lines() if x.startswith("data: ")]
    assert events[0]["kind"] == "start"
    assert events[-1] == {"kind": "end", "status": "done", "error": ""}


def test_the_committed_description_is_the_servers(client: TestClient) -> None:
    told = client.get(f"{API}/openapi.json").json()
    committed = json.loads((ROOT / "docs/openapi.json").read_text("utf-8"))
    assert told == committed, "run: python scripts/make_docs.py"
