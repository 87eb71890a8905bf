"""Text on screen: drawn with PIL, read back by the real engine; merging against tables."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fdvs.errors import InvalidValue, ModelError, ModelUnavailable
from fdvs.models.cards import Card, LoadSettings
from fdvs.models.describe.ocr import (
    Detection,
    ScreenTextOptions,
    ScreenTextSource,
    line_of,
    merged,
)
from fdvs.text.vocabulary import same_words
from fdvs.types import Clip, ClipView, Frame, Image, ModelIdentity


def picture(*lines: str, height_px: int = 224, font_px: int = 28) -> Image:
    from PIL import Image as Pillow
    from PIL import ImageDraw, ImageFont

    canvas = Pillow.new("RGB", (height_px * 16 // 9, height_px), (30, 60, 120))
    draw = ImageDraw.Draw(canvas)
    font = ImageFont.load_default(font_px)
    for number, line in enumerate(lines):
        draw.text((16, 20 + number * 2 * font_px), line, fill=(255, 240, 200), font=font)
    return np.asarray(canvas)


def view(*images: Image, step_s: float = 2.0) -> ClipView:
    frames = tuple(Frame(time_s=10 + n * step_s, image=image) for n, image in enumerate(images))
    clip = Clip(video_id="v", index=3, start_s=10, end_s=20)
    return ClipView(video_path=Path("v.mp4"), clip=clip, frames=frames)


CARD = Card(name="screen-text", role="source", backend="rapidocr")


@pytest.fixture(scope="module")
def reader() -> ScreenTextSource:
    pytest.importorskip("rapidocr_onnxruntime", reason="extra `ocr` is not installed")
    return ScreenTextSource.load(CARD, LoadSettings())


def words(view_: ClipView, reader: ScreenTextSource) -> list[str]:
    return [same_words(o.text) for o in reader.describe([view_])[0]]


def test_drawn_text_is_read_back_once_with_its_times(reader: ScreenTextSource) -> None:
    blank = picture()
    title = picture("HARVEST FESTIVAL", "Gate 42")
    found = reader.describe([view(blank, title, title, blank), view(blank)])
    assert [same_words(o.text).replace(" ", "") for o in found[0]] == ["harvestfestival", "gate42"]
    assert {(o.start_s, o.end_s) for o in found[0]} == {(12, 16)}
    assert all(o.confidence is not None and o.confidence >= 0.7 for o in found[0])
    assert found[1] == []


def test_a_red_text_on_blue_is_not_read_with_swapped_colours(reader: ScreenTextSource) -> None:
    """The engine must see BGR: checked by what it is handed, since letters read either way."""
    handed: list[Image] = []

    def engine(image: Image) -> tuple[None, None]:
        handed.append(image)
        return None, None

    image = picture("HARVEST FESTIVAL").copy()
    image[0, 0] = (200, 0, 0)
    one = ScreenTextSource(engine, reader.identity, ScreenTextOptions())
    assert one.describe([view(image)]) == [[]]
    assert handed[0][0, 0].tolist() == [0, 0, 200]
    assert handed[0].flags["C_CONTIGUOUS"]


def test_a_clip_without_frames_has_no_text(reader: ScreenTextSource) -> None:
    assert reader.describe([view()]) == [[]]


def corners(top: float, width: float = 100, height: float = 20) -> list[list[float]]:
    return [[0, top], [width, top], [width, top + height], [0, top + height]]


IDENTITY = ModelIdentity(role="source", backend="rapidocr", name="scripted")
WRITTEN = picture("HARVEST FESTIVAL")  # what a scripted engine is asked about


def scripted(*lines: tuple[str, float], **options: Any) -> ScreenTextSource:
    result = [[corners(at * 30), text, score] for at, (text, score) in enumerate(lines)]
    return ScreenTextSource(lambda _: (result, None), IDENTITY, ScreenTextOptions(**options))


def test_unsure_and_wordless_readings_are_dropped() -> None:
    source = scripted(("sure", 0.7), ("unsure", 0.69), ("---", 0.99), ("\u200b", 0.99))
    assert words(view(WRITTEN), source) == ["sure"]
    assert words(view(WRITTEN), scripted(("unsure", 0.6), min_confidence=0.5)) == ["unsure"]


def test_readings_of_one_or_two_letters_are_dropped_but_not_short_words_of_han() -> None:
    source = scripted(("X", 0.99), ("l_", 0.99), ("il.", 0.99), ("exit", 0.99), ("出口", 0.99))
    assert words(view(WRITTEN), source) == ["exit", "出口"]


def test_a_bullet_is_no_part_of_the_text_and_a_minus_is() -> None:
    readings = ("· Ice flows", ".Snow falls", "-Firn", "-5 degrees", ".75 of it", "● One")
    texts = [line_of(corners(0), text, 1).text for text in readings]
    assert texts == ["Ice flows", "Snow falls", "Firn", "-5 degrees", ".75 of it", "One"]


def counting() -> tuple[ScreenTextSource, list[int]]:
    """Return a source and the number of pixels of each picture that its engine was asked about."""
    asked: list[int] = []

    def engine(image: Image) -> Any:
        asked.append(image.size)
        return [[corners(0), f"text {len(asked)}00", 0.9]], None

    return ScreenTextSource(engine, IDENTITY, ScreenTextOptions()), asked


def test_a_picture_is_read_again_only_once_it_changes() -> None:
    source, asked = counting()
    two = picture("HARVEST FESTIVAL", "Gate 42")
    brighter = np.clip(WRITTEN.astype(int) + 2, 0, 255).astype(np.uint8)
    found = source.describe([view(WRITTEN, brighter, two), view(two, WRITTEN[:200])])
    assert len(asked) == 3
    assert [[o.text for o in clip] for clip in found] == [
        ["text 100", "text 200"],
        ["text 200", "text 300"],
    ]
    assert [(o.start_s, o.end_s) for o in found[0]] == [(10, 14), (14, 20)]


def test_the_engine_is_not_asked_about_pictures_without_strokes() -> None:
    source, asked = counting()
    ramp = np.broadcast_to(np.arange(256, dtype=np.uint8)[None, :, None], (144, 256, 3))
    half = np.zeros((144, 256, 3), np.uint8)
    half[:, 100:] = 255
    assert source.describe([view(picture(), ramp, half, np.zeros((4, 4, 3), np.uint8))]) == [[]]
    assert asked == []


def test_a_long_text_is_cut_and_hidden_characters_go() -> None:
    source = scripted(("x" * 5000, 0.9), ("a\u202ebc", 0.9))
    found = source.describe([view(WRITTEN)])[0]
    assert [len(o.text) for o in found] == [300, 3]


def reading(text: str, confidence: float = 0.8, start_s: float = 0, end_s: float = 1) -> Detection:
    return Detection(text=text, confidence=confidence, start_s=start_s, end_s=end_s)


def test_nearly_equal_readings_become_the_surest_with_all_their_time() -> None:
    got = merged(
        [
            reading("BREAKlNG NEWS", 0.8, 2, 4),
            reading("weather", 0.9, 2, 4),
            reading("BREAKING NEWS", 0.95, 4, 6),
            reading("BREAKINGNEWS", 0.9, 6, 8),
        ],
        max_texts=9,
    )
    assert got == [reading("BREAKING NEWS", 0.95, 2, 8), reading("weather", 0.9, 2, 4)]


@pytest.mark.parametrize(
    ("first", "second"), [("Score 21:20", "Score 21:21"), ("12:00:01", "12:00:02"), ("yes", "no")]
)
def test_texts_that_differ_in_a_digit_stay_apart(first: str, second: str) -> None:
    assert len(merged([reading(first), reading(second)], max_texts=9)) == 2


def test_of_too_many_texts_the_surest_stay_in_order_of_sight() -> None:
    found = merged(
        [reading("alpha", 0.7), reading("bravo", 0.9), reading("charlie", 0.8)], max_texts=2
    )
    assert [one.text for one in found] == ["bravo", "charlie"]


def test_a_text_that_is_a_heading_on_one_frame_is_one_and_is_never_too_many() -> None:
    title = Detection(text="Ice cores", confidence=0.6, start_s=1, end_s=2, is_heading=True)
    found = merged([reading("ICE CORES", 0.9), title, reading("bravo", 0.8)], max_texts=1)
    assert found == [
        Detection(text="ICE CORES", confidence=0.9, start_s=0, end_s=2, is_heading=True)
    ]


def test_an_error_of_the_engine_is_a_model_error() -> None:
    def engine(image: Image) -> Any:
        raise RuntimeError("onnx\nsays no")

    with pytest.raises(ModelError, match="onnx says no"):
        ScreenTextSource(engine, IDENTITY, ScreenTextOptions()).describe([view(WRITTEN)])


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rapidocr_onnxruntime", None)
    with pytest.raises(ModelUnavailable, match="--with ocr"):
        ScreenTextSource.load(CARD, LoadSettings())


def test_options_are_checked() -> None:
    with pytest.raises(InvalidValue, match="min_confidence"):
        ScreenTextOptions(min_confidence=2)
