"""Tiny invented files of every dataset, in the official formats, and cards that fit them."""

from __future__ import annotations

import copy
import csv
import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from fdvs.datasets.cards import DatasetCard, load_card
from fdvs.datasets.examples import Split
from fdvs.datasets.registry import DATASETS
from fdvs.datasets.synthetic.recipe import Line, Recipe, Shot


def ego_question(uid: str, truth: int) -> dict[str, Any]:
    options = {f"option {i}": f"{uid} way {i}" for i in range(5)}
    return {"q_uid": uid, "google_drive_id": "x", "question": "what?", **options, "truth": truth}


def next_row(video: str, qid: str, kind: str, answer: str) -> dict[str, str]:
    options = {f"a{i}": f"thing {i}" for i in range(5)}
    size = {"frame_count": "90", "width": "640", "height": "480"}
    asked = {"question": "why so", "answer": answer, "qid": qid, "type": kind}
    return {"video": video, **size, **asked, **options}


def intent_question(uid: str, video: str, truth: int) -> dict[str, Any]:
    options = {f"option {i}": f"because {i}" for i in range(5)}
    size = {"frame_count": 90, "width": 640, "height": 480}
    asked = {"q_uid": uid, "video_id": video, "question": "why so", "truth": truth, "type": "CW"}
    return {**asked, **size, **options}


def qa_row(number: str, name: str, qid: str, question: str) -> dict[str, str]:
    asked = {"question": question, "answer": "owl", "question_id": qid, "question_type": "1"}
    return {"": "1", "video_id": number, "video_name": name, **asked}


def moment(number: int, video: str, times: list[list[int]]) -> dict[str, Any]:
    return {"annotation_id": number, "video": video, "description": f"moment {number}",
            "times": times, "num_segments": 6, "dl_link": "x"}  # fmt: skip


# name -> (videos, records, {file: content}); content is JSON, CSV rows, text or a zip's members.
TINY: dict[str, tuple[int, int, dict[str, Any]]] = {
    "egoschema": (2, 2, {
        "subset_anno.json": {"uid-a": ego_question("uid-a", 3), "uid-b": ego_question("uid-b", 0)},
        "lavila_subset.json": {
            "uid-a": ["#C C lifts a cup"] * 180,
            "uid-b": ["#O man X sits"] * 179 + ["#C  "],
        },
    }),
    "intentqa": (2, 2, {
        "Intentqa_anno.json": {
            "11-0": intent_question("11-0", "11", 4), "22-3": intent_question("22-3", "22", 0),
        },
        "action_captions_intentqa_cogagent.json": {"11": ["A boy runs.", " "], "22": ["A dog."]},
    }),
    "nextqa": (2, 3, {
        "val.csv": [next_row("11", "0", "CW", "4"), next_row("22", "0", "TP", "0"),
                    next_row("11", "7", "DO", "2")],
        "nextqa_allcaps_1fps.zip": {
            "caps/11_cap.json": {"10": "late", "0": "early", "2": "middle"},
            "caps/22_cap.json": {"0": "only"},
            "__MACOSX/caps/._11_cap.json": "not JSON at all",
        },
    }),
    "activitynet_captions": (2, 3, {
        "val.json": {
            "v_aa": {"duration": 20.0, "timestamps": [[5, 20.01], [0, 5.5]],
                     "sentences": [" It ends.", "It  begins."]},
            "v_bb": {"duration": 9, "timestamps": [[0, 9]], "sentences": ["A day."]},
        },
    }),
    "activitynet_qa": (2, 2, {
        "test_q.json": [
            {"video_name": "aa", "question": "is it red", "question_id": "v_aa_1"},
            {"video_name": "bb", "question": "where", "question_id": "v_bb_4"}],
        "test_a.json": [
            {"answer": "garden", "type": 6, "question_id": "v_bb_4"},
            {"answer": "no", "type": 3, "question_id": "v_aa_1"}],
    }),
    "charades_sta": (2, 3, {
        "charades_sta_test.txt":
            "AAAAA 0.0 3.5##someone opens a box.\nBBBBB 1 2##door.\n\nAAAAA 2.0 9.0##they # ##.\n",
    }),
    "didemo": (2, 3, {
        "test_data.json": [
            moment(5, "u@N1_x.mov", [[0, 1], [2, 3], [2, 3]]), moment(6, "gone.avi", [[0, 0]]),
            moment(7, "u@N1_x.mov", [[5, 5]]), moment(8, "y.", [[1, 2], [3, 4]])],
        "split_test_list.txt": "u@N1_x.mov\ny.\n",
    }),
    "msrvtt": (2, 2, {
        "msrvtt_test.csv": [
            {"key": "ret0", "vid_key": "msr8", "video_id": "video8", "sentence": "a, b and c"},
            {"key": "ret1", "vid_key": "msr9", "video_id": "video9", "sentence": "d"}],
    }),
    "msrvtt_qa": (2, 3, {
        "msrvtt_qa_val.csv": [
            qa_row("6513", "video6513", "1", "what is?"), qa_row("6513", "video6513", "2", "Who"),
            qa_row("7009", "video7009", "3", "is it so?")],
    }),
    "msvd_qa": (1, 1, {"msvd_qa_val.csv": [qa_row("1201", "-ab_1_2", "1201_9", "how many?")]}),
    "youcook2": (2, 3, {
        "validation_youcook.csv": [
            {"end": "60", "start": "47", "task": "1", "text": "cut it", "video_id": "xH"},
            {"end": "9.5", "start": "0", "task": "1", "text": "stir", "video_id": "yy"},
            {"end": "70", "start": "60", "task": "1", "text": "eat", "video_id": "xH"}],
    }),
}  # fmt: skip


