"""A language model on this machine: any causal one of transformers, or a GGUF file.

Answers a system and a user text through the model's own chat template, or prefills the beginning
of a prompt once and answers many questions about it (`reading.py`).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from fdvs.errors import InvalidValue, ModelError, ModelUnavailable
from fdvs.models.cards import Card, LoadSettings, options_from
from fdvs.models.llm.attention import describe_attention, enable, load_causal_lm
from fdvs.models.llm.attention_options import (
    OPTION,
    attention_options,
    options_of_plan,
)
from fdvs.models.llm.chat import Opening
from fdvs.models.llm.engine import Engine, LanguageModelOptions
from fdvs.models.llm.gate import gate_beside, gate_for
from fdvs.models.llm.own_model import other_attention
from fdvs.models.llm.reading import LocalReadPrompt
from fdvs.models.weights.checkpoint import read_json_object
from fdvs.models.weights.fetch import identity_of, model_folder
from fdvs.models.weights.gguf import as_folder, find_gguf
from fdvs.models.weights.loading import (
    check_fetched,
    checked_folder,
    loading,
    needs,
    place,
    without_progress_bars,
)
from fdvs.protocols import Completion

if TYPE_CHECKING:
    import torch

    from fdvs.models.llm.reading_cache import ReadingCache

ATTENTIONS = ("auto", "dga", "sdpa")


class LocalLanguageModel(Engine):
    """A PrefillLanguageModel whose weights run in this process; `readings` keeps its prefills."""

    readings: ReadingCache | None = None

    @classmethod
    def load(cls, card: Card, settings: LoadSettings) -> LocalLanguageModel:
        """Load weights and tokenizer from disk. Raises ModelUnavailable, ModelError."""
        needs("transformers", "local")
        options = options_from(card, LanguageModelOptions, shared=("files", OPTION))
        grouping, plan = attention_options(card), settings.attention_plan
        beside = None
        folder = _weights_folder(card)
        attention, why = choose_attention(settings.attention, folder)
        if plan and attention == "dga":
            grouping, why = options_of_plan(Path(plan)), f"{why}, with the plan {Path(plan).name}"
            beside = None if settings.reread else gate_beside(Path(plan))
        device, dtype = place(settings, card.name)
        with loading(card, folder), without_progress_bars():
            model, tokenizer = _load(folder, dtype=dtype, device=device)
            if attention == "dga":
                enable(model, grouping.config, layer_configs=grouping.layers)
            return cls(
                model, tokenizer, identity_of(card), attention=describe_attention(model), why=why,
                options=options, reread=settings.reread,
                gate=None if beside is None else gate_for(model, beside),
            )  # fmt: skip

    def count_tokens(self, text: str) -> int:
        """Return the number of tokens of a bare text, without those of the chat template."""
        return len(self.chat.ids(text))

    def write(self, system: str, user: str, *, max_tokens: int) -> Completion:
        """Answer greedily. Raises ModelError where prompt and answer do not fit the context."""
        return self.decode_prompt(
            self.chat.ids(self.chat.prompt(system, user)), max_tokens=max_tokens
        )

    def read(self, system: str, text: str) -> LocalReadPrompt:
        """Prefill the fixed part of a prompt: the system text and the first part of the user's.

        `text` should end with one newline: most tokenizers then split it alone as they would split
        it in front of a question. Raises ModelError where it does not fit the context.
        """
        if self.readings is not None:
            return self.readings.read(self, system, text)
        return self.read_opening(self.chat.opening(system, text))

    def read_opening(self, opening: Opening) -> LocalReadPrompt:
        """Prefill an opening. Raises ModelError where it does not fit the context."""
        return LocalReadPrompt(self, opening, self.prefill(opening.ids))


def choose_attention(wanted: str, folder: Path | None = None) -> tuple[str, str]:
    """Return (attention, reason); `auto` is the project's own grouped attention where it can be.

    Models with other layers (linear, sliding attention) keep their own attention.
    Raises InvalidValue for a name that is not one of ATTENTIONS, or `dga` for such a model.
    """
    if wanted not in ATTENTIONS:
        raise InvalidValue("ask.attention", wanted, ", ".join(ATTENTIONS))
    other = _other_attention(folder) if folder is not None else ""
    if wanted == "dga" and other:
        raise InvalidValue("ask.attention", wanted, f"auto or sdpa: of this model, {other}")
    if wanted != "auto":
        return wanted, "asked for"
    if other:
        return "sdpa", f"grouped attention is not for this model: {other}"
    return "dga", "the default"


def _other_attention(folder: Path) -> str:
    """Return what a checkpoint's config says against grouped attention, or ''."""
    try:
        return other_attention(read_json_object(folder / "config.json"))
    except (ModelError, AttributeError, TypeError):
        return ""


def _weights_folder(card: Card) -> Path:
    """Return a folder with checked safetensors weights; a GGUF file is unpacked for it once."""
    found = model_folder(card)
    if gguf := find_gguf(found):
        check_fetched(card)
        return as_folder(gguf)
    if found.is_file() or not any(found.glob("*.safetensors")):
        raise ModelUnavailable(
            f"{found} holds no safetensors or GGUF weights; pickles are not loaded, convert "
            "them to safetensors"
        )
    return checked_folder(card)


def _load(folder: Path, *, dtype: torch.dtype, device: str) -> tuple[Any, Any]:
    """Return model and tokenizer. Raises ModelError where weights are missing."""
    model, tokenizer, _ = load_causal_lm(
        folder,
        attention="sdpa",
        dtype=dtype,
        device=device,
        local_files_only=True,
        trust_remote_code=False,
    )
    return model, tokenizer
