"""A dataclass filled from a mapping: what is converted, and how each wrong value is named."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from fdvs.errors import ConfigError, InvalidValue, UnknownName
from fdvs.typed import check_range, fill


@dataclass(frozen=True, kw_only=True)
class Lens:
    focal_mm: float
    coatings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Camera:
    name: str
    mount: Literal["ef", "rf"] = "ef"
    num_pixels: int = 1
    is_sealed: bool = False
    lens: Lens | None = None
    lenses: tuple[Lens, ...] = ()
    prices: Mapping[str, float] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.num_pixels < 1:
            raise ValueError(f"num_pixels={self.num_pixels} must be positive")


def test_nested_values_are_converted_as_their_types_say() -> None:
    values = {
        "name": "a",
        "mount": "rf",
        "lens": {"focal_mm": 50, "coatings": ["x", "y"]},
        "lenses": [{"focal_mm": 1.5}],
        "prices": {"new": 3},
        "extra": {"any": [1, None]},
    }
    made = fill(Camera, values, where="camera")
    assert made == Camera(
        name="a", mount="rf", lens=Lens(focal_mm=50.0, coatings=("x", "y")),
        lenses=(Lens(focal_mm=1.5),), prices={"new": 3.0}, extra={"any": [1, None]},
    )  # fmt: skip
    assert made.lens is not None
    assert type(made.lens.focal_mm) is float
    assert type(made.prices["new"]) is float


def test_fields_left_out_have_their_defaults_or_those_of_the_base() -> None:
    assert fill(Camera, {"name": "a"}, where="camera") == Camera(name="a")
    base = Camera(name="b", num_pixels=7, lens=Lens(focal_mm=20, coatings=("x",)))
    made = fill(Camera, {"lens": {"focal_mm": 30}}, where="camera", base=base)
    assert made == Camera(name="b", num_pixels=7, lens=Lens(focal_mm=30, coatings=("x",)))
    assert fill(Camera, {"lens": None}, where="camera", base=base).lens is None


@pytest.mark.parametrize(
    ("values", "error", "words"),
    [
        (7, InvalidValue, "^camera is 7; allowed: a mapping of parts$"),
        ({"nam": "a"}, UnknownName, "^unknown part 'nam' in camera. Did you mean name?"),
        ({4: "a"}, UnknownName, "unknown part '4'"),
        ({"name": 4}, InvalidValue, "^camera: name is 4; allowed: a value of type str$"),
        ({"name": "a", "mount": "m42"}, InvalidValue, "^camera: mount is 'm42'; allowed: ef, rf$"),
        ({"name": "a", "mount": []}, InvalidValue, r"mount is \[\]; allowed: ef, rf"),
        ({"name": "a", "num_pixels": 1.0}, InvalidValue, "num_pixels is 1.0; .* int"),
        ({"name": "a", "num_pixels": True}, InvalidValue, "num_pixels is True; .* int"),
        ({"name": "a", "num_pixels": 0}, InvalidValue, "what Camera takes .num_pixels=0 must be"),
        ({"name": "a", "is_sealed": 1}, InvalidValue, "is_sealed is 1; .* bool"),
        ({"name": "a", "lens": {"focal_mm": True}}, InvalidValue, "camera: lens: focal_mm is True"),
        ({"name": "a", "lens": {"focal": 3}}, UnknownName, "in camera: lens. Did you mean focal_m"),
        ({"name": "a", "lens": 3}, InvalidValue, "camera: lens is 3; allowed: a mapping of parts"),
        ({"name": "a", "lenses": {"focal_mm": 3}}, InvalidValue, "lenses is .*; allowed: a list"),
        ({"name": "a", "lenses": "ab"}, InvalidValue, "lenses is 'ab'; allowed: a list"),
        ({"name": "a", "lenses": [3]}, InvalidValue, r"camera: lenses\[0\] is 3; .* mapping"),
        ({"name": "a", "prices": [3]}, InvalidValue, r"prices is \[3\]; allowed: a mapping"),
        ({"name": "a", "prices": {1: 3}}, InvalidValue, "prices: key is 1; .* str"),
        ({"name": "a", "prices": {"new": "3"}}, InvalidValue, "prices: new is '3'; .* float"),
        ({}, ConfigError, "^camera: parts without a default are missing: name$"),
        ({"name": "a", "lens": {}}, ConfigError, "camera: lens: .* missing: focal_mm$"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed(
    values: object, error: type[ConfigError], words: str
) -> None:
    with pytest.raises(error, match=words):
        fill(Camera, values, where="camera", noun="part")


def test_a_number_outside_its_range_is_named_with_the_range() -> None:
    check_range("size", 1, 1, 2)
    check_range("size", 2, 1, 2)
    check_range("size", None, 1, 2)
    for value in (0.9, 2.1, float("nan")):
        with pytest.raises(InvalidValue, match=f"size is {value}; allowed: 1 to 2"):
            check_range("size", value, 1, 2)
