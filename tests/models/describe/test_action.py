"""The action of a clip: a tiny random VideoMAE on disk, through the real loading path."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fdvs.errors import ConfigError, InvalidValue, ModelError, ModelUnavailable
from fdvs.models.cards import Card, LoadSettings
from fdvs.models.describe.action import ActionOptions, ActionSource, resampled
from fdvs.types import Clip, ClipView, Frame

CPU = LoadSettings(device="cpu", dtype="float32")
LABELS = {0: "riding_a_bike", 1: "cooking", 2: "playing chess"}


@pytest.mark.parametrize("num_have", [1, 2, 3, 7, 8, 16, 50])
@pytest.mark.parametrize("num_want", [1, 8, 16])
def test_resampling_is_sorted_even_and_in_range(num_have: int, num_want: int) -> None:
    picked = resampled(num_have, num_want)
    assert len(picked) == num_want
    assert picked == sorted(picked)
    # brute force: the frame whose stretch of the clip holds the middle of each wanted stretch
    middles = [(at + 0.5) / num_want for at in range(num_want)]
    assert picked == [
        next(n for n in range(num_have) if n / num_have <= m < (n + 1) / num_have) for m in middles
    ]


def source(folder: Path, **options: Any) -> ActionSource:
    card = Card(
        name="it", role="source", backend="video-classifier", target=str(folder), options=options
    )
    return ActionSource.load(card, CPU)


def view(seed: int, *, num_frames: int) -> ClipView:
    noise = np.random.default_rng(seed)
    frames = tuple(
        Frame(
            time_s=t,
            image=(noise.random((36, 48, 3)) * noise.integers(20, 255, 3)).astype(np.uint8),
        )
        for t in range(num_frames)
    )
    clip = Clip(video_id="v", index=0, start_s=2, end_s=10)
    return ClipView(video_path=Path("v.mp4"), clip=clip, frames=frames)


def test_the_likeliest_class_is_told_as_the_model_itself_computes_it(
    classifier_folder: Path,
) -> None:
    import torch
    from transformers import VideoMAEForVideoClassification, VideoMAEImageProcessor

    one = view(1, num_frames=4)
    (found,) = source(classifier_folder, min_probability=0).describe([one])
    frames = [np.ascontiguousarray(one.frames[n // 2].image) for n in range(8)]
    pixels = VideoMAEImageProcessor.from_pretrained(classifier_folder)(frames, return_tensors="pt")
    model = VideoMAEForVideoClassification.from_pretrained(classifier_folder).eval()
    with torch.inference_mode():
        chances = model(**pixels).logits.softmax(-1)[0]
    best = int(chances.argmax())
    assert [(o.source, o.text, o.start_s, o.end_s) for o in found] == [
        ("action", LABELS[best].replace("_", " "), 2, 10)
    ]
    assert found[0].confidence == pytest.approx(float(chances[best]), abs=1e-5)


def test_a_batch_answers_as_single_clips_do_and_keeps_their_places(
    classifier_folder: Path,
) -> None:
    classifier = source(classifier_folder, min_probability=0, batch_size=2)
    views = [view(seed, num_frames=n) for seed, n in enumerate([3, 0, 8, 1, 20])]
    together = classifier.describe(views)
    assert [len(found) for found in together] == [1, 0, 1, 1, 1]
    for found, one in zip(together, views, strict=True):
        (alone,) = classifier.describe([one])
        assert [o.text for o in found] == [o.text for o in alone]
        for a, b in zip(found, alone, strict=True):
            assert a.confidence == pytest.approx(b.confidence, abs=1e-5)
    assert len({o.confidence for found in together for o in found}) == 4


def test_an_unsure_answer_is_not_told(classifier_folder: Path) -> None:
    one = view(1, num_frames=4)
    (found,) = source(classifier_folder, min_probability=0).describe([one])
    just_above = (found[0].confidence or 0) + 1e-4
    assert source(classifier_folder, min_probability=just_above).describe([one]) == [[]]


def test_the_batch_is_by_the_device_unless_asked(classifier_folder: Path) -> None:
    assert source(classifier_folder).batch_size == 2
    assert source(classifier_folder, batch_size=5).batch_size == 5
    with pytest.raises(InvalidValue, match="min_probability"):
        source(classifier_folder, min_probability=2)


def test_a_failing_classifier_is_a_model_error(
    classifier_folder: Path,
) -> None:
    classifier = source(classifier_folder)

    def fail(*_: Any, **__: Any) -> Any:
        raise RuntimeError("out of\nmemory")

    classifier = ActionSource(fail, classifier.model, classifier.identity, ActionOptions())
    with pytest.raises(ModelError, match="out of memory"):
        classifier.describe([view(1, num_frames=1)])


def test_a_model_that_hides_its_frame_count_is_refused(classifier_folder: Path) -> None:
    classifier = source(classifier_folder)

    class Model:
        device = classifier.model.device
        config = object()

    with pytest.raises(ConfigError, match="num_frames"):
        ActionSource(None, Model(), classifier.identity, ActionOptions())


def test_an_empty_folder_names_the_next_step(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match="models fetch"):
        source(tmp_path)
