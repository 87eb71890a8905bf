"""`fdvs ask`: one question, a chat, or a file of questions."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from fdvs.pipelines.cli.options import (
    DEFAULT_LIBRARY,
    ConfigOption,
    JsonOption,
    LibraryOption,
    PresetOption,
    VideoOption,
    emit,
    opened,
)
from fdvs.pipelines.show.stream import streamed_to
from fdvs.text.clean import one_line

if TYPE_CHECKING:
    from fdvs.pipelines.library import Library
    from fdvs.types import Answer

QUIT = ("/quit", "/exit")
MAX_LINE_CHARS = 100_000


def register(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command()(ask)


def ask(
    question: Annotated[
        str | None, typer.Argument(metavar="[QUESTION]", help="A question, in words.")
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option("--option", "-o", metavar="TEXT", help="An option to choose; repeat it."),
    ] = None,
    chat: Annotated[
        bool, typer.Option("--chat", help="Questions from standard input, until EOF or /quit.")
    ] = False,
    questions: Annotated[
        Path | None,
        typer.Option(
            "--questions",
            metavar="FILE",
            help="A question a line: plain, or JSON with question, options, video, id.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="FILE", help="Answers of --questions, JSON lines; goes on from there."
        ),
    ] = None,
    question_first: Annotated[
        bool,
        typer.Option("--question-first", help="Let the model read the question before the story."),
    ] = False,
    look: Annotated[
        bool,
        typer.Option(
            "--look", help="Show the cited clips to the captioner again, with the question."
        ),
    ] = False,
    video: VideoOption = None,
    library: LibraryOption = DEFAULT_LIBRARY,
    preset: PresetOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> int:
    """Answer a question about the videos, with checked, time-stamped evidence.

    What no chapter supports is not said; where nothing is, the answer says so.
    """
    _check_usage(question, option, chat, questions, out)
    asked: dict[str, Any] = {"video": video}
    if question_first:
        asked["order"] = "question-first"
    if look:
        asked["look"] = True
    shown_on = sys.stdout
    with opened(library, preset, config) as opened_library:
        if questions is not None:
            return _ask_file(opened_library, questions, out, asked, as_json, shown_on)
        if chat:
            return _chat(opened_library, asked, as_json, shown_on)
        answer = _asked_once(opened_library, str(question), option, asked, as_json)
    _show(answer, as_json)
    return 0


def _check_usage(
    question: str | None,
    option: list[str] | None,
    chat: bool,
    questions: Path | None,
    out: Path | None,
) -> None:
    given = sum((question is not None, chat, questions is not None))
    if given != 1:
        raise typer.BadParameter(
            f"{given} of QUESTION, --chat and --questions were given; give exactly one"
        )
    if option and (chat or questions):
        raise typer.BadParameter("--option goes with one QUESTION; a file has its own options")
    if out is not None and questions is None:
        raise typer.BadParameter("--out goes with --questions")


def _asked_once(
    library: Library, question: str, option: list[str] | None, asked: dict[str, Any], as_json: bool
) -> Answer:
    if option:
        return library.ask(question, options=option, **asked)
    with streamed_to(None if as_json else sys.stderr) as on_text:
        return library.ask(question, on_text=on_text, **asked)


def _ask_file(
    library: Library,
    questions: Path,
    out: Path | None,
    asked: dict[str, Any],
    as_json: bool,
    shown_on: TextIO,
) -> int:
    from fdvs.pipelines.ask.batch import answer_file

    done = answer_file(library, questions, out, progress=told, **asked)
    with contextlib.redirect_stdout(shown_on):
        if as_json:
            emit(done)
        else:
            typer.echo(
                f"{done.num_answered} answered ({done.num_refused} not in the evidence), "
                f"{done.num_failed} failed, {done.num_resumed} were there: "
                f"{one_line(str(done.path))}"
            )
    return 1 if done.num_failed else 0


def told(text: str) -> None:
    """Tell how far a long piece of work is, on standard error."""
    sys.stderr.write(f"{one_line(text)}\n")


def _chat(library: Library, asked: dict[str, Any], as_json: bool, shown_on: TextIO) -> int:
    """Answer every line of standard input; a question that fails is told, and the chat goes on."""
    from fdvs.answers.history import Turn
    from fdvs.errors import FdvsError

    history: list[Turn] = []
    for line in _lines(sys.stdin, prompt=sys.stdin.isatty() and not as_json):
        answer: Answer | None = None
        try:
            with streamed_to(None if as_json else sys.stderr) as on_text:
                answer = library.ask(line, history=tuple(history), on_text=on_text, **asked)
        except FdvsError as error:
            told(f"fdvs: {error}")
            problem = {"question": line, "error": one_line(str(error))}
        with contextlib.redirect_stdout(shown_on):
            if answer is not None:
                history.append(Turn(question=answer.question, answer=answer.text))
                _show(answer, as_json)
            elif as_json:
                emit(problem)
    return 0


def _lines(source: TextIO, *, prompt: bool) -> Iterator[str]:
    """Yield lines that hold something until the end or `/quit`."""
    while True:
        if prompt:
            sys.stderr.write("> ")
            sys.stderr.flush()
        line = source.readline(MAX_LINE_CHARS)
        if not line or line.strip().lower() in QUIT:
            return
        if line.strip():
            yield line.strip()


def _show(answer: Answer, as_json: bool) -> None:
    if as_json:
        from fdvs.pipelines.results import answer_json

        emit(answer_json(answer))
        return
    from fdvs.pipelines.show.answer import show_answer

    show_answer(answer)
