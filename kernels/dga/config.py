"""The settings of grouped attention: one frozen, validated dataclass and its presets.

Takes plain numbers and names, gives a `DGAConfig`; no tensors here. Sources: DGA (arXiv
2505.22107), CCA (arXiv 2412.12465); the `stream` mode is our own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import ceil, floor
from typing import Any, Literal, get_args

Select = Literal["stream", "global", "full"]
Weight = Literal["lastq", "meanq"]
Bias = Literal["entropy", "none"]
Score = Literal["attention", "random"]

#: Keeps floor((1 - rate) * chunk / group) from falling one short by rounding of the product.
ROUNDING = 1e-9
#: Options of earlier versions, each with the only value that is left of it.
RETIRED = {"head_reduction": "sum"}


@dataclass(frozen=True, slots=True, kw_only=True)
class DGAConfig:
    """How many tokens stay single, what happens to the others, and when.

    Attributes:
        select: `stream` scores every chunk by queries that follow it (causal, prefill equals
            decode); `global` scores the whole prompt by its last queries (a reconstruction of the
            published method, not causal); `full` groups and evicts nothing.
        importance_rate: share of tokens that stay single ("focal"), 0 to 1.
        group_size: tokens in a group (m).
        pool: whether the other tokens are pooled into groups. By default they are not (`stream`
            only): they are evicted from the KV cache when their chunk is committed, and the places
            of the groups go to further single tokens, so that a chunk leaves as many units. Without
            fine-tuning that lost less quality on most texts (decision 011).
        chunk: tokens that are scored and committed together (C), `stream` only.
        window: tokens between the end of a chunk and its commit (W); in `global`, between the
            last member of a group and its first use.
        sinks: sink tokens: the first tokens of the text, which always stay single.
        score_queries: queries that score a chunk, the last before its commit (n_q).
        weight: pooling weights inside a group: mean attention of the scoring queries (`meanq`), or
            attention of the query at the group's last member (`lastq`: the cache must then keep a
            query for every raw token and head).
        bias: what is added to a group's logit: entropy of its weights, or nothing.
        score: importance of a token: the attention it gets from the scoring queries, or a
            pseudorandom number of its position (`random`, `stream` only: a control).
        dense_threshold: queries before this position see raw tokens only (T, in tokens).

    Raises:
        ValueError: a value outside what is allowed, or values that exclude each other.
    """

    select: Select = "stream"
    importance_rate: float = 0.1
    group_size: int = 16
    pool: bool = False
    chunk: int = 160
    window: int = 512
    sinks: int = 4
    score_queries: int = 32
    weight: Weight = "meanq"
    bias: Bias = "entropy"
    score: Score = "attention"
    dense_threshold: int = 0

    def __post_init__(self) -> None:
        _check_choices(self)
        _check_numbers(self)
        if self.select == "stream" and not self.is_dense:
            _check_stream(self)

    @property
    def num_groups(self) -> int:
        """Groups of one chunk (`stream`); none where nothing is pooled."""
        return self._groups_if_pooled if self.pool else 0

    @property
    def num_focal(self) -> int:
        """Tokens of one chunk that stay single (`stream`)."""
        return self.units_per_chunk - self.num_groups

    @property
    def units_per_chunk(self) -> int:
        """Units that a committed chunk leaves (U), the same with and without pooling."""
        return self.chunk - (self.group_size - 1) * self._groups_if_pooled

    @property
    def _groups_if_pooled(self) -> int:
        return floor((1.0 - self.importance_rate) * self.chunk / self.group_size + ROUNDING)

    @property
    def is_dense(self) -> bool:
        """Whether these settings group and evict nothing: the result is plain attention."""
        nothing = self.importance_rate == 1.0 or self.group_size == 1
        return (
            self.select == "full"
            or nothing
            or (self.select == "stream" and not self._groups_if_pooled)
        )

    def commit_time(self, chunk_index: int) -> int:
        """Return t_c, the position whose arrival commits the chunk."""
        return (chunk_index + 1) * self.chunk - 1 + self.window

    def chunks_built(self, num_seen: int) -> int:
        """Return how many chunks are committed once `num_seen` tokens have arrived."""
        if self.is_dense or self.select != "stream":
            return 0
        return max(0, (num_seen - self.window) // self.chunk)

    def chunks_visible(self, position: int) -> int:
        """Return c(i), how many chunks the query at `position` sees as units."""
        if position < self.dense_threshold:
            return 0
        return self.chunks_built(position + 1)

    def focal_of_prompt(self, num_tokens: int) -> int:
        """Return how many tokens of a prompt stay single in `global` mode, sinks not counted."""
        return ceil(self.importance_rate * num_tokens - ROUNDING)

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> DGAConfig:
        """Return the settings that `to_dict` wrote, in this version or an earlier one.

        Raises:
            ValueError: a value outside what is allowed, or a retired option that would matter.
            TypeError: an unknown option.
        """
        current = dict(values)
        for name, left in RETIRED.items():
            if (value := current.pop(name, left)) != left:
                raise ValueError(f"{name}={value!r} was removed, only {left!r} is left; drop it")
        return cls(**current)


def cca_config(*, group_size: int = 16, window: int = 1024) -> DGAConfig:
    """Return core-context-aware attention (CCA, arXiv 2412.12465): groups, no bias, a window."""
    return DGAConfig(
        importance_rate=0.0, group_size=group_size, pool=True, chunk=group_size, window=window,
        sinks=0, score_queries=1, weight="lastq", bias="none",
    )  # fmt: skip


def full_config() -> DGAConfig:
    """Return plain causal attention through the same code, as the baseline."""
    return DGAConfig(select="full")


def paper_config(*, importance_rate: float = 0.1, group_size: int = 16) -> DGAConfig:
    """Return `global` mode as published summaries of arXiv 2505.22107 describe it.

    A reconstruction: the equations and code of the authors were not available to us.
    """
    return DGAConfig(
        select="global", importance_rate=importance_rate, group_size=group_size, pool=True,
        window=0, sinks=0, weight="lastq", bias="none",
    )  # fmt: skip


def fast_config() -> DGAConfig:
    """Return `stream` with a window of 256: slightly faster than the default, clearly worse."""
    return DGAConfig(window=256)


def quality_config() -> DGAConfig:
    """Return `stream` with a quarter of the tokens left as units and a window of 1024."""
    return DGAConfig(importance_rate=0.2, group_size=16, window=1024)


def random_score(position: int) -> float:
    """Return a pseudorandom number from 0 to 1, the same in every run."""
    mixed = (position + 1) * 0x9E3779B1 & 0xFFFFFFFF
    mixed = (mixed ^ mixed >> 15) * 0x85EBCA77 & 0xFFFFFFFF
    return ((mixed ^ mixed >> 13) & 0xFFFFFF) / 2**24


def _check_choices(config: DGAConfig) -> None:
    kinds = {"select": Select, "weight": Weight, "bias": Bias, "score": Score}
    for name, kind in kinds.items():
        value = getattr(config, name)
        if value not in get_args(kind):
            raise ValueError(f"{name}={value!r} is unknown; choose one of {get_args(kind)}")


def _check_numbers(config: DGAConfig) -> None:
    if not isinstance(config.pool, bool):
        raise ValueError(f"pool={config.pool!r} must be True or False")
    if config.select == "global" and not (config.pool and config.score == "attention"):
        raise ValueError(
            f"pool={config.pool} with score={config.score!r} is for select='stream'; 'global' "
            "pools, and scores by 'attention'"
        )
    rate = config.importance_rate
    if isinstance(rate, bool) or not 0.0 <= rate <= 1.0:
        raise ValueError(f"importance_rate={rate} is outside 0 to 1; 1 keeps every token single")
    least = {
        "group_size": 1, "chunk": 1, "window": 0, "sinks": 0, "score_queries": 1,
        "dense_threshold": 0,
    }  # fmt: skip
    for name, smallest in least.items():
        value = getattr(config, name)
        if isinstance(value, bool) or not isinstance(value, int) or value < smallest:
            raise ValueError(f"{name}={value!r} must be a whole number of at least {smallest}")
    if config.select == "stream" and config.chunk < config.group_size:
        raise ValueError(
            f"chunk={config.chunk} is smaller than group_size={config.group_size}; raise chunk"
        )


def _check_stream(config: DGAConfig) -> None:
    if config.sinks > config.num_focal:
        raise ValueError(
            f"sinks={config.sinks} do not fit the {config.num_focal} single tokens of a chunk of "
            f"{config.chunk}; lower sinks, or raise importance_rate or chunk"
        )
    if config.score_queries > config.window + 1:
        raise ValueError(
            f"score_queries={config.score_queries} must be at most window + 1 = "
            f"{config.window + 1}, so that they all come after the chunk; lower it"
        )
