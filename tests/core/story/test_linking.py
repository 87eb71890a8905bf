"""Generated sentences find the chapters that they were made of."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fdvs.story.linking import MAX_CLIPS, content_words, link_sentences
from fdvs.types import Chapter


def chapters(*texts: str) -> list[Chapter]:
    """Chapters of every second clip, so that a clip's index is not its place."""
    return [
        Chapter(video_id="v", index=2 * i, start_s=5.0 * i, end_s=5.0 * i + 5, text=text)
        for i, text in enumerate(texts)
    ]


def clips_of(sentences: list[str], texts: list[str]) -> list[tuple[int, ...]]:
    return [s.clips for s in link_sentences(sentences, chapters(*texts))]


def test_a_sentence_is_linked_to_the_chapter_that_shares_its_words() -> None:
    texts = ["A hare sits in a meadow.", "Two squirrels throw nuts.", "A red car drives by."]
    sentences = ["Then squirrels throw some nuts.", "A car drives past.", "First, there is a hare."]
    assert clips_of(sentences, texts) == [(2,), (4,), (0,)]


def test_rare_words_weigh_more_than_frequent_ones() -> None:
    texts = ["A hare eats grass.", "A hare eats an apple.", "A hare meets a fox."]
    assert clips_of(["The hare and the fox."], texts) == [(4,)]


def test_one_rare_word_outweighs_two_that_every_other_chapter_says() -> None:
    texts = ["A hare eats grass."] * 4 + ["A fox."]
    [clips] = clips_of(["The hare on the grass and the fox."], texts)
    assert 8 in clips


def test_a_sentence_on_several_chapters_is_linked_to_all_of_them_up_to_a_bound() -> None:
    same = ["A hare sits."] * 6
    [clips] = clips_of(["A hare sits."], same)
    assert len(clips) == MAX_CLIPS
    assert clips == tuple(sorted(clips))


def test_ties_go_to_the_place_in_the_telling() -> None:
    texts = ["A hare."] + ["A bird."] * 8 + ["A hare."]
    sentences = ["A hare comes.", "x", "x", "x", "x", "Again a hare."]
    links = clips_of(sentences, texts)
    assert 0 in links[0]
    assert 18 in links[-1]


def test_a_sentence_without_shared_words_is_linked_by_its_place() -> None:
    texts = [f"thing{i}" for i in range(4)]
    assert clips_of(["One.", "Two.", "Three.", "Four."], texts) == [(0,), (2,), (4,), (6,)]
    assert clips_of(["Everything is calm."], ["a dog"]) == [(0,)]


@settings(deadline=None)
@given(
    sentences=st.lists(st.sampled_from(["a hare", "a dog", "the sun", "", "xyz"]), max_size=6),
    texts=st.lists(st.sampled_from(["hare", "dog sun", "sun", ""]), min_size=1, max_size=6),
)
def test_every_sentence_has_a_clip_of_the_chapters(sentences: list[str], texts: list[str]) -> None:
    known = {2 * i for i in range(len(texts))}
    links = clips_of(sentences, texts)
    assert len(links) == len(sentences)
    assert all(clips and known.issuperset(clips) and len(clips) <= MAX_CLIPS for clips in links)


def test_no_chapter_to_link_to_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one chapter"):
        link_sentences(["A hare."], [])


def test_content_words_leave_out_small_words_and_the_plural() -> None:
    assert content_words("The two hares are on the grass, then they pass") == [
        "hare",
        "grass",
        "pass",
    ]
