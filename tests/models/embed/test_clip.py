"""open_clip: a random checkpoint on disk through the real loading code."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fdvs.errors import ModelError, ModelUnavailable, UnknownName
from fdvs.models.cards import Card, LoadSettings
from fdvs.models.embed.clip import OpenClipEmbedder
from fdvs.models.factory import load_model

CPU = LoadSettings(device="cpu")


def card_of(place: Path, **options: Any) -> Card:
    return Card(
        name="c", role="image_embedder", backend="open_clip", target=str(place), options=options
    )


def pictures(count: int) -> list[np.ndarray[Any, Any]]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (40, 64, 3), dtype=np.uint8) for _ in range(count)]


@pytest.fixture
def embedder(clip_folder: Path, model_cache: Path) -> OpenClipEmbedder:
    return OpenClipEmbedder.load(card_of(clip_folder), CPU)


def test_pictures_and_queries_are_what_open_clip_itself_gives(
    embedder: OpenClipEmbedder, clip_folder: Path
) -> None:
    import open_clip
    import torch
    from PIL import Image
    from safetensors.torch import load_file

    config = json.loads((clip_folder / "open_clip_config.json").read_text())["model_cfg"]
    model = open_clip.CLIP(**config).eval()
    model.load_state_dict(load_file(clip_folder / "open_clip_model.safetensors"))
    images = pictures(2)
    pixels = []
    for image in images:  # short side to 32, centre crop, (x / 255 - 0.5) / 0.5
        small = Image.fromarray(image).resize((51, 32), Image.Resampling.BICUBIC)
        middle = np.asarray(small)[:, 10:42]
        pixels.append(torch.from_numpy((middle / 255 - 0.5) / 0.5).permute(2, 0, 1).float())
    with torch.no_grad():
        want = model.encode_image(torch.stack(pixels)).numpy()
        words = model.encode_text(open_clip.get_tokenizer("ViT-B-32")(["a car"]))[0].numpy()
    got = embedder.embed_images(images)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, want, rtol=0.02, atol=0.02)
    query = embedder.embed_text_queries(["a car"])[0]
    np.testing.assert_allclose(query, words / np.linalg.norm(words), atol=1e-5)


def test_the_batch_size_changes_nothing_and_nothing_is_no_rows(embedder: OpenClipEmbedder) -> None:
    images = pictures(3)
    whole = embedder.embed_images(images)
    embedder.batch_size = 2
    np.testing.assert_allclose(embedder.embed_images(images), whole, atol=1e-5)
    assert embedder.embed_images([]).shape == (0, 12)
    assert embedder.embed_text_queries(["a car", "", "x " * 200]).shape == (3, 12)


def test_a_half_precision_model_gives_float32_near_the_full_one(
    embedder: OpenClipEmbedder, clip_folder: Path
) -> None:
    half = OpenClipEmbedder.load(card_of(clip_folder), LoadSettings(device="cpu", dtype="bfloat16"))
    images = pictures(2)
    got, want = half.embed_images(images), embedder.embed_images(images)
    assert got.dtype == np.float32
    cosine = (got * want).sum(1) / np.linalg.norm(got, axis=1) / np.linalg.norm(want, axis=1)
    assert (cosine > 0.99).all()


def test_a_single_file_needs_the_name_of_its_architecture(
    clip_folder: Path, model_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import open_clip.factory

    file = clip_folder / "open_clip_model.safetensors"
    with pytest.raises(ModelUnavailable, match=r"options\.architecture"):
        OpenClipEmbedder.load(card_of(file), CPU)
    config = json.loads((clip_folder / "open_clip_config.json").read_text())["model_cfg"]
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "tiny", config)
    loaded = OpenClipEmbedder.load(card_of(file, architecture="tiny"), CPU)
    folder = OpenClipEmbedder.load(card_of(clip_folder), CPU)
    want = folder.embed_text_queries(["a car"])
    np.testing.assert_allclose(loaded.embed_text_queries(["a car"]), want, atol=1e-6)


def test_quick_gelu_changes_the_vectors(
    embedder: OpenClipEmbedder, clip_folder: Path, model_cache: Path
) -> None:
    quick = OpenClipEmbedder.load(card_of(clip_folder, quick_gelu=True), CPU)
    images = pictures(1)
    assert not np.allclose(quick.embed_images(images), embedder.embed_images(images), atol=1e-6)


@pytest.mark.parametrize("gone", ["open_clip_config.json", "open_clip_model.safetensors"])
def test_a_folder_without_config_or_weights_is_refused_not_filled_with_random_ones(
    gone: str, clip_folder: Path, tmp_path: Path, model_cache: Path
) -> None:
    folder = tmp_path / "part"
    shutil.copytree(clip_folder, folder)
    (folder / gone).unlink()
    with pytest.raises(ModelUnavailable, match="holds no"):
        OpenClipEmbedder.load(card_of(folder), CPU)


def test_weights_of_another_shape_are_an_error(
    clip_folder: Path, tmp_path: Path, model_cache: Path
) -> None:
    folder = tmp_path / "other"
    shutil.copytree(clip_folder, folder)
    config = json.loads((folder / "open_clip_config.json").read_text())
    config["model_cfg"]["embed_dim"] = 20
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="open_clip cannot load it"):
        OpenClipEmbedder.load(card_of(folder), CPU)


def test_a_misspelt_option_is_an_error(clip_folder: Path, model_cache: Path) -> None:
    with pytest.raises(UnknownName, match="Did you mean quick_gelu"):
        OpenClipEmbedder.load(card_of(clip_folder, quick_gelo=True), CPU)


def test_the_factory_loads_a_folder_by_spec(clip_folder: Path, model_cache: Path) -> None:
    embedder = load_model(f"open_clip:{clip_folder}", "image_embedder", CPU)
    assert embedder.embed_images(pictures(1)).shape == (1, 12)
    assert not embedder.identity.is_stand_in


def test_the_matcher_puts_queries_and_pictures_into_one_space_by_clip_itself(
    embedder: OpenClipEmbedder,
) -> None:
    from fdvs.models.factory import MATCHERS
    from fdvs.protocols import PictureMatcher

    def no_texts() -> Any:
        raise AssertionError("the text embedder is not needed")

    kind = MATCHERS.get(embedder.matcher_backend)
    matcher = kind(lambda: embedder, no_texts, made_of=(embedder.identity, embedder.identity))
    assert isinstance(matcher, PictureMatcher)
    vectors = embedder.embed_images(pictures(2))
    placed = matcher.place_pictures(vectors)
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    np.testing.assert_allclose(placed, vectors / norms, atol=1e-6)
    query = matcher.place_query("a car")
    np.testing.assert_allclose(query, embedder.embed_text_queries(["a photo of a car"])[0])
    assert matcher.identity.weights_sha256 == embedder.identity.weights_sha256
    assert matcher.identity.role == "picture_matcher"


@pytest.fixture(scope="module")
def siglip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model in the published layout of SigLIP 2: text tower, bias and tokenizer."""
    import open_clip
    import torch
    from safetensors.torch import save_file
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("siglip")
    words = ["<pad>", "<unk>", "<eos>", "this", "is", "a", "photo", "of", "car", "rabbit"]
    raw = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(
        tokenizer_object=raw, pad_token="<pad>", unk_token="<unk>", eos_token="<eos>"
    ).save_pretrained(folder)
    model_cfg = {
        "embed_dim": 12, "init_logit_bias": -10, "custom_text": True,
        "vision_cfg": {
            "image_size": 32, "layers": 1, "width": 16, "head_width": 8, "patch_size": 16,
        },
        "text_cfg": {
            "context_length": 16, "vocab_size": len(words), "width": 16, "heads": 2, "layers": 1,
            "hf_tokenizer_name": "timm/ViT-B-32-SigLIP2-256", "no_causal_mask": True,
            "tokenizer_kwargs": {"clean": "canonicalize"}, "pool_type": "last",
        },
    }  # fmt: skip
    preprocess = {"mean": [0.5] * 3, "std": [0.5] * 3, "resize_mode": "squash"}
    config = {"model_cfg": model_cfg, "preprocess_cfg": preprocess}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    made = {key: value for key, value in model_cfg.items() if key != "custom_text"}
    model = open_clip.CustomTextCLIP(**made)
    model.logit_scale.data.fill_(np.log(100.0))
    save_file(
        {k: v.contiguous() for k, v in model.state_dict().items()},
        folder / "open_clip_model.safetensors",
    )
    return folder


