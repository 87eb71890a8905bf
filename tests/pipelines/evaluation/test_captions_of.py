"""A row with the words of another captioner: found by name, with the same floors and controls."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fdvs.config import AskConfig, Config
from fdvs.datasets.cards import load_card
from fdvs.datasets.checks import find_other_captions
from fdvs.errors import AbsentData, ConfigError, UnknownName
from fdvs.models.scripted import HashTextEmbedder
from fdvs.pipelines.evaluation.suite import Request, run_all

NAME = "nextqa_cogagent/action_captions_nextqa_cogagent.json"
THINGS = ("ball", "hat", "dog", "key", "pen")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Five videos; the second captioner says the right thing, the usual file is not there."""
    own = tmp_path / "data" / "nextqa"
    own.mkdir(parents=True)
    head = "video,frame_count,width,height,question,answer,qid,type,a0,a1,a2,a3,a4"
    rows = [f"{n},1,1,1,what is there,{n},0,DO,{','.join(THINGS)}" for n in range(5)]
    (own / "val.csv").write_text("\n".join([head, *rows]) + "\n")
    place = tmp_path / "data" / NAME
    place.parent.mkdir()
    words = {str(n): [f"There is a {thing}.", "A man waits."] for n, thing in enumerate(THINGS)}
    del words["4"]
    place.write_text(json.dumps(words))
    return tmp_path / "data"


def request(data: Path, tmp_path: Path, **more: Any) -> Request:
    return Request(
        row=more.pop("row", "nextqa"), data=data, out=tmp_path / "out", allow_partial=True,
        config=Config(ask=AskConfig(answerer="evidence")),
        models={"text_embedder": HashTextEmbedder()}, **more,
    )  # fmt: skip


@pytest.mark.parametrize("inside", [False, True])
def test_a_row_is_scored_by_another_captioners_words(
    inside: bool, data: Path, tmp_path: Path
) -> None:
    given = data / "nextqa" if inside else data  # the dataset's own folder, or the parent
    asked = request(given, tmp_path, captions_of="cogagent")
    (result,) = run_all(asked, report_progress=print).results
    assert (result.score, result.floor, result.num_items) == (1.0, 1.0, 4)
    assert result.source == "published captions of cogagent"
    assert result.other_video == 0.0
    assert "question_and_options_only" in result.controls
    assert any("1 videos without words: 4" in note for note in result.notes)
    assert (tmp_path / "out" / "nextqa-cogagent" / "result.json").is_file()


def test_what_is_not_there_is_named(data: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match=r"cogagnet.*Did you mean cogagent"):
        run_all(request(data, tmp_path, captions_of="cogagnet"), report_progress=print)
    (data / NAME).unlink()
    with pytest.raises(AbsentData, match="nextqa_cogagent/ with --data"):
        run_all(request(data, tmp_path, captions_of="cogagent"), report_progress=print)
    with pytest.raises(ConfigError, match="leave --videos and --captions out"):
        request(data, tmp_path, captions_of="cogagent", videos=tmp_path)
    with pytest.raises(ConfigError, match="goes with one row"):
        request(data, tmp_path, captions_of="cogagent", row="all")


def test_the_real_file_is_found(data_dir: Path) -> None:
    file = find_other_captions(data_dir, load_card("nextqa"), "val", "cogagent")
    assert len(json.loads(file.read_text("utf-8"))) == 285
