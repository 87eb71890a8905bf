"""Titles of scenes: headings, else phrases in the language of the text, else keywords."""

from __future__ import annotations

from fdvs.story.titles import heading_of, scene_titles
from fdvs.text.stop_words import language_of
from fdvs.types import Chapter


def chapter(text: str, *, title: str = "", index: int = 0, seconds: float = 10.0) -> Chapter:
    start_s = 100.0 * index
    return Chapter(
        video_id="v", index=index, start_s=start_s, end_s=start_s + seconds, text=text, title=title
    )


def test_the_heading_that_stands_longest_is_the_title() -> None:
    chapters = [
        chapter("x", title="Short", seconds=5),
        chapter("x", title="Long", seconds=4),
        chapter("x", title="Long", seconds=4),
    ]
    assert heading_of(chapters) == "Long"
    assert scene_titles([chapters]) == ["Long"]


def test_without_headings_a_scene_is_named_by_what_it_alone_repeats() -> None:
    ice = "The carbon dioxide in the ice is old. Ice keeps carbon dioxide for ages."
    sea = "The sea rises. Ice melts into the sea, and the sea rises again."
    first, second = scene_titles([[chapter(ice)], [chapter(sea, index=1)]])
    assert first == "Carbon dioxide"
    assert second.split(", ")[0] in {"Sea rises", "Sea", "Rises"}


def test_a_german_title_has_no_german_stop_words() -> None:
    text = "Die Moräne ist ein Wall. Eine Moräne zeigt, wie weit das Eis kam. Die Moräne bleibt."
    assert language_of([text]) == "de"
    assert scene_titles([[chapter(text)]]) == ["Moräne"]


def test_a_silent_scene_is_named_by_its_first_sure_keyword() -> None:
    chapters = [chapter("Pictures: rabbit (hare), bird?"), chapter("Pictures: bird?", index=1)]
    assert scene_titles([chapters]) == ["Rabbit"]


def test_a_scene_of_which_nothing_stands_out_has_no_title() -> None:
    assert scene_titles([[chapter("It is so.")]]) == [""]
