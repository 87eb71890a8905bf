"""The sentence embedder: unit rows from a local folder, through the real loading code."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fdvs.errors import ModelError, ModelUnavailable
from fdvs.models.cards import Card, LoadSettings
from fdvs.models.embed.sentence import SentenceEmbedder
from fdvs.models.factory import load_model
from fdvs.types import Vectors

CPU = LoadSettings(device="cpu")


def card_of(folder: Path) -> Card:
    return Card(name="s", role="text_embedder", backend="sentence-transformers", target=str(folder))


@pytest.fixture
def embedder(sentence_folder: Path, model_cache: Path) -> SentenceEmbedder:
    return SentenceEmbedder.load(card_of(sentence_folder), CPU)


def test_rows_have_unit_length_and_the_order_of_the_texts(embedder: SentenceEmbedder) -> None:
    texts = ["a rabbit", "the red car moves where the rabbit moves", ""]
    rows = embedder.embed_texts(texts)
    assert rows.shape == (3, 16)
    assert rows.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
    for text, row in zip(texts, rows, strict=True):
        np.testing.assert_allclose(embedder.embed_texts([text])[0], row, atol=1e-5)


def test_a_row_is_the_mean_of_the_tokens_in_the_network_s_own_words(
    embedder: SentenceEmbedder, sentence_folder: Path
) -> None:
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokens = AutoTokenizer.from_pretrained(sentence_folder)("a red car", return_tensors="pt")
    with torch.no_grad():
        states = AutoModel.from_pretrained(sentence_folder)(**tokens).last_hidden_state[0]
    mean = states.mean(dim=0).numpy()
    np.testing.assert_allclose(
        embedder.embed_texts(["a red car"])[0], mean / np.linalg.norm(mean), atol=1e-5
    )


def test_no_texts_are_no_rows(embedder: SentenceEmbedder) -> None:
    assert embedder.embed_texts([]).shape == (0, 16)


def test_a_text_longer_than_the_model_reads_is_cut(embedder: SentenceEmbedder) -> None:
    long, longer = "a rabbit " * 50, "a rabbit " * 50 + "car"
    np.testing.assert_allclose(*embedder.embed_texts([long, longer]), atol=1e-6)


def test_a_folder_without_safetensors_is_refused(
    sentence_folder: Path, tmp_path: Path, model_cache: Path
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(sentence_folder, folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="cannot load"):
        SentenceEmbedder.load(card_of(folder), CPU)


def test_a_model_that_is_not_here_is_an_error_with_the_command(model_cache: Path) -> None:
    with pytest.raises(ModelUnavailable, match="fdvs models fetch"):
        load_model("sentence-transformers:owner/none", "text_embedder", CPU)


def test_a_vector_that_is_not_finite_is_an_error(embedder: SentenceEmbedder) -> None:
    class Broken:
        def encode_document(self, texts: list[str], **_: object) -> np.ndarray:  # type: ignore[type-arg]
            return np.full((len(texts), 4), np.nan)

    with pytest.raises(ModelError, match="not finite"):
        SentenceEmbedder(Broken(), embedder.identity).embed_texts(["a"])


@pytest.mark.usefixtures("needs_models")
def test_the_real_model_puts_a_rabbit_nearer_to_a_hare_than_to_a_car() -> None:
    embedder = load_model("minilm-l6", "text_embedder", CPU)
    rabbit, hare, car = embedder.embed_texts(["a rabbit", "Likely seen: hare.", "a sports car"])
    assert rabbit @ hare > rabbit @ car + 0.1
    assert len(rabbit) == 384


@pytest.mark.parametrize(
    "template",
    [
        "{% for m in messages %}",
        "{% for a in range(99999) %}{% for b in range(99999) %}{{ b }}{% endfor %}{% endfor %}",
    ],
    ids=["cut", "without end"],
)
def test_a_chat_template_that_fails_is_an_error(
    template: str, sentence_folder: Path, tmp_path: Path, model_cache: Path
) -> None:
    """Without a list of modules a folder with a template is asked in turns of a chat."""
    folder = Path(shutil.copytree(sentence_folder, tmp_path / "chat"))
    (folder / "modules.json").unlink()
    (folder / "chat_template.jinja").write_text(template)
    embedder = SentenceEmbedder.load(card_of(folder), CPU)
    with pytest.raises(ModelError, match="failed"):
        embedder.embed_texts(["a red car"])


def with_prompts(folder: Path, tmp_path: Path) -> Path:
    """A copy of the checkpoint that says what stands before questions, as published ones do."""
    made = tmp_path / "asymmetric"
    shutil.copytree(folder, made)
    path = made / "config_sentence_transformers.json"
    config = json.loads(path.read_text()) | {
        "prompts": {"query": "question what ", "document": "notes "},
        "default_prompt_name": None,
    }
    path.write_text(json.dumps(config))
    return made


def test_questions_and_texts_get_the_prompts_of_the_checkpoint(
    sentence_folder: Path, tmp_path: Path, embedder: SentenceEmbedder
) -> None:
    asked = SentenceEmbedder.load(card_of(with_prompts(sentence_folder, tmp_path)), CPU)
    plain = embedder.embed_texts(["question what a rabbit", "notes a rabbit"])
    np.testing.assert_allclose(asked.embed_queries(["a rabbit"])[0], plain[0], atol=1e-5)
    np.testing.assert_allclose(asked.embed_texts(["a rabbit"])[0], plain[1], atol=1e-5)
    both = embedder.embed_queries(["a rabbit"]), embedder.embed_texts(["a rabbit"])
    np.testing.assert_allclose(*both, atol=1e-6)


def test_a_card_may_say_what_stands_before_questions(
    sentence_folder: Path, embedder: SentenceEmbedder
) -> None:
    options = {"query_prompt": "question ", "document_prompt": "notes "}
    card = replace(card_of(sentence_folder), options=options)
    asked = SentenceEmbedder.load(card, CPU)
    plain = embedder.embed_texts(["question a car", "notes a car"])
    np.testing.assert_allclose(asked.embed_queries(["a car"])[0], plain[0], atol=1e-5)
    np.testing.assert_allclose(asked.embed_texts(["a car"])[0], plain[1], atol=1e-5)


def test_search_and_answers_embed_a_question_as_one(
    sentence_folder: Path, tmp_path: Path, embedder: SentenceEmbedder
) -> None:
    from fdvs.answers.evidence import OnceEmbedder
    from fdvs.vectors import embed_queries

    asked = SentenceEmbedder.load(card_of(with_prompts(sentence_folder, tmp_path)), CPU)
    want = asked.embed_queries(["a rabbit"])
    np.testing.assert_array_equal(embed_queries(asked, ["a rabbit"]), want)
    np.testing.assert_array_equal(OnceEmbedder(asked).embed_queries(["a rabbit"]), want)

    class Symmetric:
        identity = embedder.identity

        def embed_texts(self, texts: Sequence[str]) -> Vectors:
            return embedder.embed_texts(texts)

    plain = embedder.embed_texts(["a rabbit"])
    np.testing.assert_array_equal(embed_queries(Symmetric(), ["a rabbit"]), plain)
    np.testing.assert_array_equal(OnceEmbedder(Symmetric()).embed_queries(["a rabbit"]), plain)
