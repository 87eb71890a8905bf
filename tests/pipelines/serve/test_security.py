"""Who is let in: only who has the token, from this machine's own pages."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from fdvs.pipelines.library import Library
from fdvs.pipelines.serve.app import guarded, make_app
from fdvs.pipelines.serve.security import HEADERS, POLICY
from fdvs.pipelines.serve.tokens import new_token

TOKEN = new_token()
BASE = "http://127.0.0.1:8765"


@pytest.fixture
def guest(library: Library) -> Iterator[TestClient]:
    app = guarded(make_app(library), token=TOKEN, port=8765)
    with TestClient(app, base_url=BASE, follow_redirects=False) as opened:
        yield opened


@pytest.mark.parametrize(
    "place", ["/", "/search?q=x", "/api/v1/videos", "/static/app.css", "/nowhere"]
)
def test_without_the_token_nothing_is_shown(guest: TestClient, place: str) -> None:
    assert guest.get(place).status_code == 401
    assert guest.get(place, headers={"Authorization": "Bearer wrong"}).status_code == 401
    assert guest.get(place, headers={"Cookie": "fdvs-token=wrong"}).status_code == 401
    assert guest.get(place, headers={"Authorization": f"Bearer {TOKEN}"}).status_code in (200, 404)


def test_health_is_open_and_tells_nothing(guest: TestClient) -> None:
    assert guest.get("/health").json()["status"] in ("ok", "loading")


def test_the_printed_address_sets_a_cookie_and_loses_the_token(guest: TestClient) -> None:
    answer = guest.get(f"/search?q=a+fox&token={TOKEN}")
    assert (answer.status_code, answer.headers["location"]) == (303, "/search?q=a+fox")
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert guest.get("/").status_code == 200  # the client keeps the cookie


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1:9999", "evil.example:8765"])
def test_another_host_name_is_refused(guest: TestClient, host: str) -> None:
    answer = guest.get("/", headers={"Host": host, "Authorization": f"Bearer {TOKEN}"})
    assert answer.status_code == 421


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}],
)
def test_requests_of_other_sites_are_refused(guest: TestClient, headers: dict[str, str]) -> None:
    answer = guest.post("/api/v1/ask", json={"question": "x"},
                        headers={**headers, "Authorization": f"Bearer {TOKEN}"})  # fmt: skip
    assert answer.status_code == 403


def test_every_answer_binds_the_page(guest: TestClient) -> None:
    for headers in ({}, {"Authorization": f"Bearer {TOKEN}"}):
        answer = guest.get("/", headers=headers)
        assert answer.headers["content-security-policy"] == POLICY
        assert answer.headers["x-content-type-options"] == "nosniff"
    assert "unsafe" not in POLICY


def test_browsers_name_our_origin_when_a_form_of_ours_is_sent() -> None:
    # with `no-referrer` a browser sends `Origin: null`, and every form would be refused
    assert (b"referrer-policy", b"same-origin") in HEADERS
