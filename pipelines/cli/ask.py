"""`fdvs ask`: one question, a chat, or a file of questions."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from fdvs.pipelines.cli.options import (
    LibraryOptions,
    LlmOption,
    VideoOption,
    emit,
    library_command,
    report_progress,
)
from fdvs.text.clean import one_line

if TYPE_CHECKING:
    from fdvs.pipelines.ask.batch import BatchDone
    from fdvs.pipelines.library import Library
    from fdvs.pipelines.together import Libraries
    from fdvs.types import Answer

QUIT = ("/quit", "/exit")
MAX_LINE_CHARS = 100_000


def register(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command()(ask)


@partial(library_command, several=True)
def ask(
    options: LibraryOptions,
    question: Annotated[
        str | None, typer.Argument(metavar="QUESTION", help="A question, in words.")
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option("--option", "-o", metavar="TEXT", help="An answer to choose from; repeat it."),
    ] = None,
    chat: Annotated[
        bool, typer.Option("--chat", help="Read questions from standard input, until EOF or /quit.")
    ] = False,
    questions: Annotated[
        Path | None,
        typer.Option(
            "--questions",
            metavar="FILE",
            help="One question a line: plain, or JSON with question, options, video, id.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FILE",
            help="Where answers to --questions go, as JSON lines; run again to resume.",
        ),
    ] = None,
    look: Annotated[
        bool,
        typer.Option(
            "--look", help="Ask the captioner about the cited clips, with the question in mind."
        ),
    ] = False,
    llm: LlmOption = None,
    video: VideoOption = None,
) -> int:
    """Answer a question about the videos, with time-stamped evidence.

    Every sentence is checked: what no chapter supports is left out. Where the videos do not
    hold the answer, the reply says so.
    """
    _check_usage(question, option, chat, questions, out)
    asked: dict[str, Any] = {"video": video}
    if look:
        asked["second_look"] = True
    stdout = sys.stdout
    if llm:
        from fdvs.pipelines.sources import change_models

        options = replace(options, change=partial(change_models, captioner=None, llm=llm))
    with contextlib.ExitStack() as opened:
        library = _opened(options, opened)
        if chat:
            return _chat(library, asked, options.as_json, stdout)
        if questions is not None:
            from fdvs.pipelines.ask.batch import answer_file

            done = answer_file(library, questions, out, progress=report_progress, **asked)
        else:
            answer = _ask_once(library, str(question), option, asked, options.as_json)
    if questions is not None:
        return _show_batch(done, options.as_json)
    _show(answer, options.as_json)
    return 0


def _opened(options: LibraryOptions, opened: contextlib.ExitStack) -> Library | Libraries:
    """Return the library, or all of several as one."""
    library = opened.enter_context(options.opened())
    if not options.more:
        return library
    from fdvs.pipelines.together import Libraries

    more = [opened.enter_context(replace(options, library=one).opened()) for one in options.more]
    return Libraries([library, *more])


def _check_usage(
    question: str | None,
    option: list[str] | None,
    chat: bool,
    questions: Path | None,
    out: Path | None,
) -> None:
    num = sum((question is not None, chat, questions is not None))
    if num != 1:
        raise typer.BadParameter(f"give exactly one of QUESTION, --chat, --questions; got {num}")
    if option and (chat or questions):
        raise typer.BadParameter("--option goes with one QUESTION; a file has its own options")
    if out is not None and questions is None:
        raise typer.BadParameter("--out goes with --questions")


def _ask_once(
    library: Library | Libraries,
    question: str,
    option: list[str] | None,
    asked: dict[str, Any],
    as_json: bool,
) -> Answer:
    from fdvs.pipelines.show.progress import streamed_to

    if option:
        return library.ask(question, options=option, **asked)
    with streamed_to(None if as_json else sys.stderr) as on_text:
        return library.ask(question, on_text=on_text, **asked)


def _show_batch(done: BatchDone, as_json: bool) -> int:
    """Show what became of a file of questions; return the exit code."""
    if as_json:
        from fdvs.pipelines.results import batch_json

        emit(batch_json(done))
    else:
        typer.echo(
            f"{done.num_answered} answered ({done.num_refused} not in the evidence), "
            f"{done.num_failed} failed, {done.num_resumed} were there: {one_line(str(done.path))}"
        )
    return 1 if done.num_failed else 0


def _chat(
    library: Library | Libraries, asked: dict[str, Any], as_json: bool, stdout: TextIO
) -> int:
    """Answer every line of standard input on `stdout`; after a failed question the chat goes on."""
    from fdvs.answers.question import Turn
    from fdvs.errors import FdvsError
    from fdvs.pipelines.show.progress import streamed_to

    history: list[Turn] = []
    for line in _lines(sys.stdin, prompt=sys.stdin.isatty() and not as_json):
        answer: Answer | None = None
        try:
            with streamed_to(None if as_json else sys.stderr) as on_text:
                answer = library.ask(line, history=tuple(history), on_text=on_text, **asked)
        except FdvsError as error:
            report_progress(f"fdvs: {error}")
            problem = {"question": line, "error": one_line(str(error))}
        with contextlib.redirect_stdout(stdout):
            if answer is not None:
                history.append(Turn(question=answer.question, answer=answer.text))
                _show(answer, as_json)
            elif as_json:
                emit(problem)
    return 0


def _lines(source: TextIO, *, prompt: bool) -> Iterator[str]:
    """Yield the lines that are not blank, until the end of input or `/quit`."""
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
