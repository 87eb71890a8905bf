"""FDVS as a model of lmms-eval (https://github.com/EvolvingLMMs-Lab/lmms-eval, MIT).

lmms-eval finds it by the entry point `lmms_eval.models`; without lmms-eval nothing of this is ever
imported. Every video is built into a library once, all questions about it are asked there:

    python -m lmms_eval --model fdvs --model_args library=egoschema-library,preset=laptop \\
        --tasks egoschema_subset --batch_size 1 --output_path results

The model sees the question, its options and the video's file, never the answer.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lmms_eval.api.model import lmms
from lmms_eval.models.registry_v2 import ModelManifest

from fdvs.pipelines.library import Library
from fdvs.pipelines.sources import without_auto

if TYPE_CHECKING:
    from fdvs.types import Answer

LETTERS = "ABCDEFGHIJ"
_OPTION = re.compile(r"^\s*\(?([A-J])[).:]\s*(\S.*)$")

MANIFEST = ModelManifest(model_id="fdvs", simple_class_path=f"{__name__}.FdvsModel")


class FdvsModel(lmms):  # type: ignore[misc]  # lmms-eval is not always here
    """Answers by `Library.ask`. `library` is the folder of the library that is built on the way.

    `answerer` None takes the preset's; `batch_size` and `device` are given by lmms-eval and say
    nothing here: the preset decides where models run.
    """

    is_simple = True

    def __init__(
        self,
        library: str = "fdvs-library",
        preset: str = "offline",
        batch_size: int | str = 1,
        device: str | None = None,
        **others: Any,
    ) -> None:
        super().__init__()
        if others:
            raise ValueError(
                f"model_args {', '.join(others)} unknown; allowed: library, preset, batch_size, "
                "device"
            )
        self._library = Library.open(library, preset=preset, change=without_auto)
        self._names: dict[Path, str] = {}

    def generate_until(self, requests: Sequence[Any]) -> list[str]:
        """Return a letter where the request lists options, else an answer in words."""
        return [self._answer(*request.args) for request in requests]

    def loglikelihood(self, requests: Sequence[Any]) -> list[tuple[float, bool]]:
        """Refused: texts of a video are ranked within a question, they have no likelihood."""
        raise NotImplementedError(
            "fdvs answers tasks of output_type generate_until; choose such a variant of the task"
        )

    def generate_until_multi_round(self, requests: Sequence[Any]) -> list[str]:
        """Refused: every question stands alone."""
        raise NotImplementedError("fdvs answers tasks of one round; choose such a task")

    def _answer(
        self, context: str, _: Any, doc_to_visual: Any, doc_id: Any, task: str, split: str
    ) -> str:
        visuals = doc_to_visual(self.task_dict[task][split][doc_id])
        paths = [Path(visual) for visual in visuals if isinstance(visual, (str, Path))]
        if len(paths) != 1:
            raise ValueError(f"task {task} gives {len(paths)} video files a question; need one")
        question, options = question_and_options(context)
        answer = self._library.ask(question, video=self._name(paths[0]), options=options)
        return letter_or_text(answer, options)

    def _name(self, path: Path) -> str:
        """Return the id of a video in the library, built now where it is new."""
        path = path.resolve()
        if path not in self._names:
            row = self._library.build([path]).rows[0]
            if row.video_id is None:
                raise ValueError(f"{path} cannot be read: {row.reason}")
            self._names[path] = row.video_id
        return self._names[path]


def question_and_options(context: str) -> tuple[str, tuple[str, ...]]:
    """Split a prompt into its question and its options, `A. text` line by line.

    What stands after the options tells how to write the answer, and is left out. Letters must
    run from A without a gap, else the whole prompt is the question.
    """
    lines = context.strip().splitlines()
    found = [(i, match) for i, line in enumerate(lines) if (match := _OPTION.match(line))]
    letters = "".join(match[1] for _, match in found)
    if len(found) < 2 or letters != LETTERS[: len(found)]:
        return context.strip(), ()
    question = "\n".join(lines[: found[0][0]]).strip()
    return question, tuple(match[2].strip() for _, match in found)


def letter_or_text(answer: Answer, options: Sequence[str]) -> str:
    """Return the letter of the chosen option; without options the answer's text."""
    if not options:
        return answer.text
    assert answer.chosen is not None, "a question with options was answered without a choice"
    return LETTERS[answer.chosen]
