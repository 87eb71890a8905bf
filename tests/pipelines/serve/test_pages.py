"""The page: what a person sees without scripts, and what untrusted text can do there: nothing."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from fdvs.pipelines.library import Library


def test_the_library_shows_every_video_with_its_first_sentence(client: TestClient) -> None:
    page = client.get("/").text
    assert "<b>2</b> videos" in page
    assert "one.mp4" in page
    assert "A fox digs a deep hole." in page
    assert page.count('class="strip"') == 2


def test_many_videos_come_in_pages(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fdvs.pipelines.serve.pages.NUM_CARDS", 1)
    first, second = client.get("/").text, client.get("/?page=2").text
    assert ("one.mp4" in first, "two.mp4" in first) == (True, False)
    assert ("one.mp4" in second, "two.mp4" in second) == (False, True)
    assert "page 1 of 2" in first
    assert 'href="/?page=2"' in first
    assert client.get("/?page=0").status_code == 422


def test_a_video_has_player_story_chapters_and_scenes(client: TestClient, video_id: str) -> None:
    page = client.get(f"/v/{video_id}?t=2-4").text
    assert f'data-id="{video_id}"' in page
    assert 'data-start="2.0" data-end="4.0"' in page
    assert "The rabbit eats grass." in page
    assert page.count('role="tab"') == 3
    assert re.search(r'class="cite" href="/v/\w+\?t=', page)


def test_a_search_marks_its_words_and_a_weak_one_says_so(client: TestClient) -> None:
    assert "<mark>fox</mark>" in client.get("/search", params={"q": "fox hole"}).text
    assert "Nothing matches well" in client.get("/search", params={"q": "zzz qqq"}).text


def test_an_answer_cites_and_its_citations_lead_to_the_video(
    client: TestClient, video_id: str
) -> None:
    page = client.get("/ask", params={"q": "What does the rabbit eat?"}).text
    assert "“The rabbit eats grass.”" in page
    assert f"/v/{video_id}?t=2" in page


def test_a_clip_without_a_picture_has_a_drawn_one(
    client: TestClient, library: Library, video_id: str
) -> None:
    place = f"/v/{video_id}/thumbnails"
    assert client.get(f"{place}/0.jpg").headers["content-type"] == "image/jpeg"
    (picture,) = library.path.rglob(f"*{video_id}*/**/*0.jpg")
    picture.unlink()
    drawn = client.get(f"{place}/0.jpg")
    assert (drawn.status_code, drawn.headers["content-type"]) == (200, "image/svg+xml")
    assert client.get(f"{place}/99.jpg").status_code == 404
    assert "/static/sound.svg" in client.get("/").text


def test_a_build_that_failed_says_why(client: TestClient, tmp_path: Path) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "no.mp4").write_bytes(b"this is no film")
    client.post("/builds", data={"path": str(tmp_path / "broken")})
    assert "/builds/1/stop" in client.get("/builds/1").text
    with client.stream("GET", "/api/v1/builds/1/events") as events:
        assert '"kind": "end"' in [line for line in events.iter_lines() if line][-1]
    page = client.get("/builds/1").text
    assert "1 video could not be built." in page
    assert "no.mp4" in page
    assert "1 failed" in client.get("/").text
    assert client.get("/builds/9").status_code == 404


@pytest.mark.parametrize("place", ["/", "/search?q=fox", "/ask?q=fox", "/v/ID"])
def test_text_of_videos_and_queries_is_never_markup(
    client: TestClient, video_id: str, place: str
) -> None:
    page = client.get(place.replace("ID", video_id)).text
    assert "<script>alert" not in page
    assert "onerror" not in client.get("/search", params={"q": "<img onerror=x>"}).text.replace(
        "&lt;img onerror=x&gt;", ""
    )


def test_no_page_loads_anything_from_elsewhere(client: TestClient, video_id: str) -> None:
    for place in ("/", "/search?q=fox", "/ask", f"/v/{video_id}"):
        page = client.get(place).text
        assert not re.search(r'(?:src|href|action)="(?:https?:)?//', page)
        assert " style=" not in page  # the policy forbids it
        assert "<script>" not in page


@pytest.mark.parametrize(
    ("place", "status"),
    [
        ("/v/nobody", 404),
        ("/nowhere", 404),
        ("/v/ID?t=soon", 422),
        ("/v/ID/thumbnails/99.jpg", 404),
    ],
)
def test_what_is_not_there_is_told_in_words(
    client: TestClient, video_id: str, place: str, status: int
) -> None:
    answer = client.get(place.replace("ID", video_id))
    assert answer.status_code == status
    assert "That did not work." in answer.text


def test_pictures_and_the_file_in_ranges(client: TestClient, video_id: str) -> None:
    picture = client.get(f"/v/{video_id}/thumbnails/0.jpg")
    assert picture.headers["content-type"] == "image/jpeg"
    assert picture.content[:2] == b"\xff\xd8"
    whole = client.get(f"/v/{video_id}/file").content
    part = client.get(f"/v/{video_id}/file", headers={"Range": "bytes=4-11"})
    assert (part.status_code, part.content) == (206, whole[4:12])
    assert part.headers["content-range"] == f"bytes 4-11/{len(whole)}"


def test_a_playlist_covers_the_whole_length(client: TestClient, video_id: str) -> None:
    listed = client.get(f"/v/{video_id}/hls/index.m3u8").text
    lengths = [float(x) for x in re.findall(r"#EXTINF:([\d.]+)", listed)]
    assert sum(lengths) == pytest.approx(4.0, abs=0.3)
    assert listed.endswith("#EXT-X-ENDLIST\n")


def test_a_segment_shows_the_picture_of_its_time(client: TestClient, video_id: str) -> None:
    import io

    import av

    segment = client.get(f"/v/{video_id}/hls/0.ts")
    assert segment.headers["content-type"] == "video/mp2t"
    with av.open(io.BytesIO(segment.content), format="mpegts") as film:
        pictures = [
            (f.time, f.to_ndarray(format="rgb24").mean(axis=(0, 1))) for f in film.decode(video=0)
        ]
    first = pictures[0][1]
    last = pictures[-1][1]
    assert first[0] > 150 > first[1]  # red, then green
    assert last[1] > last[0]
    assert client.get(f"/v/{video_id}/hls/9.ts").status_code == 422


def test_more_moments_lie_on_further_pages(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fdvs.pipelines.serve.pages.NUM_MOMENTS", 1)
    asked = {"q": "the fox and the rabbit"}
    every = client.get("/api/v1/search", params=asked).json()["moments"]
    assert len(every) > 1
    first = client.get("/search", params=asked).text
    (following,) = re.findall(r'href="(/search\?[^"]*)">More<', first)
    second = client.get(following.replace("&amp;", "&")).text
    assert (first.count('class="hit"'), second.count('class="hit"')) == (1, 1)
    for page, moment in zip((first, second), every, strict=False):
        assert f"{moment['video_id']}?t={moment['start_s']:g}-" in page
    assert ">Before<" in second
    assert "no more moments" in client.get("/search", params={**asked, "offset": 99}).text


def test_a_search_is_limited_to_what_is_written_or_said(client: TestClient) -> None:
    asked = {"q": "the fox digs a deep hole"}
    said = client.get("/search", params={**asked, "source": "subtitles"}).text
    assert 'value="subtitles" selected' in said
    assert "<mark>fox</mark>" in said
    assert (
        "<mark>fox</mark>" not in client.get("/search", params={**asked, "source": "screen"}).text
    )
    assert client.get("/search", params={**asked, "source": "smell"}).status_code == 422


def test_the_page_of_the_machine_tells_what_doctor_tells(
    client: TestClient, library: Library
) -> None:
    told = client.get("/api/v1/doctor").json()
    assert told["settings"]["name"] == library.config.preset
    assert str(library.path) in told["health"]["library"]
    page = client.get("/doctor").text
    for preset in told["health"]["presets"]:
        assert f"<b>{preset['name']}</b>" in page
    assert 'href="/doctor"' in client.get("/").text
