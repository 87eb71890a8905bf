"""Every page in both schemes: readable by screen readers, and no wider than a phone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

PAGES = {
    "library": "/",
    "search": "/search",
    "found": "/search?q=rabbit",
    "nothing found": "/search?q=zzz+qqq",
    "ask": "/ask",
    "answer": "/ask?q=What+falls+on+the+old+roof%3F",
    "refusal": "/ask?q=Who+plays+the+violin%3F",
    "video": "/v/VIDEO",
    "machine": "/doctor",
    "no such build": "/builds/99",
    "no such page": "/nothing",
    "no such video": "/v/nothing",
}
PHONE = {"width": 390, "height": 844}


@pytest.fixture(scope="module", params=["light", "dark"])
def page(request: Any, chromium: Any, served: Any) -> Iterator[Any]:
    """A page of a browser that lets the examiner's own script in."""
    context = chromium.new_context(color_scheme=request.param, bypass_csp=True)
    opened = context.new_page()
    opened.goto(served.address)
    yield opened
    context.close()


@pytest.mark.parametrize("name", PAGES)
def test_nothing_bars_a_reader_and_nothing_scrolls_sideways(
    page: Any, served: Any, name: str
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page.goto(served.origin + "/")
    place = PAGES[name]
    if "VIDEO" in place:
        place = page.locator(".card > a").first.get_attribute("href")
    page.set_viewport_size({"width": 1280, "height": 800})
    page.goto(served.origin + place)
    found = axe.run(page).response["violations"]
    assert [(one["id"], [n["html"] for n in one["nodes"]]) for one in found] == []
    page.set_viewport_size(PHONE)
    assert page.evaluate("() => document.documentElement.scrollWidth") <= PHONE["width"]
    found = axe.run(page).response["violations"]
    assert [(one["id"], [n["html"] for n in one["nodes"]]) for one in found] == []


def test_long_names_break(page: Any, served: Any) -> None:
    page.set_viewport_size(PHONE)
    page.goto(served.origin + "/search?q=" + "W" * 900)
    assert page.evaluate("() => document.documentElement.scrollWidth") <= PHONE["width"]
