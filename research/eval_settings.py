"""The ways to attend that `eval_attention.py` compares, by name, and the models it loads."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from fdvs.kernels.dga import DGAConfig, LayerConfig, fast_config, full_config, quality_config
from fdvs.kernels.dga.heads import config_values
from fdvs.kernels.dga.plan import kept_share, mean_share, read_plan, units_share, with_units
from fdvs.models.llm.attention_options import DEFAULT

FULL = "full"
#: What a name ends in where passages are judged by reading them again.
REREAD = "+reread"
#: What a plan's name ends in where the gate beside it judges (`scripts/plan_attention.py --gate`).
GATE = "+gate"
BASE = DGAConfig(pool=True, score="attention", window=256)
SINGLE = replace(BASE, pool=False)
#: What `fdvs ask` gives a model without a plan; `units_N` leave N units of 160 instead of 25.
ASK = DEFAULT
#: Layers of SmolLM2-135M that lose most where tokens are missing, and what the others then get:
#: 85 units of a chunk in 6 layers and 10 in 24 are 25 on average.
RICH = range(18, 24)
RICH_LAYERS = dict.fromkeys(RICH, replace(SINGLE, importance_rate=0.5))
#: The settings by name. `window_and_one` keeps one token a chunk beside the window: what the
#: units are for.
TABLE: dict[str, dict[str, Any]] = {
    FULL: {"config": full_config()},
    "default": {"config": DGAConfig()},
    "ask": {"config": ASK},
    **{f"units_{n}": {"config": with_units(ASK, n)} for n in (8, 16, 40, 80)},
    "fast": {"config": fast_config()},
    "quality": {"config": quality_config()},
    "pooled": {"config": BASE},
    "single": {"config": SINGLE},
    "single_window_512": {"config": replace(SINGLE, window=512)},
    "single_128_judges": {"config": replace(SINGLE, score_queries=128)},
    "layers": {"config": replace(SINGLE, importance_rate=0.0), "layers": RICH_LAYERS},
    "layers_quarter": {"config": SINGLE, "layers": RICH_LAYERS},
    "layers_window_512": {
        "config": replace(SINGLE, importance_rate=0.0, window=512),
        "layers": dict.fromkeys(RICH, replace(SINGLE, importance_rate=0.5, window=512)),
    },
    "random": {"config": replace(BASE, pool=False, score="random")},
    "window_and_one": {
        "config": DGAConfig(
            pool=False, score="random", importance_rate=0.0, group_size=160, sinks=1, window=256
        )
    },
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Name one way to attend; `layers` are those with settings of their own, by index."""

    name: str
    config: DGAConfig
    layers: Mapping[int, LayerConfig] = field(default_factory=dict)
    reread: bool = False
    gate: Path | None = None

    def units_share(self, num_layers: int) -> float:
        """Units over tokens where they are grouped, mean over heads; raw tail not counted."""
        return self._mean(num_layers, units_share)

    def kept_share(self, tokens: int, num_layers: int) -> float:
        """Tokens' worth of keys and values left after a text (units and raw tail), over all."""
        return self._mean(num_layers, lambda config: kept_share(config, tokens))

    def _mean(self, num_layers: int, share: Callable[[DGAConfig], float]) -> float:
        return mean_share((self.layers.get(at, self.config) for at in range(num_layers)), share)

    @property
    def digest(self) -> str:
        """Tell settings of the same name from each other."""
        own = {str(index): config_values(config) for index, config in self.layers.items()}
        judge = ["reread"] * self.reread
        if self.gate is not None:
            judge.append(hashlib.sha256(self.gate.read_bytes()).hexdigest())
        values = json.dumps([self.config.to_dict(), own, *judge], sort_keys=True)
        return hashlib.sha256(values.encode()).hexdigest()[:8]


def settings(plans: Iterable[Path] = ()) -> dict[str, Setting]:
    """Return the named settings: the baseline, the presets, controls, ablations, and plans."""
    from fdvs.models.llm.gate import gate_beside

    plans = list(plans)
    found = {name: Setting(name=name, **how) for name, how in TABLE.items()}
    for path in plans:
        plan = read_plan(path)
        found[path.stem] = Setting(
            name=path.stem, config=plan.levels[0], layers=plan.layer_configs()
        )
    gated = {
        f"{path.stem}{GATE}": replace(found[path.stem], name=f"{path.stem}{GATE}", gate=gate)
        for path in plans
        if (gate := gate_beside(path)) is not None
    }
    return (
        found
        | gated
        | {
            f"{name}{REREAD}": replace(one, name=f"{name}{REREAD}", reread=True)
            for name, one in found.items()
        }
    )


def read(model: Any, tokenizer: Any, ids: Any, setting: Setting) -> tuple[Any, Any]:
    """Read tokens [L]; return hidden states [L, E] and the cache."""
    import torch

    from fdvs.models.llm.gate import read_gate, read_gated
    from fdvs.models.llm.rereading import INSTRUCTION, read_twice

    cache = cache_for(model, setting)
    if setting.gate is not None:
        hidden = read_gated(model, ids, cache, read_gate(setting.gate))
        return torch.cat(list(hidden), 1)[0], cache
    if setting.reread:
        instruction = tokenizer.encode(INSTRUCTION, add_special_tokens=False)
        context = model.config.get_text_config().max_position_embeddings
        hidden = read_twice(
            model,
            ids,
            cache,
            instruction=instruction,
            most_positions=context,
            budgets=not setting.layers,
        )
        parts = list(hidden)
        return torch.cat(parts, 1)[0], cache
    out = model.base_model(ids[None], past_key_values=cache, use_cache=True)
    return out.last_hidden_state[0], cache


def cache_for(model: Any, setting: Setting) -> Any:
    """Return an empty cache with the settings."""
    from fdvs.models.llm.attention import make_cache

    return make_cache(model, setting.config, layer_configs=setting.layers)


def load(name: str) -> tuple[Any, Any]:
    """Load a model card, a local folder or a GGUF file. Raises ModelUnavailable, ModelError."""
    from fdvs.models.cards import load_card
    from fdvs.models.llm.attention import load_causal_lm
    from fdvs.models.weights.fetch import model_folder
    from fdvs.models.weights.gguf import as_folder, find_gguf

    place = Path(name) if Path(name).exists() else model_folder(load_card(name))
    gguf = find_gguf(place)
    folder = place if gguf is None else as_folder(gguf)
    model, tokenizer, _ = load_causal_lm(folder, local_files_only=True)
    return model, tokenizer
