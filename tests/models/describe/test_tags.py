"""The tag captioner: sums over kinds, honest wording, features used once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fdvs.models.cards import LoadSettings, load_card
from fdvs.models.describe import tagwords
from fdvs.models.describe.tags import TagCaptioner, caption
from fdvs.models.describe.tagwords import GROUPS, Tag, friendly, members, tags
from fdvs.types import Clip, ClipView, Frame, ModelIdentity

# classes used below: 330 wood rabbit, 331 hare, 332 Angora, 84 peacock, 562 fountain
OWN = ModelIdentity(role="image_embedder", backend="efficientnet", name="net")


@pytest.fixture(scope="module")
def labels() -> list[str]:
    from timm.data import ImageNetInfo

    info = ImageNetInfo()
    return [info.index_to_description(i) for i in range(1000)]


def row(**shares: float) -> np.ndarray[Any, Any]:
    """Give classes (c331=0.4) their probability and spread the rest evenly."""
    named = {int(name[1:]): share for name, share in shares.items()}
    rest = (1 - sum(named.values())) / (1000 - len(named))
    values = np.full(1000, rest, np.float32)
    for index, share in named.items():
        values[index] = share
    return values


def find(values: np.ndarray[Any, Any], labels: Sequence[str]) -> dict[str, Tag]:
    return {tag.name: tag for tag in tags(values, labels, floor=0.25, kind_floor=0.1)}


def test_kinds_of_a_rabbit_add_up_to_a_rabbit(labels: list[str]) -> None:
    found = find(row(c330=0.15, c331=0.2, c332=0.05), labels)
    assert found["rabbit"].probability == pytest.approx(0.4, abs=1e-6)
    assert found["rabbit"].words() == "rabbit (hare, wood rabbit)"
    assert list(found) == ["rabbit"]


def test_under_the_floor_nothing_is_claimed(labels: list[str]) -> None:
    assert find(row(c562=0.24), labels) == {}
    assert find(row(c562=0.26), labels)["fountain"].kinds == ()


def test_doubt_spread_over_a_hundred_dogs_is_no_dog(labels: list[str]) -> None:
    spread = np.full(1000, 0.7 / 882, np.float32)
    spread[members("dog")] = 0.3 / 118
    assert "dog" not in find(spread, labels)
    spread[members("dog")] = 0.45 / 118
    assert find(spread, labels)["dog"].kinds == ()


def test_an_animal_of_unclear_kind_is_some_animal(labels: list[str]) -> None:
    values = np.full(1000, 0.2 / 602, np.float32)
    values[:398] = 0.8 / 398
    values[members("dog")] = 0.1 / 118
    values[:398] *= 0.8 / values[:398].sum()
    assert list(find(values, labels)) == ["some animal"]
    assert find(np.full(1000, 0.001, np.float32), labels) == {}


def test_groups_hold_what_they_say(labels: list[str]) -> None:
    """Checked against ImageNet's own words: a member's synonyms name the group or a kind of it."""
    words = {
        "rabbit": "rabbit hare angora", "snake": "snake boa python cobra mamba viper diamondback "
        "sidewinder constrictor", "bear": "bear", "frog": "frog", "turtle": "turtle terrapin "
        "loggerhead", "fox": "fox", "wolf": "wolf", "elephant": "elephant", "shark": "shark "
        "hammerhead", "spider": "spider tarantula widow", "crab": "crab", "bottle": "bottle",
        "fence": "fence", "whale": "whale", "cat": "cat", "bridge": "bridge viaduct",
        "pig": "hog boar warthog", "clock": "clock watch", "bicycle": "bike bicycle",
        "big cat": "cougar lynx leopard jaguar lion tiger cheetah", "bus": "bus trolleybus minibus",
        "ape": "orangutan gorilla chimpanzee gibbon siamang", "ball": "ball baseball basketball "
        "volleyball", "car": "car wagon cab taxi convertible jeep limousine minivan model racer",
    }  # fmt: skip
    for group, allowed in words.items():
        for index in members(group):
            own = set(labels[index].lower().replace(",", " ").replace("-", " ").split())
            assert own & set(allowed.split()) or group in labels[index].lower(), (group, index)


def test_no_class_is_in_two_groups_and_all_numbers_are_classes() -> None:
    numbers = [i for group in GROUPS for i in members(group)]
    assert len(numbers) == len(set(numbers))
    assert set(numbers) <= set(range(1000))


def test_every_label_has_a_friendly_lower_case_name(labels: list[str]) -> None:
    for index, label in enumerate(labels):
        name = friendly(index, label)
        assert name == name.lower() != ""
        assert "," not in name
    assert friendly(487, labels[487]) == "cellular telephone or cellphone"
    assert friendly(680, labels[680]) == "bottle teat"
    assert friendly(344, labels[344]) == "hippopotamus"


@pytest.mark.parametrize(
    ("found", "text"),
    [
        ([], ""),
        ([Tag(name="car", kinds=("cab",), probability=0.5)], "car (cab)"),
        ([Tag(name="car", kinds=(), probability=0.49)], "car?"),
        (
            [
                Tag(name="rabbit", kinds=("hare",), probability=0.9),
                Tag(name="bird", kinds=(), probability=0.3),
            ],
            "rabbit (hare), bird?",
        ),
    ],
)  # fmt: skip
def test_the_wording_tells_likely_from_doubtful(found: list[Tag], text: str) -> None:
    assert caption(found) == text


class FakeEmbedder:
    """Features are probabilities; counts what it is asked to embed."""

    identity = OWN

    def __init__(self, labels: list[str]) -> None:
        self.label_names = labels
        self.batches: list[int] = []

    def embed_images(self, images: Sequence[Any]) -> Any:
        self.batches.append(len(images))
        return np.stack([row(c562=0.6) for _ in images]) if images else np.zeros((0, 1000))

    def probabilities(self, vectors: Any) -> Any:
        return vectors


def view(index: int, *, frames: int = 2, **known: Any) -> ClipView:
    image = np.zeros((4, 4, 3), np.uint8)
    return ClipView(
        video_path=Path("x.mp4"),
        clip=Clip(video_id="v", index=index, start_s=index, end_s=index + 1),
        frames=tuple(Frame(time_s=index + i / 10, image=image) for i in range(frames)),
        **known,
    )


@pytest.fixture
def fake(labels: list[str]) -> FakeEmbedder:
    return FakeEmbedder(labels)


@pytest.fixture
def captioner(fake: FakeEmbedder) -> TagCaptioner:
    identity = ModelIdentity(role="captioner", backend="tags", name="tags", is_stand_in=True)
    return TagCaptioner(fake, identity)  # type: ignore[arg-type]  # a stand-in of the test


def test_features_of_the_same_network_are_not_computed_again(
    captioner: TagCaptioner, fake: FakeEmbedder
) -> None:
    given = np.stack([row(c331=0.6), row(c84=0.7)])
    clips = [view(0, vectors=given, embedder=OWN, motion=0.0), view(1, motion=0.2)]
    first, second = captioner.describe(clips)
    assert fake.batches == [2]
    assert first[0].text == "bird (peacock), rabbit (hare)"
    assert first[0].confidence == pytest.approx(0.7, abs=0.05)
    assert second[0].text == "fountain"
    assert (second[0].start_s, second[0].end_s, second[0].source) == (1, 2, "tags")


def test_features_of_another_network_or_none_at_all_are_not_used(
    captioner: TagCaptioner, fake: FakeEmbedder
) -> None:
    other = ModelIdentity(role="image_embedder", backend="open_clip", name="clip")
    given = np.stack([row(c331=0.6), row(c331=0.6)])
    (said,) = captioner.describe([view(0, vectors=given, embedder=other)])
    assert said[0].text == "fountain"
    assert fake.batches == [2]
    (said,) = captioner.describe([view(0, vectors=given[:0], embedder=OWN)])
    assert said[0].text == "fountain"


def test_a_clip_without_frames_and_no_clips_at_all_are_answers(captioner: TagCaptioner) -> None:
    assert captioner.describe([]) == []
    (said,) = captioner.describe([view(0, frames=0)])
    assert said == []


def test_the_best_frame_of_a_clip_decides_and_the_list_is_short(captioner: TagCaptioner) -> None:
    shares = [
        {"c331": 0.3},
        {"c331": 0.8},
        {"c562": 0.3},
        {"c84": 0.3},
        {"c879": 0.3},
        {"c883": 0.3},
    ]
    given = np.stack([row(**share) for share in shares])
    (said,) = captioner.describe([view(0, frames=6, vectors=given, embedder=OWN)])
    assert said[0].text.startswith("rabbit (hare), ")
    assert said[0].text.count("?") == said[0].text.count(",") == tagwords_limit() - 1
    assert said[0].confidence == pytest.approx(0.8, abs=0.01)


def tagwords_limit() -> int:
    from fdvs.models.describe.tags import MAX_TAGS

    return MAX_TAGS


def test_some_animal_is_not_said_beside_a_named_one(
    captioner: TagCaptioner, monkeypatch: pytest.MonkeyPatch
) -> None:
    unclear = np.full(1000, 0.1 / 602, np.float32)
    unclear[:398] = 0.9 / 398
    given = np.stack([unclear, row(c331=0.6)])
    monkeypatch.setitem(tagwords.GROUPS, "dog", (151,))
    (said,) = captioner.describe([view(0, vectors=given, embedder=OWN)])
    assert said[0].text == "rabbit (hare)"


@pytest.mark.usefixtures("needs_models")
def test_the_real_captioner_finds_the_rabbit_and_the_bottles(media_dir: Path) -> None:
    import av

    def clip_of(name: str, times_s: Sequence[float]) -> ClipView:
        frames: list[Frame] = []
        with av.open(str(media_dir / name)) as container:
            for picture in container.decode(video=0):
                if len(frames) < len(times_s) and picture.time >= times_s[len(frames)]:
                    image = picture.to_ndarray(format="rgb24")
                    frames.append(Frame(time_s=float(picture.time), image=image))
        clip = Clip(video_id="v", index=0, start_s=times_s[0], end_s=times_s[-1] + 1)
        return ClipView(video_path=Path(name), clip=clip, frames=tuple(frames), motion=0.05)

    captioner = TagCaptioner.load(load_card("tags"), LoadSettings(device="cpu"))
    film = clip_of("big_buck_bunny_full_160x120_4fps.mp4", [84, 88, 91])
    table = clip_of("bottle-detection.mp4", [9, 15])
    texts = [said[0].text for said in captioner.describe([film, table])]
    assert "rabbit" in texts[0]
    assert texts[1].startswith("bottle")
    assert captioner.identity.label().endswith("(offline stand-in)")