def test_siglip_says_itself_from_which_cosine_a_picture_matches(
    siglip_folder: Path, model_cache: Path
) -> None:
    """With scale 100 and bias -10 a pair of cosine c is sigmoid(100 c - 10) likely."""
    from fdvs.models.embed.clip import MIN_PROBABILITY, ClipMatcher

    embedder = OpenClipEmbedder.load(card_of(siglip_folder), CPU)
    least = embedder.min_score
    assert 1 / (1 + np.exp(10 - 100 * least)) == pytest.approx(MIN_PROBABILITY, rel=1e-3)
    assert least < 0.22 / 2
    matcher = ClipMatcher(
        lambda: embedder, lambda: pytest.fail("texts"), made_of=(embedder.identity,) * 2
    )
    assert matcher.min_score == least


def test_a_card_may_say_bound_and_template(siglip_folder: Path, model_cache: Path) -> None:
    from fdvs.errors import InvalidValue
    from fdvs.models.embed.clip import ClipMatcher

    options = {"min_score": 0.07, "template": "this is a photo of {}"}
    embedder = OpenClipEmbedder.load(card_of(siglip_folder, **options), CPU)
    matcher = ClipMatcher(
        lambda: embedder, lambda: pytest.fail("texts"), made_of=(embedder.identity,) * 2
    )
    assert matcher.min_score == 0.07
    np.testing.assert_array_equal(
        matcher.place_query("car"), embedder.embed_text_queries(["this is a photo of car"])[0]
    )
    with pytest.raises(InvalidValue, match="template"):
        OpenClipEmbedder.load(card_of(siglip_folder, template="a photo"), CPU)


def test_clip_has_no_bias_and_keeps_the_guess(embedder: OpenClipEmbedder) -> None:
    assert embedder.min_score == 0.22
