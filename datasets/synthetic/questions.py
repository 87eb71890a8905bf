"""Questions and moments derived from recipes, with the right answers.

Options about order all come from the same film, so that knowing what a film shows is not enough;
options about content come from other films too. The order of the options is drawn by a hash of the
question, so that no position is right more often than by chance.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Sequence

from fdvs.datasets.examples import ChoiceQuestion, Query, Split
from fdvs.datasets.synthetic.recipe import Line, Recipe
from fdvs.datasets.synthetic.words import SPOKEN, TITLES

NUM_OPTIONS = 4
TIMES = ("once", "twice", "three times", "four times")
TEMPORAL = ("before", "after", "first", "last", "count")
#: A spoken line and a text go together if they overlap by at least this many seconds.
TOGETHER_S = 1.0


def split_of(recipes: Sequence[Recipe]) -> Split:
    """Return all questions and moment queries of films; video ids are their names."""
    return Split(
        dataset="synthetic",
        name=f"made, {len(recipes)} films",
        is_partial=False,
        video_ids=tuple(recipe.name for recipe in recipes),
        choices=tuple(question for recipe in recipes for question in choices_of(recipe)),
        queries=tuple(query for recipe in recipes for query in moments_of(recipe)),
        durations_s={recipe.name: recipe.duration_s for recipe in recipes},
    )


def appearances(recipe: Recipe) -> tuple[Line, ...]:
    """Return the titles in order of time, each unbroken appearance once; banners left out."""
    titles = sorted(
        (line for line in recipe.texts if not line.is_banner), key=lambda line: line.start_s
    )
    return tuple(titles)


def choices_of(recipe: Recipe) -> list[ChoiceQuestion]:
    """Return the film's multiple-choice questions, each with one right option."""
    made = [
        *_order_questions(recipe),
        *_end_questions(recipe),
        *_count_questions(recipe),
        *_content_questions(recipe),
    ]
    return [
        _question(recipe, number, kind, text, right, wrong)
        for number, (kind, text, right, wrong) in enumerate(made)
    ]


_Made = tuple[str, str, str, Sequence[str]]


def _question(
    recipe: Recipe, number: int, kind: str, text: str, right: str, wrong: Sequence[str]
) -> ChoiceQuestion:
    options = [right, *wrong]
    options.sort(key=lambda option: hashlib.sha256(f"{text}|{option}".encode()).digest())
    return ChoiceQuestion(
        id=f"{recipe.name}/{number:02d}",
        video_id=recipe.name,
        question=text,
        options=tuple(options),
        answer=options.index(right),
        kind=kind,
    )


def _random(recipe: Recipe, what: str) -> random.Random:
    return random.Random(f"{recipe.name}/{recipe.seed}/{what}")


def _others(recipe: Recipe, right: str, asked: str, *, what: str) -> list[str]:
    """Return wrong options: titles of the same film, without the right and the asked one."""
    names = dict.fromkeys(line.text for line in appearances(recipe))
    names = {name: None for name in names if name not in (right, asked)}
    wanted = min(NUM_OPTIONS - 1, len(names))
    return _random(recipe, what).sample(list(names), wanted)


def _order_questions(recipe: Recipe) -> Iterator[_Made]:
    """Ask what comes right before and right after a title that is shown once.

    The wrong options include the neighbour on the other side, so that being near is not enough.
    """
    shown = appearances(recipe)
    counts = {line.text: sum(other.text == line.text for other in shown) for line in shown}
    for before, here, after in zip(shown, shown[1:], shown[2:], strict=False):
        if counts[here.text] > 1 or before.text == after.text:
            continue
        for kind, right, opposite in (
            ("before", before.text, after.text),
            ("after", after.text, before.text),
        ):
            wrong = _others(recipe, right, here.text, what=f"{kind} {here.text}")
            if len(wrong) < 2:
                continue
            if opposite not in wrong:
                wrong[0] = opposite
            text = f"Which word does the screen show right {kind} the word {here.text}?"
            yield kind, text, right, wrong


def _end_questions(recipe: Recipe) -> Iterator[_Made]:
    shown = appearances(recipe)
    for kind, right in (("first", shown[0].text), ("last", shown[-1].text)):
        wrong = _others(recipe, right, right, what=kind)
        if len(wrong) >= 2:
            yield kind, f"Which word does the screen show {kind}?", right, wrong


def _count_questions(recipe: Recipe) -> Iterator[_Made]:
    """Ask how often: a title shown once, and the one shown most often."""
    shown = [line.text for line in appearances(recipe)]
    often = max(dict.fromkeys(shown), key=shown.count)
    single = [title for title in dict.fromkeys(shown) if shown.count(title) == 1]
    rng = _random(recipe, "count")
    for title in [often, *([rng.choice(single)] if single else [])]:
        count = shown.count(title)
        if count <= len(TIMES):
            text = f"How many times does the screen show the word {title}?"
            yield "count", text, TIMES[count - 1], [t for t in TIMES if t != TIMES[count - 1]]


def _content_questions(recipe: Recipe) -> Iterator[_Made]:
    """Ask what is written at all, what while a line is spoken, and what is said meanwhile."""
    rng = _random(recipe, "content")
    shown = list(dict.fromkeys(line.text for line in appearances(recipe)))
    absent = [title for title in TITLES if title not in shown]
    wrong = rng.sample(absent, NUM_OPTIONS - 1)
    yield "shown", "Which word can be read on the screen?", rng.choice(shown), wrong
    said = [line.text for line in recipe.speech]
    for line in recipe.speech:
        title = _title_during(recipe, line)
        if title is None:
            continue
        quiet = [text for text in SPOKEN if text not in said]
        wrong = [*(t for t in said if t != line.text), *rng.sample(quiet, NUM_OPTIONS - 1)]
        text = f"What does someone say while the screen shows the word {title}?"
        yield "said", text, line.text, wrong[: NUM_OPTIONS - 1]
        text = f"Which word does the screen show while someone says: {line.text}"
        yield "written", text, title, _others(recipe, title, title, what=f"written {title}")


def _title_during(recipe: Recipe, line: Line) -> str | None:
    """Return the only title on screen during a line, if it is shown nowhere else."""
    shown = appearances(recipe)
    during = {
        t.text
        for t in shown
        if min(t.end_s, line.end_s) - max(t.start_s, line.start_s) >= TOGETHER_S
    }
    touching = {t.text for t in shown if t.start_s < line.end_s and line.start_s < t.end_s}
    if len(during) != 1 or during != touching:
        return None
    (title,) = during
    return title if sum(t.text == title for t in shown) == 1 else None


def moments_of(recipe: Recipe) -> list[Query]:
    """Return a query, with its span, for every text and line that occurs only once."""
    found = [
        (f"The screen shows the words {line.text}.", (line.start_s, line.end_s))
        if line.is_banner
        else (f"The screen shows the word {line.text}.", (line.start_s, line.end_s))
        for line in recipe.texts
        if sum(other.text == line.text for other in recipe.texts) == 1
    ]
    found += [(f"Someone says: {line.text}", (line.start_s, line.end_s)) for line in recipe.speech]
    return [
        Query(id=f"{recipe.name}/moment{number:02d}", video_id=recipe.name, text=text, span=span)
        for number, (text, span) in enumerate(found)
    ]
