"""Questions and moments of made films: scores of the built library, beside controls."""

from __future__ import annotations

import logging
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fdvs.answers.choice.chooser import Chooser
from fdvs.answers.evidence import Evidence, Passage, make_evidence
from fdvs.answers.question import Question
from fdvs.datasets.examples import ChoiceQuestion, Query
from fdvs.datasets.synthetic.questions import TEMPORAL, appearances
from fdvs.datasets.synthetic.recipe import Recipe, Span
from fdvs.metrics.interval import interval_of_mean
from fdvs.metrics.moments import R1_THRESHOLDS, iou_matrix, moment_score
from fdvs.pipelines.evaluation.choice import passages_of
from fdvs.pipelines.evaluation.rule_reader import RuleReader
from fdvs.pipelines.evaluation.synthetic_films import BuiltFilm
from fdvs.pipelines.evaluation.synthetic_scores import rounded
from fdvs.pipelines.library import Library
from fdvs.protocols import TextEmbedder
from fdvs.story.linking import content_words, word_weights
from fdvs.types import Chapter

NUM_MOMENTS = 5
NOTHING_KNOWN = "Nothing is known about this film."

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """Right (1.0) or wrong (0.0) for each question, in order, and what was chosen."""

    right: tuple[float, ...]
    chosen: tuple[int, ...]


def recipe_chapters(recipe: Recipe) -> list[Chapter]:
    """Return the chapters of a perfect describer, one per shot."""
    chapters = []
    for shot in recipe.shots:
        inside = (shot.start_s, shot.end_s)
        shown = [line.text for line in appearances(recipe) if _meets(line.start_s, inside)]
        shown += [b.text for b in recipe.texts if b.is_banner and _meets(b.start_s, inside)]
        said = [line.text for line in recipe.speech if _meets(line.start_s, inside)]
        text = f"On screen it says {' and '.join(f'“{t}”' for t in shown)}." if shown else ""
        text = " ".join([text, *(f"Someone says: “{t}”" for t in said)]).strip()
        chapters.append(
            Chapter(
                video_id=recipe.name,
                index=shot.index,
                start_s=shot.start_s,
                end_s=shot.end_s,
                text=text or NOTHING_KNOWN,
            )
        )
    return chapters


def _meets(time_s: float, span: Span) -> bool:
    return span[0] <= time_s < span[1]


def evidence_by_film(
    chapters_of: Mapping[str, Sequence[Chapter]], embedder: TextEmbedder
) -> dict[str, Evidence]:
    """Return the evidence of every film; a film without words says so."""
    found = {}
    for name, chapters in chapters_of.items():
        places = [chapter.index for chapter in chapters]
        known = passages_of(name, chapters, places) or [_nothing(name)]
        found[name] = make_evidence(known, embedder)
    return found


def _nothing(name: str) -> Passage:
    return Passage(video_id=name, name=name, chapter=0, start_s=0.0, end_s=1.0, text=NOTHING_KNOWN)


def shuffled(chapters: Sequence[Chapter], key: str) -> list[Chapter]:
    """Return the same words at other times: the texts are shuffled between the chapters."""
    texts = [chapter.text for chapter in chapters]
    random.Random(key).shuffle(texts)
    return [
        Chapter(video_id=c.video_id, index=c.index, start_s=c.start_s, end_s=c.end_s, text=text)
        for c, text in zip(chapters, texts, strict=True)
    ]


def answer_all(
    questions: Sequence[ChoiceQuestion], known: Mapping[str, Evidence], chooser: Chooser
) -> Answered:
    """Answer every question from its film's evidence."""
    chosen = [
        chooser.choose(
            Question.of(question.question, question.options), known[question.video_id]
        ).chosen
        for question in questions
    ]
    return _answered(questions, chosen)


def _answered(questions: Sequence[ChoiceQuestion], chosen: Sequence[int]) -> Answered:
    right = tuple(float(one == q.answer) for one, q in zip(chosen, questions, strict=True))
    return Answered(right=right, chosen=tuple(chosen))


def word_floor(
    questions: Sequence[ChoiceQuestion], chapters_of: Mapping[str, Sequence[Chapter]]
) -> Answered:
    """Choose the option whose words, by TF-IDF over all films, weigh most in the film's text.

    The share of the option's weight that the film's text holds; equal ones by their text.
    """
    texts = {
        name: set(content_words(" ".join(c.text for c in chapters_of[name])))
        for name in chapters_of
    }
    weights = word_weights(list(texts.values()))
    rarest = max(weights.values(), default=1.0)
    chosen = []
    for question in questions:
        scores = []
        for option in question.options:
            words = set(content_words(option))
            total = sum(weights.get(word, rarest) for word in words)
            held = sum(weights[word] for word in words & texts[question.video_id])
            scores.append(held / total if total else 0.0)
        order = sorted(range(len(scores)), key=lambda i: (-scores[i], question.options[i]))
        chosen.append(order[0])
    return _answered(questions, chosen)


