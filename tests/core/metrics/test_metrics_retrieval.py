"""Ranks and recalls against scikit-learn, ranx and counting by hand, also where scores tie."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from fdvs.errors import InvalidValue
from fdvs.metrics.retrieval import (
    COSINE_TIE_WIDTH,
    Ranks,
    retrieval_score,
    rsum,
    text_to_video,
    video_to_text,
)

Matrix = NDArray[np.float64]


def some_scores(kind: str, *, num_queries: int = 70, num_gallery: int = 130) -> Matrix:
    rng = np.random.default_rng(5)
    if kind == "random":
        return rng.normal(size=(num_queries, num_gallery))
    if kind == "tied":
        return rng.integers(4, size=(num_queries, num_gallery)).astype(float)
    return np.zeros((num_queries, num_gallery))


def some_places(num_queries: int = 70, num_gallery: int = 130) -> NDArray[np.int64]:
    return np.random.default_rng(6).integers(num_gallery, size=num_queries)


@pytest.mark.slow  # importing scikit-learn takes seconds
@pytest.mark.parametrize("kind", ["random", "tied", "all equal"])
def test_mean_rank_and_reciprocal_rank_are_those_of_scikit_learn(kind: str) -> None:
    from sklearn.metrics import coverage_error, label_ranking_average_precision_score

    scores, right = some_scores(kind), some_places()
    truth = np.eye(scores.shape[1])[right]
    ranks = text_to_video(scores, right).ranks
    # both give the worst rank to a tie
    assert ranks.mean() == pytest.approx(coverage_error(truth, scores))
    reciprocal = label_ranking_average_precision_score(truth, scores)
    assert (1 / ranks).mean() == pytest.approx(reciprocal)


@pytest.mark.slow  # importing scikit-learn takes seconds
@pytest.mark.parametrize("kind", ["random", "tied", "all equal"])
@pytest.mark.parametrize("cutoff", [1, 5, 10, 100])
def test_recall_is_scikit_learns_top_k_accuracy_with_ties_against_us(
    kind: str, cutoff: int
) -> None:
    from sklearn.metrics import top_k_accuracy_score

    scores, right = some_scores(kind), some_places()
    below_its_equals = scores.copy()
    below_its_equals[np.arange(len(right)), right] -= 1e-9
    expected = top_k_accuracy_score(
        right, below_its_equals, k=cutoff, labels=range(scores.shape[1])
    )
    score = retrieval_score(text_to_video(scores, right))
    assert score.recall[cutoff] == pytest.approx(expected)


@pytest.mark.slow  # ranx compiles itself at first use
@pytest.mark.parametrize("kind", ["random", "tied"])
def test_hit_rates_and_reciprocal_ranks_are_those_of_ranx(kind: str) -> None:
    from ranx import Qrels, Run, evaluate

    scores, right = some_scores(kind, num_gallery=40), some_places(num_gallery=40)
    nudged = scores.copy()
    nudged[np.arange(len(right)), right] -= 1e-9
    qrels = Qrels({f"q{i}": {f"v{place}": 1} for i, place in enumerate(right)})
    run = Run({f"q{i}": {f"v{j}": float(s) for j, s in enumerate(r)} for i, r in enumerate(nudged)})
    found = evaluate(qrels, run, ["hit_rate@1", "hit_rate@5", "hit_rate@10", "mrr"])
    ranks = text_to_video(scores, right)
    for cutoff in (1, 5, 10):
        assert ranks.hits(cutoff).mean() == pytest.approx(found[f"hit_rate@{cutoff}"])
    assert (1 / ranks.ranks).mean() == pytest.approx(found["mrr"])


def brute_force_video_ranks(scores: Matrix, right: NDArray[np.int64]) -> dict[int, int]:
    found = {}
    for place in sorted(set(right.tolist())):
        column = scores[:, place].tolist()
        best = max(s for s, r in zip(column, right, strict=True) if r == place)
        wrong = [s for s, r in zip(column, right, strict=True) if r != place]
        found[place] = 1 + sum(s >= best for s in wrong)
    return found


@pytest.mark.parametrize("kind", ["random", "tied", "all equal"])
@pytest.mark.parametrize("block_rows", [1, 7, 500])
def test_videos_rank_the_best_of_their_texts_as_counted_by_hand(kind: str, block_rows: int) -> None:
    scores = some_scores(kind, num_queries=60, num_gallery=20)
    right = some_places(num_queries=60, num_gallery=20)
    ranks = video_to_text(scores, right, block_rows=block_rows)
    expected = brute_force_video_ranks(scores, right)
    assert dict(zip(ranks.places.tolist(), ranks.ranks.tolist(), strict=True)) == expected
    assert ranks.num_candidates == 60


def test_one_text_a_video_makes_the_two_directions_mirror_each_other() -> None:
    scores = some_scores("tied", num_queries=30, num_gallery=30)
    there, back = video_to_text(scores, range(30)), text_to_video(scores.T.copy(), range(30))
    assert there.ranks.tolist() == back.ranks.tolist()
    assert there.num_tied == back.num_tied


def test_other_texts_of_a_video_do_not_stand_in_its_way() -> None:
    scores = np.array([[0.9, 0.1], [0.8, 0.1], [0.5, 0.2]])
    assert video_to_text(scores, [0, 0, 1]).ranks.tolist() == [1, 1]
    assert text_to_video(scores, [0, 0, 1]).ranks.tolist() == [1, 1, 2]


def test_a_video_without_a_text_has_no_rank() -> None:
    ranks = video_to_text(np.array([[0.1, 0.9, 0.5]]), [2])
    assert (ranks.places.tolist(), ranks.ranks.tolist()) == ([2], [1])


def test_a_tie_counts_against_us_and_is_told() -> None:
    ranks = text_to_video(np.array([[0.5, 0.5, 0.5], [0.5, 0.9, 0.1]]), [0, 0])
    assert ranks.ranks.tolist() == [3, 2]
    assert ranks.num_tied == 1


def test_ranks_do_not_depend_on_the_gallerys_order() -> None:
    scores, right = some_scores("tied"), some_places()
    order = np.random.default_rng(1).permutation(scores.shape[1])
    place_of = np.argsort(order)
    shuffled = text_to_video(scores[:, order], place_of[right])
    assert shuffled.ranks.tolist() == text_to_video(scores, right).ranks.tolist()


@pytest.mark.parametrize("block_rows", [1, 13, 1000])
def test_blocks_give_what_the_whole_matrix_gives(block_rows: int) -> None:
    scores, right = some_scores("tied"), some_places()
    found = text_to_video(scores, right, block_rows=block_rows)
    assert found.ranks.tolist() == text_to_video(scores, right, block_rows=70).ranks.tolist()


def test_equal_vectors_tie_although_a_matrix_product_may_differ_in_the_last_bits() -> None:
    rng = np.random.default_rng(0)
    gallery = rng.normal(size=(40, 24)).astype(np.float32)
    gallery /= np.linalg.norm(gallery, axis=1, keepdims=True)
    gallery[17] = gallery[3]
    scores = gallery[[3]] @ gallery.T
    scores[0, 17] -= 1.2e-7  # the last bit of a float32 near 1
    exact = text_to_video(scores, [3])
    assert (exact.ranks[0], exact.num_tied) == (1, 0)
    wide = text_to_video(scores, [3], tie_width=COSINE_TIE_WIDTH)
    assert (wide.ranks[0], wide.num_tied) == (2, 1)
    assert video_to_text(scores.T.copy(), [0] * 3 + [0] * 37).ranks.tolist() == [1]


def ranks_of(*ranks: int) -> Ranks:
    return Ranks(
        places=np.arange(len(ranks)), ranks=np.array(ranks), num_candidates=200, num_tied=0
    )


def test_scores_are_those_of_a_worked_example() -> None:
    score = retrieval_score(ranks_of(1, 2, 7, 101))
    assert score.recall == {1: 0.25, 5: 0.5, 10: 0.75, 100: 0.75}
    assert (score.median_rank, score.mean_rank) == (4.5, 27.75)
    assert score.sum_recall == 2.25
    named = score.named()
    assert list(named) == ["R@1", "R@5", "R@10", "R@100", "MedR", "MeanR", "SumR"]
    assert (named["R@10"], named["SumR"]) == (0.75, 2.25)


def test_rsum_adds_both_directions_up_to_ten() -> None:
    assert rsum(ranks_of(1, 3), ranks_of(6, 50)) == 0.5 + 1 + 1 + 0 + 0 + 0.5


@pytest.mark.parametrize(
    ("scores", "right", "more", "why"),
    [
        (np.array([[0.1, np.nan]]), [0], {}, "NaN"),
        (np.zeros((2, 3)), [0], {}, r"\(2, 3\)"),
        (np.zeros(3), [0, 1, 2], {}, "shape of the scores"),
        (np.zeros((1, 3)), [3], {}, "right place is 3; allowed: 0 to 2"),
        (np.zeros((1, 3)), [-1], {}, "right place is -1"),
        (np.zeros((1, 3)), [0], {"block_rows": 0}, "block_rows"),
    ],
)
def test_scores_that_cannot_be_ranked_are_refused(
    scores: object, right: list[int], more: dict[str, int], why: str
) -> None:
    with pytest.raises(InvalidValue, match=why):
        text_to_video(scores, right, **more)  # type: ignore[arg-type]


def test_no_query_is_no_score() -> None:
    with pytest.raises(InvalidValue, match="at least 1"):
        retrieval_score(text_to_video(np.zeros((0, 3)), []))


def test_a_right_place_scored_minus_infinity_ranks_last() -> None:
    scores = np.array([[-np.inf, 0.0, -np.inf]])
    assert text_to_video(scores, [0]).ranks.tolist() == [3]
