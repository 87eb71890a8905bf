"""Objects: grid, size and label words against tables, and a tiny GroundingDINO end to end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fdvs.errors import InvalidValue, ModelError, ModelUnavailable
from fdvs.models.cards import Card, LoadSettings
from fdvs.models.describe.objects import ObjectSource, prompt_of, split_labels
from fdvs.models.describe.objectwords import (
    COCO_NAMES,
    Box,
    grid_cell,
    match_label,
    sentence,
    size_word,
)
from fdvs.types import Clip, ClipView, Frame

CPU = LoadSettings(device="cpu", dtype="float32")


def box(label: str, x0: float, y0: float, x1: float, y1: float, score: float = 0.5) -> Box:
    return Box(label=label, score=score, x0=x0, y0=y0, x1=x1, y1=y1)


@pytest.mark.parametrize(
    ("x", "y", "cell"),
    [
        (0.0, 0.0, "top left"),
        (0.329, 0.329, "top left"),
        (0.33, 0.1, "top center"),
        (0.5, 0.5, "center"),
        (0.659, 0.33, "center"),
        (0.66, 0.659, "middle right"),
        (0.1, 0.5, "middle left"),
        (0.1, 0.66, "bottom left"),
        (0.5, 0.9, "bottom center"),
        (1.0, 1.0, "bottom right"),
    ],
)
def test_the_grid_is_cut_at_a_third_and_two_thirds(x: float, y: float, cell: str) -> None:
    assert grid_cell(x, y) == cell


@pytest.mark.parametrize(
    ("area", "word"),
    [(0, "small"), (0.329, "small"), (0.33, "medium"), (0.659, "medium"), (0.66, "large")],
)
def test_size_words_are_cut_at_the_same_shares(area: float, word: str) -> None:
    assert size_word(area) == word


@pytest.mark.parametrize(
    ("phrase", "label"),
    [
        ("cat", "cat"),
        ("Cat", "cat"),
        ("hydrant", "fire hydrant"),
        ("hot dog", "hot dog"),
        ("cat dog", "cat"),
        ("a hot dog on bread", "hot dog"),
        ("dog", "dog"),
        ("scatter", None),
        ("", None),
        ("##t", None),
    ],
)
def test_a_detectors_phrase_finds_its_class_by_whole_words(phrase: str, label: str | None) -> None:
    assert match_label(phrase, ["fire hydrant", "cat", "dog", "hot dog"]) == label


def test_the_picture_that_shows_most_of_a_class_speaks_for_the_clip() -> None:
    pictures = [
        [box("car", 0, 0, 0.1, 0.1), box("dog", 0.4, 0.4, 0.6, 0.6)],
        [box("car", 0, 0, 0.1, 0.1, 0.6), box("car", 0.9, 0.9, 1, 1, 0.9)],
        [box("car", 0.5, 0.5, 0.5, 0.5), box("car", 0.5, 0.5, 0.5, 0.5)],
        [],
    ]
    assert sentence(pictures) == (
        "2 x car (small, bottom right; small, top left), dog (small, center)."
    )


def test_equal_counts_go_by_score_and_equal_places_are_said_once() -> None:
    pictures = [
        [box("cup", 0, 0, 1, 1, 0.5), box("bowl", 0, 0, 0.9, 0.5, 0.8)],
        [box("fork", 0, 0, 0.1, 0.1, s) for s in (0.5, 0.6, 0.7, 0.8)],
    ]
    assert sentence(pictures) == (
        "4 x fork (small, top left), bowl (medium, top center), cup (large, center)."
    )


def test_no_box_gives_no_sentence_and_many_classes_are_bounded() -> None:
    assert sentence([[], []]) == ""
    many = [[box(f"thing{n}", 0, 0, 1, 1) for n in range(50)]]
    assert sentence(many).count("thing") == 12


def test_the_default_classes_are_the_80_of_coco() -> None:
    assert len(set(COCO_NAMES)) == len(COCO_NAMES) == 80


def test_long_lists_are_cut_into_prompts_that_fit_and_lose_nothing() -> None:
    labels = [f"thing{n}" for n in range(10)]
    prompts = split_labels(labels, count=lambda text: len(text.split()), limit=4)
    assert [len(p) for p in prompts] == [4, 4, 2]
    assert [label for p in prompts for label in p] == labels
    assert prompt_of(("a", "b c")) == "a. b c."


def test_a_label_said_twice_is_asked_once() -> None:
    assert split_labels(["Cat", " cat "], count=len, limit=99) == (("cat",),)


def test_a_label_longer_than_a_prompt_is_refused() -> None:
    with pytest.raises(InvalidValue, match="at most 3 tokens"):
        split_labels(["a b c d"], count=lambda text: len(text.split()), limit=3)


def source(folder: Path, **options: Any) -> ObjectSource:
    card = Card(
        name="it", role="source", backend="grounding-dino", target=str(folder), options=options
    )
    return ObjectSource.load(card, CPU)


def view(seed: int, *, num_frames: int, index: int = 0) -> ClipView:
    noise = np.random.default_rng(seed)
    frames = tuple(
        Frame(time_s=t, image=noise.integers(0, 255, (48, 64, 3), np.uint8))
        for t in range(num_frames)
    )
    clip = Clip(video_id="v", index=index, start_s=0, end_s=10)
    return ClipView(video_path=Path("v.mp4"), clip=clip, frames=frames)


def test_a_batch_finds_what_single_clips_find(detector_folder: Path) -> None:
    loose = {"box_threshold": 0.3, "text_threshold": 0.3, "labels": ["cat", "dog", "fire hydrant"]}
    detector = source(detector_folder, batch_size=3, **loose)
    views = [view(seed, num_frames=1 + seed % 3, index=seed) for seed in range(4)]
    together = detector.describe(views)
    alone = [detector.describe([one])[0] for one in views]
    assert [[o.text for o in found] for found in together] == [
        [o.text for o in found] for found in alone
    ]
    assert any(together)
    for found in together:
        for o in found:
            assert (o.source, o.start_s, o.end_s) == ("objects", 0, 10)
            assert o.confidence is not None
            assert 0.3 <= o.confidence <= 1


def test_boxes_are_those_that_the_models_raw_output_means(detector_folder: Path) -> None:
    """By hand: a box counts where its best token and the token of `cat` pass their thresholds."""
    import torch
    from PIL import Image
    from transformers import AutoProcessor, GroundingDinoForObjectDetection

    detector = source(detector_folder, box_threshold=0.6, text_threshold=0.5, labels=["cat"])
    image = view(5, num_frames=1).frames[0].image
    (boxes,) = detector.detect([image])
    processor = AutoProcessor.from_pretrained(detector_folder)
    inputs = processor(images=Image.fromarray(image), text="cat.", return_tensors="pt")
    model = GroundingDinoForObjectDetection.from_pretrained(detector_folder).eval()
    with torch.inference_mode():
        raw = model(**inputs)
    chance_QT = 1 / (1 + np.exp(-raw.logits[0].double().numpy()))
    position = inputs["input_ids"][0].tolist().index(processor.tokenizer.vocab["cat"])
    wanted = []
    for chances, (cx, cy, w, h) in zip(chance_QT, raw.pred_boxes[0].numpy(), strict=True):
        if chances.max() > 0.6 and chances[position] > 0.5:
            corners = np.clip([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2], 0, 1)
            wanted.append((*corners, chances.max()))
    assert 0 < len(wanted) < len(chance_QT)
    mine = [(b.x0, b.y0, b.x1, b.y1, b.score) for b in boxes]
    assert np.allclose(sorted(mine), sorted(wanted), atol=1e-4)
    assert {b.label for b in boxes} == {"cat"}


def test_the_papers_thresholds_are_the_default_and_silence_is_an_answer(
    detector_folder: Path,
) -> None:
    detector = source(detector_folder, box_threshold=1.0)
    assert detector.describe([view(1, num_frames=2), view(2, num_frames=0)]) == [[], []]
    options = source(detector_folder).options
    assert (options.box_threshold, options.text_threshold) == (0.4, 0.25)


def test_the_classes_of_coco_are_asked_in_prompts_that_the_model_holds(
    detector_folder: Path,
) -> None:
    detector = source(detector_folder, box_threshold=0.3, text_threshold=0.3)
    assert len(detector.prompts) > 1
    assert tuple(label for p in detector.prompts for label in p) == COCO_NAMES
    assert len(detector.describe([view(1, num_frames=1)])) == 1


def test_a_failing_detector_is_a_model_error(
    detector_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    detector = source(detector_folder)

    def fail(*_: Any, **__: Any) -> Any:
        raise RuntimeError("out of\nmemory")

    monkeypatch.setattr(detector.model, "forward", fail)
    with pytest.raises(ModelError, match="out of memory"):
        detector.describe([view(1, num_frames=1)])


@pytest.mark.parametrize("labels", [[], ["a. b"], [" "]])
def test_unusable_class_lists_are_refused(detector_folder: Path, labels: list[str]) -> None:
    with pytest.raises(InvalidValue, match="labels"):
        source(detector_folder, labels=labels)


def test_an_empty_folder_names_the_next_step(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match="models fetch"):
        source(tmp_path)