def csv_text(rows: list[dict[str, str]]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def zip_bytes(members: dict[str, Any]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, value in members.items():
            archive.writestr(name, value if isinstance(value, str | bytes) else json.dumps(value))
    return out.getvalue()


def to_bytes(name: str, content: Any) -> bytes:
    if isinstance(content, bytes):
        return content
    if isinstance(content, str):
        return content.encode()
    if name.endswith(".zip"):
        return zip_bytes(content)
    return (csv_text(content) if name.endswith(".csv") else json.dumps(content)).encode()


@dataclass
class Tiny:
    """One dataset's invented files in `folder` and a card; change `files`, then `load`."""

    name: str
    folder: Path
    videos: int
    records: int
    files: dict[str, Any]
    card: DatasetCard = field(init=False)

    def write(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        for name, content in self.files.items():
            (self.folder / name).write_bytes(to_bytes(name, content))

    def official(self, *, videos: int | None = None, records: int | None = None) -> None:
        """Let the card say that this is how many there are."""
        card = load_card(self.name)
        split = replace(
            card.split(),
            videos=self.videos if videos is None else videos,
            records=self.records if records is None else records,
        )
        self.card = replace(card, splits={**card.splits, card.default_split: split})

    def load(self, folder: Path | None = None, **options: Any) -> Split:
        self.write()
        return self.load_as_is(folder, **options)

    def load_as_is(self, folder: Path | None = None, **options: Any) -> Split:
        """Load what lies in the folder, without writing `files` first."""
        return DATASETS[self.name].load(folder or self.folder, self.card, **options)


@pytest.fixture
def tiny(tmp_path: Path) -> Callable[[str], Tiny]:
    """Return the invented files of a dataset by its name, with a card that fits them."""

    def make(name: str) -> Tiny:
        videos, records, files = TINY[name]
        made = Tiny(name, tmp_path / name, videos, records, copy.deepcopy(files))
        made.official()
        return made

    return make


@pytest.fixture(params=sorted(TINY))
def each(request: pytest.FixtureRequest, tiny: Callable[[str], Tiny]) -> Tiny:
    """Every dataset in turn."""
    return tiny(request.param)


@pytest.fixture(scope="session")
def tiny_film() -> Callable[..., Recipe]:
    """Make a film's recipe of 2.4 seconds; what is given replaces a field."""

    def make(**changes: object) -> Recipe:
        """A film of 2.4 seconds: a scene, a still event, the scene again."""
        shots = (
            Shot(index=0, scene="x1", role="scene", start_s=0.0, end_s=0.8),
            Shot(index=1, scene="x2", role="event", start_s=0.8, end_s=1.6, moves=False),
            Shot(index=2, scene="x1", role="repeat", start_s=1.6, end_s=2.4),
        )
        texts = (
            Line(text="LANTERN", start_s=0.0, end_s=0.8),
            Line(text="SADDLE", start_s=0.8, end_s=1.6),
            Line(text="LANTERN", start_s=1.6, end_s=2.4),
            Line(text="DOORS OPEN", start_s=1.0, end_s=1.4, is_banner=True),
        )
        made = Recipe(
            name="tiny",
            seed=0,
            width_px=160,
            height_px=120,
            fps=10,
            key_frames="cuts",
            shots=shots,
            texts=texts,
        )
        return replace(made, **changes)  # type: ignore[arg-type]

    return make
