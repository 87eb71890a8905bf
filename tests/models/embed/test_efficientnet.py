"""The EfficientNet embedder: preprocessing, checkpoint order, features and labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fdvs.errors import ModelError, ModelUnavailable
from fdvs.models.cards import Card, LoadSettings, load_card
from fdvs.models.embed.efficientnet import EfficientNetEmbedder, load_by_order
from fdvs.models.embed.imagenet import network_input


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random EfficientNet-Lite0 under foreign names, as the published file has them."""
    import timm
    import torch

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("efficientnet")
    state = timm.create_model("tf_efficientnet_lite0", pretrained=False).state_dict()
    torch.save({f"other.{k}": v for k, v in state.items()}, folder / "w.pth")
    return folder


def card_of(folder: Path) -> Card:
    return Card(
        name="net", role="image_embedder", backend="efficientnet", target=str(folder), stand_in=True
    )


@pytest.fixture
def embedder(checkpoint: Path, model_cache: Path) -> EfficientNetEmbedder:
    return EfficientNetEmbedder.load(card_of(checkpoint), LoadSettings(device="cpu"))


def pictures(count: int, *, height: int = 60, width: int = 80) -> list[np.ndarray[Any, Any]]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (height, width, 3), dtype=np.uint8) for _ in range(count)]


def test_a_plain_picture_becomes_one_number_per_channel_of_x_minus_127_over_128() -> None:
    image = np.zeros((100, 300, 3), np.uint8)
    image[:] = (255, 127, 0)
    x = network_input(image)
    assert x.shape == (3, 224, 224)
    assert x.dtype == np.float32
    assert [float(v) for v in x[:, 7, 9]] == [1.0, 0.0, -127 / 128]


def test_the_middle_seven_eighths_of_the_short_side_are_seen() -> None:
    image = np.zeros((256, 512, 3), np.uint8)
    image[:, 144:368] = 100  # the 224 columns in the middle
    image[:16] = image[240:] = 200  # the rows that the crop leaves out
    assert np.unique(network_input(image)).tolist() == pytest.approx([(100 - 127) / 128])
    image[:, 143] = 255
    assert np.unique(network_input(image)).size == 1
    image[:, 144] = 255
    assert np.unique(network_input(image)).size > 1


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (500, 3)])
def test_pictures_of_odd_shapes_are_taken(shape: tuple[int, int]) -> None:
    assert network_input(np.full((*shape, 3), 9, np.uint8)).shape == (3, 224, 224)


def test_features_are_what_the_network_gives_before_its_classifier(
    embedder: EfficientNetEmbedder, checkpoint: Path
) -> None:
    import timm
    import torch

    state = torch.load(checkpoint / "w.pth", weights_only=True)
    network = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    network.load_state_dict({k.removeprefix("other."): v for k, v in state.items()})
    images = pictures(2)
    x = torch.from_numpy(np.stack([network_input(i) for i in images]))
    with torch.inference_mode():
        logits = network.eval()(x)
    vectors = embedder.embed_images(images)
    assert vectors.shape == (2, 1280)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(
        embedder.probabilities(vectors), torch.softmax(logits, 1).numpy(), atol=1e-6
    )


def test_the_batch_size_does_not_change_a_vector(embedder: EfficientNetEmbedder) -> None:
    images = pictures(3)
    whole = embedder.embed_images(images)
    embedder.batch_size = 2
    np.testing.assert_allclose(embedder.embed_images(images), whole, atol=1e-5)
    assert embedder.embed_images([]).shape == (0, 1280)


def test_every_class_has_a_name_and_a_share_of_the_probability(
    embedder: EfficientNetEmbedder,
) -> None:
    probabilities = embedder.probabilities(embedder.embed_images(pictures(2)))
    assert probabilities.shape == (2, 1000)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    assert embedder.label_names[331] == "hare"
    assert len(embedder.label_names) == 1000


def test_the_identity_says_stand_in_and_carries_the_weights_hash(
    embedder: EfficientNetEmbedder,
) -> None:
    assert embedder.identity.is_stand_in
    assert len(embedder.identity.weights_sha256) == 64
    assert embedder.identity.label() == "net (offline stand-in)"


def test_a_checkpoint_of_another_network_is_refused() -> None:
    import torch

    network = torch.nn.Linear(2, 3)
    with pytest.raises(ModelError, match="1 tensors do not fit"):
        load_by_order(network, {"w": torch.zeros(3, 2)})
    with pytest.raises(ModelError, match="do not fit"):
        load_by_order(network, {"w": torch.zeros(2, 3), "b": torch.zeros(3)})
    load_by_order(network, {"w": torch.ones(3, 2), "b": torch.zeros(3)})
    assert float(network.weight.detach().sum()) == 6


def test_a_pickle_with_code_is_never_run(tmp_path: Path, model_cache: Path) -> None:
    import pickle

    marker = tmp_path / "ran"

    class Evil:
        def __reduce__(self) -> Any:
            return (Path.touch, (marker,))

    folder = tmp_path / "evil"
    folder.mkdir()
    (folder / "w.pth").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(ModelError, match="no plain state dict"):
        EfficientNetEmbedder.load(card_of(folder), LoadSettings(device="cpu"))
    assert not marker.exists()


def test_a_checkpoint_that_is_no_dict_or_not_alone_is_refused(
    tmp_path: Path, model_cache: Path
) -> None:
    import torch

    folder = tmp_path / "odd"
    folder.mkdir()
    torch.save([1], folder / "w.pth")
    with pytest.raises(ModelError, match="holds a list"):
        EfficientNetEmbedder.load(card_of(folder), LoadSettings(device="cpu"))
    torch.save([1], folder / "v.pth")
    with pytest.raises(ModelUnavailable, match=r"2 \.pth files"):
        EfficientNetEmbedder.load(card_of(folder), LoadSettings(device="cpu"))


@pytest.mark.usefixtures("needs_models")
def test_the_real_weights_know_the_film_s_rabbit_and_a_bottle(media_dir: Path) -> None:
    import av

    def frame_at(name: str, time_s: float) -> Any:
        with av.open(str(media_dir / name)) as container:
            for frame in container.decode(video=0):
                if frame.time is not None and frame.time >= time_s:
                    return frame.to_ndarray(format="rgb24")

    embedder = EfficientNetEmbedder.load(load_card("efficientnet-lite0"), LoadSettings())
    images = [
        frame_at("big_buck_bunny_full_160x120_4fps.mp4", 88),
        frame_at("bottle-detection.mp4", 15),
    ]
    best = embedder.probabilities(embedder.embed_images(images)).argmax(axis=1)
    assert [embedder.label_names[index] for index in best] == ["hare", "water bottle"]
