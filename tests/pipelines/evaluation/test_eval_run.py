"""Running rows: official files in, a result with its circumstances out, and nothing done twice."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fdvs.config import Config, ModelsConfig
from fdvs.datasets.cards import Published
from fdvs.datasets.examples import Split
from fdvs.errors import (
    AbsentData,
    ConfigError,
    InvalidValue,
    ModelUnavailable,
    NotFound,
    PartialData,
    UnknownName,
)
from fdvs.pipelines.evaluation import run as run_module
from fdvs.pipelines.evaluation.benchmarks import ROWS, row_facts, row_named
from fdvs.pipelines.evaluation.job import Job, Texts
from fdvs.pipelines.evaluation.report import bars_of, number_words, report, result_table, save_plot
from fdvs.pipelines.evaluation.result import EvalResult, result_from_json
from fdvs.pipelines.evaluation.run import limited, run_row
from fdvs.pipelines.evaluation.suite import Request, run_all

PAPER_ROWS = {
    "prvr-activitynet", "prvr-charades", "retrieval-activitynet", "retrieval-msrvtt", "msrvtt-qa",
    "activitynet-qa", "egoschema", "nextqa",
}  # fmt: skip


THINGS = ("cup", "hat", "dog", "key", "pen")


def write_egoschema(folder: Path, num: int = 3) -> Path:
    """Write invented questions in the official form; captions say 'cup N' all the time."""
    own = folder / "egoschema"
    own.mkdir(parents=True)
    questions = {
        f"clip-{n}": {
            "q_uid": f"clip-{n}",
            "google_drive_id": "none",
            "question": f"What does C lift in film {n}?",
            **{
                f"option {k}": f"{thing} {n}"
                for k, thing in enumerate(["cup", "hat", "dog", "key", "pen"])
            },
            "truth": n % 5,
        }
        for n in range(num)
    }
    captions = {f"clip-{n}": [f"#C C lifts cup {n}"] * 180 for n in range(num)}
    (own / "subset_anno.json").write_text(json.dumps(questions))
    (own / "lavila_subset.json").write_text(json.dumps(captions))
    return folder


def write_activitynet(folder: Path) -> Path:
    """Write two invented descriptions of two videos; the second lacks one of them."""
    own = folder / "activitynet_captions"
    own.mkdir(parents=True)
    one = {"duration": 10.0, "timestamps": [[0.0, 4.0], [4.0, 9.0]]}
    first = {
        "v_a": {**one, "sentences": ["A man rows.", "He rests."]},
        "v_b": {**one, "sentences": ["A dog runs.", "It sleeps."]},
    }
    second = {"v_a": {**one, "sentences": ["Someone rows a boat.", "The boat stops."]}}
    (own / "val.json").write_text(json.dumps(first))
    (own / "test.json").write_text(json.dumps(second))
    return folder


def job_of(row: str, data: Path | None, out: Path, models: dict[str, Any], **others: Any) -> Job:
    return Job(
        **{"row": row_named(row), "data": data, "out": out, "config": Config(), "models": models,
           "allow_partial": True, **others}
    )  # fmt: skip


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Split, Texts]]:
    """Replace every runner by one that scores the share of questions with words; keep the calls."""
    seen: list[tuple[Split, Texts]] = []

    def run(job: Job, split: Split, texts: Texts) -> EvalResult:
        seen.append((split, texts))
        asked = [*split.choices, *split.questions, *split.queries]
        return EvalResult(
            row=job.row.name, dataset=split.dataset, split=split.name, metric=job.row.metric,
            is_partial=split.is_partial, score=0.5, interval=(0.25, 0.75), num_items=len(asked),
            num_videos=len(split.video_ids), source="", floor=0.2, other_video=0.1,
            controls={"question_and_options_only": 0.3}, metrics={"MedR": 2.0},
            groups={"num_CW": 3.0, "CW": 0.5}, notes=("A note.",),
        )  # fmt: skip

    monkeypatch.setattr(run_module, "runner_for", lambda task: run)
    return seen


def test_the_eight_rows_of_the_paper_are_there() -> None:
    assert {row.name for row in ROWS.values() if row.in_paper} == PAPER_ROWS


def test_every_listed_row_says_what_it_needs() -> None:
    facts = {fact["name"]: fact for fact in row_facts()}
    assert facts.keys() == ROWS.keys()
    assert facts["egoschema"]["needs"] == "--data"
    assert facts["egoschema"]["num_records"] == 500
    assert facts["retrieval-msrvtt"]["needs"] == "--data and --videos or --captions"
    assert facts["synthetic"]["needs"] == "nothing"
    assert all(fact["licence"] for fact in facts.values())


def test_an_unknown_row_names_near_ones() -> None:
    with pytest.raises(UnknownName, match="egoschema"):
        row_named("egoschem")


def test_published_captions_are_the_texts(
    tmp_path: Path, models: dict[str, Any], calls: list[tuple[Split, Texts]]
) -> None:
    data = write_egoschema(tmp_path / "data")
    result = run_row(job_of("egoschema", data, tmp_path / "out", models))
    _, texts = calls[0]
    assert texts.source == result.source == "published captions"
    assert texts.captions["clip-1"][7].text == "C lifts cup 1"
    assert result.num_items == 3
    assert "partial" in result.split


def test_a_partial_file_is_refused_unless_allowed(tmp_path: Path, models: dict[str, Any]) -> None:
    data = write_egoschema(tmp_path / "data")
    with pytest.raises(PartialData, match="3"):
        run_row(job_of("egoschema", data, tmp_path / "out", models, allow_partial=False))


def test_the_same_settings_are_not_computed_twice_and_others_are(
    tmp_path: Path, models: dict[str, Any], calls: list[tuple[Split, Texts]]
) -> None:
    data = write_egoschema(tmp_path / "data")
    job = job_of("egoschema", data, tmp_path / "out", models)
    first = run_row(job)
    assert run_row(job) == first
    assert len(calls) == 1
    run_row(job, again=True)
    assert len(calls) == 2
    run_row(replace(job, llm="another"))
    assert len(calls) == 3


def test_a_row_that_asks_no_language_model_needs_none(
    tmp_path: Path, models: dict[str, Any], calls: list[tuple[Split, Texts]]
) -> None:
    data = write_egoschema(tmp_path / "data")
    config = Config(models=ModelsConfig(llm="transformers:/nowhere"))
    given = {role: part for role, part in models.items() if role != "llm"}
    run_row(job_of("egoschema", data, tmp_path / "out", given, config=config))
    assert len(calls) == 1
    with pytest.raises(ModelUnavailable, match="nowhere"):
        run_row(job_of("egoschema", data, tmp_path / "out", given, config=config, llm="asked"))


def test_a_damaged_result_is_computed_again(
    tmp_path: Path, models: dict[str, Any], calls: list[tuple[Split, Texts]]
) -> None:
    job = job_of("egoschema", write_egoschema(tmp_path / "data"), tmp_path / "out", models)
    run_row(job)
    for text in ("", "[]", '{"key": 1}', "{"):
        (tmp_path / "out/result.json").write_text(text)
        run_row(job)
    assert len(calls) == 5


def test_a_run_leaves_result_report_and_plot(
    tmp_path: Path, models: dict[str, Any], calls: list[tuple[Split, Texts]]
) -> None:
    result = run_row(
        job_of("egoschema", write_egoschema(tmp_path / "data"), tmp_path / "o", models)
    )
    stored = json.loads((tmp_path / "o/result.json").read_text())["result"]
    assert result_from_json(stored) == result
    page = (tmp_path / "o/report.md").read_text()
    assert all(words in page for words in ("50.0 %", "20.0 %", "LLoVi", "A note."))
    assert (tmp_path / "o/plot.svg").read_text().lstrip().startswith("<?xml")


def test_another_description_is_the_text_of_a_gallery(
    tmp_path: Path, models: dict[str, Any], calls: list[tuple[Split, Texts]]
) -> None:
    data = write_activitynet(tmp_path / "data")
    result = run_row(job_of("retrieval-activitynet", data, tmp_path / "out", models))
    split, texts = calls[0]
    assert [query.text for query in split.queries] == [
        "A man rows. He rests.", "A dog runs. It sleeps.",
    ]  # fmt: skip
    assert [c.text for c in texts.captions["v_a"]] == ["Someone rows a boat.", "The boat stops."]
    assert texts.missing == ("v_b",)
    assert any("v_b" in note for note in result.notes)
    assert result.counts["num_videos_missing"] == 1


def test_sentences_stay_apart_for_partially_relevant_retrieval(
    tmp_path: Path, models: dict[str, Any], calls: list[tuple[Split, Texts]]
) -> None:
    data = write_activitynet(tmp_path / "data")
    run_row(job_of("prvr-activitynet", data, tmp_path / "out", models, limit=3))
    split, _ = calls[0]
    assert [query.text for query in split.queries] == ["A man rows.", "He rests.", "A dog runs."]
    assert split.video_ids == ("v_a", "v_b")
    assert split.name.endswith("first 3")


def test_a_limit_of_questions_needs_only_their_videos(tmp_path: Path) -> None:
    from fdvs.datasets.registry import load_split

    split = load_split("egoschema", write_egoschema(tmp_path), allow_partial=True)
    short = limited(split, 2)
    assert len(short.choices) == 2
    assert short.video_ids == ("clip-0", "clip-1")
    assert limited(split, 3) is split
    assert limited(split, None) is split


def test_a_quick_run_takes_few_videos_with_all_their_questions(
    tmp_path: Path, models: dict[str, Any], calls: list[tuple[Split, Texts]]
) -> None:
    data = write_egoschema(tmp_path / "data", num=20)
    result = run_row(job_of("egoschema", data, tmp_path / "out", models, quick=True))
    split, texts = calls[0]
    assert len(split.choices) == len(split.video_ids) == len(texts.captions) == 12
    assert not texts.missing
    assert "quick" in result.split


def test_a_captions_file_stands_in_for_videos(
    tmp_path: Path, models: dict[str, Any], calls: list[tuple[Split, Texts]]
) -> None:
    file = tmp_path / "words.json"
    file.write_text(json.dumps({"clip-2": ["A hat.", "A dog."], "other": ["No."]}))
    data = write_egoschema(tmp_path / "data")
    run_row(job_of("egoschema", data, tmp_path / "out", models, captions=file))
    _, texts = calls[0]
    assert [caption.text for caption in texts.captions["clip-2"]] == ["A hat.", "A dog."]
    assert texts.missing == ("clip-0", "clip-1")
    assert texts.source == "captions file words.json"


def test_videos_go_through_the_whole_pipeline(
    tmp_path: Path,
    models: dict[str, Any],
    make_film: Callable[..., Path],
    calls: list[tuple[Split, Texts]],
) -> None:
    films = tmp_path / "films/deep"
    films.mkdir(parents=True)
    make_film(films / "clip-0.mp4", [("red", 2.0), ("blue", 2.0)])
    (films / "clip-1.mp4").write_bytes(b"no video")
    data = write_egoschema(tmp_path / "data")
    job = job_of("egoschema", data, tmp_path / "out", models, videos=tmp_path / "films")
    result = run_row(job)
    _, texts = calls[0]
    told = " ".join(caption.text for caption in texts.captions["clip-0"])
    assert "red" in told
    assert "blue" in told
    assert texts.missing == ("clip-1", "clip-2")
    assert any("clip-1" in note and "could not be read" in note for note in result.notes)
    assert result.backends["captioner"]


def test_a_folder_without_the_videos_is_an_error(tmp_path: Path, models: dict[str, Any]) -> None:
    (tmp_path / "films").mkdir()
    data = write_egoschema(tmp_path / "data")
    with pytest.raises(NotFound, match=r"clip-0\.mp4"):
        run_row(job_of("egoschema", data, tmp_path / "o", models, videos=tmp_path / "films"))


def test_a_row_without_words_says_how_to_give_them(tmp_path: Path, models: dict[str, Any]) -> None:
    own = tmp_path / "charades_sta"
    own.mkdir()
    (own / "charades_sta_test.txt").write_text("ABCDE 0.0 5.0##person opens a box.\n")
    with pytest.raises(ConfigError, match="--videos FOLDER"):
        run_row(job_of("prvr-charades", tmp_path, tmp_path / "out", models))


def test_videos_and_captions_exclude_each_other(tmp_path: Path, models: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="one of them"):
        job_of("egoschema", tmp_path, tmp_path, models, videos=tmp_path, captions=tmp_path)


def test_a_limit_below_one_and_no_data_are_errors(tmp_path: Path, models: dict[str, Any]) -> None:
    with pytest.raises(InvalidValue, match="--limit"):
        job_of("egoschema", tmp_path, tmp_path, models, limit=0)
    with pytest.raises(ConfigError, match="--data FOLDER"):
        run_row(job_of("egoschema", None, tmp_path / "out", models))


def test_all_rows_run_what_can_and_say_why_others_do_not(
    tmp_path: Path, models: dict[str, Any], calls: list[tuple[Split, Texts]]
) -> None:
    write_egoschema(tmp_path / "data")
    (tmp_path / "data/nextqa").mkdir()
    (tmp_path / "data/nextqa/val.csv").write_text("not,the,columns\n1,2,3\n")
    (tmp_path / "data/nextqa/nextqa_allcaps_1fps.zip").write_bytes(b"PK")
    lines: list[str] = []
    request = Request(
        row="all", data=tmp_path / "data", out=tmp_path / "out", config=Config(), models=models,
        allow_partial=True,
    )  # fmt: skip
    suite = run_all(request, report_progress=lines.append)
    assert [result.row for result in suite.results] == ["egoschema", "synthetic"]
    assert suite.failed.keys() == {"nextqa"}
    assert suite.skipped["retrieval-msrvtt"].startswith("no published captions")
    assert "activitynet_captions" in suite.skipped["retrieval-activitynet"]
    assert suite.to_json()["rows"]["egoschema"]["score"] == 0.5
    assert "FAILED" in suite.markdown()
    assert any(line.startswith("egoschema: accuracy 50.0 %") for line in lines)


def test_one_row_raises_its_error(tmp_path: Path, models: dict[str, Any]) -> None:
    request = Request(
        row="nextqa", data=tmp_path, out=tmp_path / "o", config=Config(), models=models
    )
    with pytest.raises(AbsentData, match=r"val\.csv"):
        run_all(request, report_progress=print)


def test_a_plot_shows_ours_with_floor_controls_and_published(
    tmp_path: Path, calls: list[tuple[Split, Texts]], models: dict[str, Any]
) -> None:
    result = run_row(job_of("egoschema", write_egoschema(tmp_path / "d"), tmp_path / "o", models))
    theirs = Published(row="egoschema", system="Other", scores={"accuracy": 0.4}, source="x",
                       not_comparable="y")  # fmt: skip
    labels = [label for label, _, _ in bars_of(result, [theirs])]
    assert labels == [
        "FDVS (this run)", "floor: TF-IDF", "control: another video's texts",
        "control: question and options only", "Other",
    ]  # fmt: skip
    first, second = tmp_path / "1.svg", tmp_path / "2.svg"
    assert save_plot(result, [theirs], first)
    assert save_plot(result, [theirs], second)
    assert first.read_bytes() == second.read_bytes()


def test_tables_hold_a_dash_where_there_is_no_number() -> None:
    bare = EvalResult(
        row="r", dataset="d", split="s", is_partial=False, metric="R@1", score=0.125,
        interval=None, num_items=8, num_videos=2, source="films",
    )  # fmt: skip
    assert "| r | s | R@1 12.5 % | - | - | - | 8 on 2 videos | films |" in result_table([bare])
    assert "Models" not in report(bare, [])


def test_ranks_and_counts_are_numbers_and_scores_are_percent() -> None:
    assert number_words("R@1", 0.5) == "50.0 %"
    assert number_words("video to text MedR", 1.0) == "1"
    assert number_words("num_CW", 1.0) == "1"
    assert number_words("MeanR", 12.3456) == "12.35"
