"""Many questions from a file; answers as JSON lines that are picked up again where they stopped.

A line is a question in plain words, or a JSON object with `question` and, if wanted, `id`,
`options` and `video`. A question that fails is a row with its `error`; the rest goes on.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fdvs.configfile import config_to_json
from fdvs.errors import FdvsError, InvalidValue
from fdvs.fingerprint import digest
from fdvs.pipelines.evaluation.predictions import open_predictions

if TYPE_CHECKING:
    from fdvs.pipelines.library import Library

MAX_FILE_BYTES = 64 * 2**20
FIELDS = ("id", "question", "options", "video")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One line of a file of questions; `problem` says why it cannot be asked."""

    id: str
    question: str
    options: tuple[str, ...] = ()
    video: str | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchDone:
    """What became of a file of questions; the counts are of all rows of the output."""

    path: Path
    num_answered: int
    num_refused: int
    num_failed: int
    num_resumed: int


def read_questions(path: Path) -> list[Asked]:
    """Return the questions of a file, in order; a bad line is one with a problem.

    Raises InvalidValue for a file that cannot be read or is too large, and for an id used twice.
    """
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise InvalidValue("questions", str(path), f"a file of at most {MAX_FILE_BYTES} bytes")
        text = path.read_bytes().decode("utf-8", errors="replace")
    except OSError as error:
        raise InvalidValue("questions", str(path), f"a readable file ({error.strerror})") from error
    asked = [_asked(line, number) for number, line in _told_lines(text)]
    ids = [one.id for one in asked]
    if twice := next((one for one in ids if ids.count(one) > 1), None):
        raise InvalidValue("id", twice, "a different one for every question of the file")
    return asked


def _told_lines(text: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield number, line.strip()


def _asked(line: str, number: int) -> Asked:
    place = f"line {number}"
    if not line.startswith("{"):
        return Asked(id=place, question=line)
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        return Asked(id=place, question=line[:200], problem=f"no JSON: {str(error)[:200]}")
    question, options = value.get("question"), value.get("options") or []
    video = value.get("video")
    unknown = sorted(set(value) - set(FIELDS))
    problem = ""
    if not isinstance(question, str):
        problem = "`question` is missing or no text"
    elif not (isinstance(options, list) and all(isinstance(one, str) for one in options)):
        problem = "`options` is no list of texts"
    elif video is not None and not isinstance(video, str):
        problem = "`video` is no text"
    elif unknown:
        problem = f"unknown {', '.join(unknown)[:100]}; known: {', '.join(FIELDS)}"
    if problem:
        return Asked(id=str(value.get("id", place)), question=str(question)[:200], problem=problem)
    return Asked(
        id=str(value.get("id", place)), question=question, options=tuple(options), video=video
    )


def answer_file(
    library: Library,
    questions: Path,
    out: Path | None = None,
    *,
    video: str | None = None,
    progress: Callable[[str], None] = lambda text: None,
    **more: Any,
) -> BatchDone:
    """Answer every question of a file that has no row yet; `out` is QUESTIONS.answers.jsonl.

    Raises InvalidValue for an unusable file, ConfigError where `out` was made with other settings.
    """
    asked = read_questions(questions)
    place = out or questions.with_name(f"{questions.name}.answers.jsonl")
    settings = {
        "config": config_to_json(library.config),
        "library": str(library.path.resolve()),
        "video": video,
        "more": {key: str(value) for key, value in more.items()},
        "questions": digest([asdict(one) for one in asked]),
    }
    with open_predictions(place, settings=settings) as rows:
        for number, one in enumerate(asked, start=1):
            if one.id not in rows:
                rows.add(_row(library, one, video, more))
                progress(f"[{number}/{len(asked)}] {one.question[:80]}")
        records = list(rows.done.values())
        num_resumed = rows.num_resumed
    failed = sum("error" in record for record in records)
    return BatchDone(
        path=place,
        num_answered=len(records) - failed,
        num_refused=sum(record.get("refused") is True for record in records),
        num_failed=failed,
        num_resumed=num_resumed,
    )


def _row(library: Library, one: Asked, video: str | None, more: dict[str, Any]) -> dict[str, Any]:
    from fdvs.pipelines.results import answer_json

    if one.problem:
        return {"id": one.id, "question": one.question, "error": one.problem}
    try:
        answer = library.ask(
            one.question, options=one.options or None, video=one.video or video, **more
        )
    except FdvsError as error:
        return {"id": one.id, "question": one.question, "error": str(error)}
    return {"id": one.id, **answer_json(answer)}
