"""Answer a file of questions, as JSON lines; an interrupted run resumes where it stopped.

A line is a question in plain words, or a JSON object with `question` and, if wanted, `id`,
`options` and `video`. A question that fails becomes a row with its `error`; the others go on.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fdvs.configfile import config_to_json
from fdvs.errors import ConfigError, FdvsError, InvalidValue, Stopped
from fdvs.files import read_regular
from fdvs.fingerprint import digest
from fdvs.pipelines.record_log import open_records
from fdvs.typed import fill

if TYPE_CHECKING:
    from fdvs.pipelines.library import Library
    from fdvs.pipelines.together import Libraries

MAX_FILE_BYTES = 64 * 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchLine:
    """What a JSON line may hold beside its `id`."""

    question: str
    options: tuple[str, ...] = ()
    video: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchQuestion(BatchLine):
    """One line of a file of questions; `problem` says why it cannot be asked."""

    id: str
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchDone:
    """What became of a file of questions; the counts are of all rows of the output."""

    path: Path
    num_answered: int
    num_refused: int
    num_failed: int
    num_resumed: int


def read_questions(path: Path) -> list[BatchQuestion]:
    """Return the questions of a file, in order; a bad line is one with a `problem`.

    Raises InvalidValue for a file that cannot be read or is too large, and for an id used twice.
    """
    try:
        data = read_regular(path, max_bytes=MAX_FILE_BYTES)
        text = data.decode("utf-8", errors="replace")
    except OSError as error:
        raise InvalidValue("questions", str(path), f"a readable file ({error.strerror})") from error
    lines = enumerate(text.split("\n"), start=1)
    questions = [_question(line.strip(), f"line {i}") for i, line in lines if line.strip()]
    [(commonest, count)] = Counter(one.id for one in questions).most_common(1) or [("", 0)]
    if count > 1:
        raise InvalidValue("id", commonest, "a different one for every question of the file")
    return questions


def _question(line: str, place: str) -> BatchQuestion:
    if not line.startswith("{"):
        return BatchQuestion(id=place, question=line)
    try:
        values = {key: value for key, value in json.loads(line).items() if value is not None}
    except (ValueError, RecursionError) as error:
        return BatchQuestion(id=place, question=line[:200], problem=f"no JSON: {str(error)[:200]}")
    name = str(values.pop("id", place))
    try:
        return BatchQuestion(id=name, **asdict(fill(BatchLine, values, where=place)))
    except ConfigError as error:
        shown = str(values.get("question"))[:200]
        return BatchQuestion(id=name, question=shown, problem=str(error)[:400])


def answer_file(
    library: Library | Libraries,
    questions: Path,
    out: Path | None = None,
    *,
    video: str | None = None,
    progress: Callable[[str], None] = lambda text: None,
    **more: Any,
) -> BatchDone:
    """Answer every question of a file that has no row in `out` yet.

    Args:
        out: where the rows go; else `QUESTIONS.answers.jsonl` beside the file.
        video: only this video, for lines that name none.
        progress: receives a line for every question answered.
        more: further arguments of `Library.ask`.

    Raises InvalidValue for an unusable file, ConfigError where `out` was made with other settings.
    """
    from fdvs.pipelines.together import Libraries

    paths = library.paths if isinstance(library, Libraries) else (library.path,)
    batch = read_questions(questions)
    place = out or questions.with_name(f"{questions.name}.answers.jsonl")
    settings = {
        "config": config_to_json(library.config),
        "library": os.pathsep.join(str(one.resolve()) for one in paths),
        "video": video,
        # `second_look` was called `look`: files of older versions are resumed as well
        "more": {key.removeprefix("second_"): str(value) for key, value in more.items()},
        "questions": digest([asdict(one) for one in batch]),
    }
    with open_records(place, settings=settings) as rows:
        for number, one in enumerate(batch, start=1):
            if one.id not in rows:
                rows.add(_row(library, one, video, more))
                progress(f"[{number}/{len(batch)}] {one.question[:80]}")
        records = list(rows.done.values())
        num_resumed = rows.num_resumed
    num_failed = sum("error" in record for record in records)
    return BatchDone(
        path=place,
        num_answered=len(records) - num_failed,
        num_refused=sum(record.get("refused") is True for record in records),
        num_failed=num_failed,
        num_resumed=num_resumed,
    )


def _row(
    library: Library | Libraries, one: BatchQuestion, video: str | None, more: dict[str, Any]
) -> dict[str, Any]:
    from fdvs.pipelines.results import answer_json

    if one.problem:
        return {"id": one.id, "question": one.question, "error": one.problem}
    try:
        answer = library.ask(
            one.question, options=one.options or None, video=one.video or video, **more
        )
    except Stopped:
        raise
    except FdvsError as error:
        return {"id": one.id, "question": one.question, "error": str(error)}
    return {"id": one.id, **answer_json(answer)}
