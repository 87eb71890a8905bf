"""What a hostile page, name or text can do to the page of a library in a real browser: nothing."""

from __future__ import annotations

import os
import signal
import subprocess
from typing import Any
from urllib.parse import urlsplit

from .conftest import CHROMIUM, PROGRAM, TOKEN, open_window

SINK = "() => { document.body.innerHTML = '<b>x</b>'; }"
MARKUP = "<img src=x onerror=alert(1)>.mp4"
TURNED = "cut\u202e4pm.exe.mp4"  # shown from right to left from there on


def test_text_cannot_become_markup_by_a_script(chromium: Any, served: Any) -> None:
    window = open_window(chromium, served)
    try:
        error = window.page.evaluate(
            f"() => {{ try {{ ({SINK})(); }} catch (e) {{ return e.name; }} }}"
        )
    finally:
        window.page.context.close()
    assert error == "TypeError"
    assert any("TrustedHTML" in text for text in window.complaints)


def test_a_name_that_was_led_to_this_machine_is_refused(chromium: Any, served: Any) -> None:
    """DNS rebinding: a foreign name that resolves to the loopback reaches no data."""
    port = urlsplit(served.origin).port
    rebound = chromium.browser_type.launch(
        executable_path=CHROMIUM,
        args=["--no-sandbox", "--host-resolver-rules=MAP elsewhere.test 127.0.0.1"],
    )
    try:
        page = rebound.new_page()
        for place in ("/", f"/?token={TOKEN}", "/api/v1/videos", "/health"):
            answer = page.goto(f"http://elsewhere.test:{port}{place}")
            assert answer.status == 421
            assert "garden" not in page.content()
    finally:
        rebound.close()


def test_another_library_on_this_machine_keeps_its_reader(chromium: Any, served: Any) -> None:
    other = subprocess.Popen(
        [*PROGRAM, "serve", "-l", str(served.library), "--port", "0", "--read-only"],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "FDVS_TOKEN": "another-token-of-another-server"},
    )  # fmt: skip
    try:
        assert other.stderr is not None
        lines = iter(other.stderr.readline, "")
        address = next(line.split()[1] for line in lines if line.startswith("open"))
        window = open_window(chromium, served)
        page = window.page
        assert page.goto(address).status == 200
        assert page.goto(served.origin + "/").status == 200
        assert page.goto(address.partition("/?")[0] + "/").status == 200
        page.context.close()
    finally:
        other.send_signal(signal.SIGINT)
        other.communicate(timeout=60)


def test_hostile_names_of_files_are_shown_as_they_are(window: Any, served: Any, talk: Any) -> None:
    page = window.page
    for name in (MARKUP, TURNED):
        talk(served.folder / "hostile" / name)
    page.get_by_text("Add videos").click()
    page.get_by_label("A folder or file on this machine").fill(str(served.folder / "hostile"))
    page.get_by_role("button", name="Build").click()
    page.get_by_role("heading", name=MARKUP).wait_for()
    assert "\u202e" not in page.content()
    page.get_by_role("heading", name=MARKUP).click()
    page.wait_for_url("**/v/*")
    assert MARKUP in page.locator("h1").inner_text()
    assert page.locator("img[src='x']").count() == 0
