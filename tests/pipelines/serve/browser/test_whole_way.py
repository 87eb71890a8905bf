"""The whole way of a stranger: add, watch, search, play, ask, cut, export; by mouse and by keys."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from fdvs.media.readers import probe

PLAYING = "([low, high]) => { const t = player.currentTime; return t >= low && t < high; }"


def plays_within(page: Any, low_s: float, high_s: float) -> None:
    """Wait until the player is at a time and has a picture there."""
    page.wait_for_function(PLAYING, arg=[low_s, high_s])
    page.wait_for_function("() => player.readyState >= 2 && player.videoWidth > 0")


def seconds_of(page: Any) -> float:
    return float(page.evaluate("() => player.currentTime"))


def test_by_mouse(window: Any, served: Any, talk: Any, tmp_path: Path) -> None:
    page = window.page
    assert "token" not in page.url
    talk(served.folder / "mouse" / "second.mp4")
    page.get_by_text("Add videos").click()
    page.get_by_label("A folder or file on this machine").fill(str(served.folder / "mouse"))
    page.get_by_role("button", name="Build").click()
    page.locator(".job .told").wait_for()
    page.get_by_role("heading", name="second.mp4").wait_for()
    page.get_by_role("link", name="What was built").click()
    assert "All built." in page.locator("main").inner_text()
    page.get_by_role("link", name="Back to the library").click()
    page.get_by_role("heading", name="garden.mp4").click()
    page.get_by_role("tab", name="Chapters").click()
    page.locator("#chapters .cite").nth(1).click()
    plays_within(page, 3.5, 9)

    page.get_by_label("Search all videos").fill("rabbit eats grass")
    page.keyboard.press("Enter")
    first = page.locator(".hit").first
    assert "rabbit" in first.inner_text()
    first.click()
    page.wait_for_url("**/v/*")
    plays_within(page, 3.5, 9)

    page.get_by_role("link", name="Ask", exact=True).click()
    page.get_by_label("Your question").fill("What falls on the old roof?")
    page.get_by_role("button", name="Ask").click()
    cite = page.locator(".a .cite").first
    cite.wait_for()
    assert "rain" in page.locator(".a").inner_text()
    cite.click()
    plays_within(page, 7.5, 12.5)

    page.get_by_role("tab", name="Chapters").click()
    page.locator("#chapters .cite").nth(2).click()
    with page.expect_download() as got:
        page.locator("#cut").click()
    got.value.save_as(tmp_path / "cut.mp4")
    cited = re.findall(r"\d+", page.locator("#cut span").inner_text())
    wanted_s = int(cited[3]) - int(cited[1])
    assert abs(probe(tmp_path / "cut.mp4").duration_s - wanted_s) < 1
    page.get_by_text("Export", exact=True).click()
    with page.expect_download() as got:
        page.get_by_role("link", name="srt", exact=True).click()
    got.value.save_as(tmp_path / "told.srt")
    assert "rain" in (tmp_path / "told.srt").read_text("utf-8")


def tab_to(page: Any, told: str) -> None:
    """Press Tab until something has the focus that is told so to a screen reader."""
    for _ in range(80):
        page.keyboard.press("Tab")
        now = page.evaluate(
            "() => { const e = document.activeElement; return e.ariaLabel || "
            "(e.labels && e.labels[0] ? e.labels[0].textContent : e.textContent); }"
        )
        if told in " ".join(str(now).split()):
            return
    raise AssertionError(f"no Tab leads to {told!r}")


def test_by_keyboard_alone(window: Any, served: Any, talk: Any) -> None:
    page = window.page
    press = page.keyboard.press
    talk(served.folder / "keys" / "third.mp4")
    press("Shift+?")
    assert page.locator("#keys").is_visible()
    press("Escape")
    assert not page.locator("#keys").is_visible()
    tab_to(page, "Add videos")
    press("Enter")
    tab_to(page, "A folder or file on this machine")
    page.keyboard.type(str(served.folder / "keys"))
    press("Enter")
    page.get_by_role("heading", name="third.mp4").wait_for()

    press("/")
    page.keyboard.type("rabbit eats grass")
    press("Enter")
    page.wait_for_url("**/search?q=*")
    page.locator(".hit").first.wait_for()
    page.locator("body").evaluate("() => document.activeElement.blur()")
    tab_to(page, "The rabbit eats fresh green grass.")
    press("Enter")
    page.wait_for_url("**/v/*")
    plays_within(page, 3.5, 9)
    at_s = seconds_of(page)
    press("ArrowRight")
    page.wait_for_function("(low) => player.currentTime > low + 4", arg=at_s)
    press("k")
    page.wait_for_function("() => !player.paused")

    tab_to(page, "Ask this video")
    page.keyboard.type("What falls on the old roof?")
    press("Enter")
    page.wait_for_url("**/ask?*")
    tab_to(page, "play 0:")
    press("Enter")
    page.wait_for_url("**/v/*")
    plays_within(page, 7.5, 12.5)
    tab_to(page, "Export")
    press("Enter")
    tab_to(page, "srt")
    with page.expect_download() as got:
        press("Enter")
    assert got.value.suggested_filename.endswith(".srt")
    tab_to(page, "Cut ")
    with page.expect_download() as got:
        press("Enter")
    assert got.value.suggested_filename == "clip.mp4"


def test_a_file_that_no_browser_plays_plays(window: Any, served: Any, talk: Any) -> None:
    import subprocess

    from .conftest import PROGRAM

    page = window.page
    film = talk(served.folder / "old" / "old.avi", coder=("-c:v", "mpeg4"))
    built = [*PROGRAM, "build", str(film), "-l", str(served.library)]
    subprocess.run(built, check=True, capture_output=True)
    page.reload()
    page.get_by_role("heading", name="old.avi").click()
    page.get_by_role("tab", name="Chapters").click()
    page.locator("#chapters .chapter", has_text="rain").first.locator(".cite").first.click()
    plays_within(page, 7, 13)