def choice_scores(
    questions: Sequence[ChoiceQuestion],
    chapters_of: Mapping[str, Sequence[Chapter]],
    recipes: Sequence[Recipe],
    chooser: Chooser,
    embedder: TextEmbedder,
) -> dict[str, Any]:
    """Return accuracy with interval, floor, controls and groups.

    Controls: another film's words; the same words at other times (what is right by order must
    fall); nothing but question and options; the recipe's words instead of what was recognised
    (what better eyes and ears would give); the same words read by rules that know the questions
    (what a better chooser would give); chance.
    """
    names = [recipe.name for recipe in recipes]
    films = [question.video_id for question in questions]
    answered = answer_all(questions, evidence_by_film(chapters_of, embedder), chooser)
    other = {name: chapters_of[names[(i + 1) % len(names)]] for i, name in enumerate(names)}
    variants: dict[str, Mapping[str, Sequence[Chapter]]] = {
        "other_video": other,
        "shuffled_times": {name: shuffled(chapters_of[name], name) for name in names},
        "question_and_options_only": dict.fromkeys(names, ()),
        "recipe_words": {recipe.name: recipe_chapters(recipe) for recipe in recipes},
    }
    if len(names) < 2:
        del variants["other_video"]
    controls: dict[str, Answered] = {}
    for name, words in variants.items():
        controls[name] = answer_all(questions, evidence_by_film(words, embedder), chooser)
    controls["read_by_rules"] = answer_all(
        questions, evidence_by_film(chapters_of, embedder), RuleReader()
    )
    chance = [1 / len(question.options) for question in questions]
    ours = interval_of_mean(answered.right, films)
    return {
        "score": round(ours.value, 4),
        "interval": rounded(ours.bounds),
        "floor": _mean(word_floor(questions, chapters_of).right),
        "controls": {
            **{name: _mean(found.right) for name, found in controls.items()},
            "chance": _mean(chance),
        },
        "temporal": _part(questions, answered, controls, chance, temporal=True),
        "content": _part(questions, answered, controls, chance, temporal=False),
        "groups": _groups(questions, answered.right),
    }


def _mean(values: Sequence[float]) -> float:
    return round(float(np.mean(values)), 4)


def _part(
    questions: Sequence[ChoiceQuestion],
    answered: Answered,
    controls: Mapping[str, Answered],
    chance: Sequence[float],
    *,
    temporal: bool,
) -> dict[str, Any]:
    """Return the scores of the questions about order and number, or of all others."""
    at = [i for i, q in enumerate(questions) if (q.kind in TEMPORAL) == temporal]
    if not at:
        return {"num": 0}
    ours = interval_of_mean([answered.right[i] for i in at], [questions[i].video_id for i in at])
    return {
        "num": len(at),
        "score": round(ours.value, 4),
        "interval": rounded(ours.bounds),
        "chance": _mean([chance[i] for i in at]),
        **{name: _mean([found.right[i] for i in at]) for name, found in controls.items()},
    }


def _groups(questions: Sequence[ChoiceQuestion], right: Sequence[float]) -> dict[str, float]:
    groups: dict[str, list[float]] = {}
    for question, value in zip(questions, right, strict=True):
        groups.setdefault(question.kind, []).append(value)
    scores = {kind: _mean(values) for kind, values in groups.items()}
    return {**scores, **{f"num_{kind}": len(values) for kind, values in groups.items()}}


def moment_scores(
    queries: Sequence[Query], films: Sequence[BuiltFilm], library: Library
) -> dict[str, Any]:
    """Return R1@IoU and mean IoU of the library's moments, searched film by film.

    Controls: the whole film, a clip drawn at random (its expectation), and the best that any
    run of clips could reach: what the cuts alone allow.
    """
    by_name = {film.recipe.name: film for film in films}
    ranked: dict[str, list[Span]] = {}
    for query in queries:
        video_id = by_name[query.video_id].video_id
        found = library.search(query.text, video=video_id, num=NUM_MOMENTS)
        ranked[query.id] = [(moment.start_s, moment.end_s) for moment in found]
    right = {query.id: [query.span] for query in queries if query.span is not None}
    score = moment_score(ranked, right)
    half = [float(iou_matrix(r[:1], right[i]).max(initial=0.0) >= 0.5) for i, r in ranked.items()]
    interval = interval_of_mean(half, [query.video_id for query in queries])
    return {
        **{f"R1@{t}": round(score.recall_at_1[t], 4) for t in R1_THRESHOLDS},
        "R1@0.5_interval": rounded(interval.bounds),
        "mean_iou": round(score.mean_iou, 4),
        "num_queries": score.num_queries,
        "controls": _moment_controls(queries, by_name),
    }


def _moment_controls(
    queries: Sequence[Query], films: Mapping[str, BuiltFilm]
) -> dict[str, dict[str, float]]:
    rows: dict[str, list[tuple[float, ...]]] = {"whole_film": [], "random_clip": [], "best_run": []}
    for query in queries:
        assert query.span is not None
        film = films[query.video_id]
        clips = iou_matrix(film.spans, [query.span])[:, 0]
        starts, ends = zip(*film.spans, strict=True)
        runs = [(a, b) for i, a in enumerate(starts) for b in ends[i:]]
        best = iou_matrix(runs, [query.span]).max()
        whole = iou_matrix([(0.0, film.recipe.duration_s)], [query.span]).max()
        rows["whole_film"].append(tuple(float(whole >= t) for t in R1_THRESHOLDS))
        rows["random_clip"].append(tuple(float((clips >= t).mean()) for t in R1_THRESHOLDS))
        rows["best_run"].append(tuple(float(best >= t) for t in R1_THRESHOLDS))
    return {
        name: {f"R1@{t}": _mean([v[i] for v in values]) for i, t in enumerate(R1_THRESHOLDS)}
        for name, values in rows.items()
    }
