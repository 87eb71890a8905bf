"""What moments and videos are ordered by: meaning and words in one score, looks by rank."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fdvs.config import SearchConfig
from fdvs.models.scripted import HashTextEmbedder
from fdvs.search.index import Index
from fdvs.search.moments import CHAPTER_SHARE, search_moments, search_videos
from fdvs.search.ranking import RANK_OFFSET, WORDS_SHARE, add_words, fuse

EVERYTHING = SearchConfig(min_score=-1.0, num_results=10)
FILMS = {
    # "one" tells of the kite in every chapter, "two" in one of four and in the same words as asked
    "one.mp4": ["kite over sea", "kite over hill"],
    "two.mp4": ["kite over town", "soup boils", "horse sleeps", "rain falls"],
    "three.mp4": ["piano plays", "song ends"],
}


def test_words_add_a_share_of_the_best_match() -> None:
    found = add_words([0.5, 0.2, -0.1], [4.0, None, 1.0], 0.5)
    expected = [0.25 + 0.5 * WORDS_SHARE, 0.1, -0.05 + 0.5 * WORDS_SHARE / 4]
    assert found == pytest.approx(expected)


@pytest.mark.parametrize(
    ("weight", "expected"), [(0.0, [0.5, 0.2]), (1.0, [WORDS_SHARE / 2, WORDS_SHARE])]
)
def test_a_weight_of_nought_or_one_leaves_one_way(weight: float, expected: list[float]) -> None:
    assert add_words([0.5, 0.2], [2.0, 4.0], weight) == pytest.approx(expected)


def test_without_a_word_match_only_meaning_counts() -> None:
    assert add_words([0.5, 0.2], [None, None], 0.5) == pytest.approx([0.25, 0.1])
    assert add_words([0.5], [0.0], 0.5) == pytest.approx([0.25])
    assert len(add_words([], [], 0.5)) == 0


def test_looks_are_added_by_rank() -> None:
    found = fuse([(0.9, None), (None, 0.8), (0.4, 0.7)], (1.0, 0.5))
    one, two = 1 / (RANK_OFFSET + 1), 1 / (RANK_OFFSET + 2)
    assert found == pytest.approx([one, 0.5 * one, two + 0.5 * two])


def test_videos_are_ordered_by_story_chapter_and_words_written_out(make_library, embedder) -> None:
    store = make_library(FILMS)
    index = Index.load(store)
    for query in ("kite over town", "soup boils", "kite", "song of rain"):
        hits = search_videos(index, query, embedder, EVERYTHING)
        assert [hit.name for hit in hits] == expected_order(index, embedder, query)


def expected_order(index: Index, embedder: HashTextEmbedder, query: str) -> list[str]:
    vector = embedder.embed_texts([query])[0]
    words = index.full_text.search(query, video_id=None).scores
    scores = {}
    for name in FILMS:
        texts = [entry for entry in index.entries if entry.name == name]
        cosines = {
            level: max(
                float(embedder.embed_texts([one.text])[0] @ vector)
                for one in texts
                if one.level == level
            )
            for level in ("story", "chapter")
        }
        held = max((words.get(index.entries.index(one), 0.0) for one in texts), default=0.0)
        scores[name] = (cosines["story"] + CHAPTER_SHARE * cosines["chapter"], held)
    best = max(held for _, held in scores.values()) or 1.0
    total = {
        name: round(meaning + WORDS_SHARE * held / best, 6)
        for name, (meaning, held) in scores.items()
    }
    return sorted(total, key=lambda name: (-total[name], name))


def test_a_near_word_match_does_not_push_meaning_aside(make_library, embedder) -> None:
    index = Index.load(make_library(FILMS))
    moments = search_moments(index, "kite over town", embedder, EVERYTHING)
    assert moments[0].text == "kite over town"
    scores = [moment.score for moment in moments]
    assert scores == sorted(scores, reverse=True)


def test_a_video_without_a_story_is_ordered_by_its_chapters(make_library, embedder) -> None:
    index = Index.load(make_library(FILMS, with_stories=False))
    hits = search_videos(index, "soup boils", embedder, replace(EVERYTHING, num_results=1))
    assert [hit.name for hit in hits] == ["two.mp4"]
