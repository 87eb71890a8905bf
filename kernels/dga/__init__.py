"""Grouped attention (DGA, CCA) as one operation over units.

    dga_attention(q, k, v, config=DGAConfig())   attend; with cache=, one step of a decode
    choose_backend(...)                          which implementation runs, and why
    DGACache(config)                             what later tokens need, per layer

Sources: DGA (arXiv 2505.22107), CCA (arXiv 2412.12465); the `stream` mode is our own.
"""

from __future__ import annotations

from fdvs.kernels.dga.attention import dga_attention
from fdvs.kernels.dga.backends import Backend, Choice, backends, choose_backend
from fdvs.kernels.dga.budgets import by_head, plan_of_scores
from fdvs.kernels.dga.cache import DGACache, HeadsCache
from fdvs.kernels.dga.config import (
    DGAConfig,
    cca_config,
    fast_config,
    full_config,
    paper_config,
    quality_config,
)
from fdvs.kernels.dga.disk import from_disk, to_disk
from fdvs.kernels.dga.heads import LayerConfig
from fdvs.kernels.dga.inputs import spans_of_mask
from fdvs.kernels.dga.layer_cache import DGALayerCache
from fdvs.kernels.dga.rereading import reread

__all__ = [
    "Backend",
    "Choice",
    "DGACache",
    "DGAConfig",
    "DGALayerCache",
    "HeadsCache",
    "LayerConfig",
    "backends",
    "by_head",
    "cca_config",
    "choose_backend",
    "dga_attention",
    "fast_config",
    "from_disk",
    "full_config",
    "paper_config",
    "plan_of_scores",
    "quality_config",
    "reread",
    "spans_of_mask",
    "to_disk",
]
