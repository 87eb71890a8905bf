"""What notebooks show: well-formed, escaped, self-contained, readable in the dark."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fdvs.pipelines import notebook
from fdvs.types import (
    Answer,
    AnswerSentence,
    Chapter,
    Citation,
    Moment,
    Scene,
    Sentence,
    Story,
    VideoRow,
)

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)> \u202e &amp; {{7*7}}"
TAGS = {"div", "p", "b", "br", "img", "span", "code", "bdi"}
ATTRIBUTES = {"style", "src", "alt"}


class Checker(HTMLParser):
    """Collects tags and attributes, and what is left open."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str]] = []
        self.open: list[str] = []
        self.words = ""

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.add(tag)
        self.attributes += attrs
        if tag not in ("br", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data


def checked(shown: str) -> Checker:
    checker = Checker()
    checker.feed(shown)
    checker.close()
    assert checker.open == []
    assert checker.tags <= TAGS
    assert {name for name, _ in checker.attributes} <= ATTRIBUTES
    sources = [value for name, value in checker.attributes if name == "src"]
    assert all(value.startswith("data:image/jpeg;base64,") for value in sources)
    styles = " ".join(value for name, value in checker.attributes if name == "style")
    assert not re.search(r"color|background|url", styles)  # the notebook's own, light or dark
    return checker


def results(text: str) -> dict[str, Any]:
    moment = Moment(
        video_id="abc", name=text, start_s=1.0, end_s=65.0, score=0.5, text=text, clips=(0, 1),
        matched_by=("meaning",), relevance=0.75,
    )  # fmt: skip
    cited = Citation(video_id="abc", name=text, start_s=1.0, end_s=65.0, support=1.0)
    sentence = Sentence(text=text, clips=(0,))
    return {
        "moment": moment,
        "answer": Answer(
            question=text, text=text, evidence=(moment,), backend=text, attention="none",
            sentences=(AnswerSentence(text=text, support=1.0, citations=(cited,)),), notes=(text,),
        ),
        "refusal": Answer(
            question=text, text=text, evidence=(moment,), backend="b", attention="none",
            refused=True, reason=text,
        ),
        "story": Story(
            video_id="abc", duration_s=65.0, sentences=(sentence,), num_clips=1,
            scenes=(Scene(index=0, start_s=0.0, end_s=65.0, chapters=(0,), sentences=(sentence,),
                          title=text),),
            chapters=(Chapter(video_id="abc", index=0, start_s=0.0, end_s=65.0, text=text),),
        ),
    }  # fmt: skip


@pytest.mark.parametrize("kind", ["moment", "answer", "refusal", "story"])
def test_hostile_texts_are_shown_as_texts(kind: str) -> None:
    shown = checked(results(HOSTILE)[kind]._repr_html_())
    assert "<script>alert(1)</script>" in shown.words
    assert "{{7*7}}" in shown.words


@settings(max_examples=40, deadline=None)
@given(st.text(max_size=80))
def test_any_text_is_shown_well_formed(text: str) -> None:
    for result in results(text).values():
        checked(result._repr_html_())


def test_a_library_lists_its_videos_and_no_more_than_fit() -> None:
    row = VideoRow(
        name=HOSTILE, video_id="abc", path="/a", status="failed", reason=HOSTILE, duration_s=None,
        num_clips=1, num_chapters=1,
    )  # fmt: skip
    shown = checked(notebook.library_html(HOSTILE, [row] * 60, [HOSTILE] * 60))
    assert "and 10 more" in shown.words


def test_pictures_are_inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notebook, "_thumbnails", {})
    moment = results("a wall")["moment"]
    assert "<img" not in moment._repr_html_()
    (tmp_path / "abc").mkdir()
    (tmp_path / "abc" / "000001.jpg").write_bytes(b"jpeg")
    notebook.show_pictures_of(tmp_path / "library", tmp_path)
    assert base64.b64encode(b"jpeg").decode() in moment._repr_html_()
    assert notebook.picture("../abc", 1) == ""
    (tmp_path / "abc" / "000001.jpg").write_bytes(b"x" * 200_000)
    assert "<img" not in moment._repr_html_()
