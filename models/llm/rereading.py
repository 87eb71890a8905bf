"""Read a text twice, so that what is kept of it serves questions that nobody has asked yet.

A grouped cache keeps of far text what the tokens after it looked at. Here every passage is read,
then repeated once ("write this again"), and what the model looked at while it repeated is what
stays (`fdvs.kernels.dga.rereading`, after KVzip, arXiv 2505.23416). The rereading leaves nothing
else behind. It costs about as much time as the reading. Models whose heads were never measured get
their budgets by key head in the same way, from the beginning of the text.

    cache = read_prompt(model, tokenizer, ids)
    made = generate(model, torch.tensor([[*ids, *question]]), max_new_tokens=64, cache=cache)

Shapes: L tokens, E hidden size.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from fdvs.kernels.dga import DGACache, DGAConfig, by_head, full_config, plan_of_scores
from fdvs.kernels.dga.heads import head_configs

if TYPE_CHECKING:
    from torch import Tensor

#: What stands before a passage that is repeated, and how many tokens before it are given as lead.
INSTRUCTION = "\n\nRepeat the part of the text above exactly, starting with: "
LEAD_TOKENS = 8
#: Tokens that are repeated at once, at most (a chunk at least): their attention is held whole.
MOST_TOKENS = 640


def read_prompt(model: Any, tokenizer: Any, ids: Sequence[int]) -> Any:
    """Return a grouped cache that has read a prompt twice; give it to `attention.generate`.

    Args:
        model: with `attn_implementation="dga"`; its own settings hold.
        ids: tokens of the prompt.

    Raises:
        ValueError: settings that cannot be judged so; `why_not` says why.
    """
    from fdvs.models.llm.attention import make_cache

    cache = make_cache(model)
    told = tokenizer(INSTRUCTION, add_special_tokens=False, verbose=False)["input_ids"]
    context = model.config.get_text_config().max_position_embeddings
    read_into(cache, model, ids, instruction=told, most_positions=context)
    return cache


def read_into(
    cache: Any, model: Any, ids: Sequence[int], *, instruction: Sequence[int], most_positions: int
) -> None:
    """Read a text twice into an empty cache (`read_twice`); it sets budgets where none are."""
    import torch

    for _ in read_twice(
        model, torch.tensor(list(ids)), cache, instruction=instruction,
        most_positions=most_positions, budgets=not cache.store.layer_configs,
    ):  # fmt: skip
        pass


def read_twice(
    model: Any,
    ids_L: Tensor,
    cache: Any,
    *,
    instruction: Sequence[int],
    most_positions: int,
    budgets: bool = False,
) -> Iterator[Tensor]:
    """Read a text into a grouped cache, each passage twice; yield hidden states [1, ., E].

    Consume all of it. The end that fills no passage is read once: what follows judges it.

    Args:
        cache: grouped, of one row, empty.
        instruction: tokens of `INSTRUCTION`.
        most_positions: the model's context; passages whose repetition exceeds it are read once.
        budgets: let the first passages say how much each key head keeps, with the mean that the
            cache's settings have for all (`fdvs.kernels.dga.budgets`). They see each other whole.

    Raises:
        ValueError: settings that cannot be judged so (`why_not`), or, with `budgets`, layers that
            have settings of their own.
    """
    import torch

    size = passage_tokens(cache)
    twice = tokens_read_twice(cache, len(ids_L), instruction, most_positions)
    trial = _Trial(cache, min(sample_tokens(cache), twice)) if budgets and twice else None
    for first in range(0, len(ids_L), size):
        last = min(first + size, len(ids_L))
        yield _hidden(model, ids_L[first:last], cache)
        if last > twice:
            continue
        lead_L = ids_L[max(0, first - LEAD_TOKENS) : first]
        start_L = torch.cat((lead_L.new_tensor(list(instruction)), lead_L))
        again_N = torch.cat((start_L, ids_L[first:last]))
        scores_BKC = _repeat(model, again_N, cache, range(first, last))
        if trial is not None and last <= trial.num_tokens:
            trial.take(scores_BKC, last)
        else:
            _commit(cache, scores_BKC)


class _Trial:
    """The first passages: kept whole until they have said what each key head needs."""

    def __init__(self, cache: Any, num_tokens: int) -> None:
        if cache.store.layer_configs:
            raise ValueError("the layers have budgets of their own; read with budgets=False")
        self.num_tokens = num_tokens
        self._cache, self._config = cache, cache.store.config
        self._scores: list[list[Tensor]] = [[] for _ in cache.layers]
        cache.adopt(DGACache(full_config()))

    def take(self, scores_BKC: Sequence[Tensor], last: int) -> None:
        """Take the scores of a passage; after the last one let the cache have its budgets."""
        import torch

        for all_scores, one_BKC in zip(self._scores, scores_BKC, strict=True):
            all_scores.append(one_BKC)
        if last == self.num_tokens:
            scores_BKL = [torch.cat(parts, 2) for parts in self._scores]
            plan = plan_of_scores(scores_BKL, self._config)
            self._cache.adopt(by_head(self._cache.store, self._config, plan))
            _commit(self._cache, scores_BKL)


def _repeat(model: Any, ids_N: Tensor, cache: Any, passage: range) -> list[Tensor]:
    again = cache.rereading(passage)
    _hidden(model, ids_N, again)
    return [layer.scores_BKC for layer in again.layers]


def _commit(cache: Any, scores_BKC: Sequence[Tensor]) -> None:
    for layer, one_BKC in zip(cache.layers, scores_BKC, strict=True):
        layer.state.commit(one_BKC)


def _hidden(model: Any, ids_L: Tensor, cache: Any) -> Tensor:
    import torch

    with torch.no_grad():
        out = model.base_model(
            input_ids=ids_L[None].to(model.device), past_key_values=cache, use_cache=True
        )
    hidden: Tensor = out.last_hidden_state
    return hidden


def why_not(cache: Any) -> str:
    """Return why a text cannot be judged by rereading into a cache, or ''."""
    if not hasattr(cache, "store"):
        return "full attention keeps everything"
    grouped = [config for config in _configs(cache) if not config.is_dense]
    if not grouped:
        return "nothing is grouped"
    if any(config.pool for config in grouped):
        return "groups are pooled by what follows them"
    if not min(config.window for config in grouped):
        return "without a window a chunk is judged as soon as it is read"
    if len(chunks := {config.chunk for config in grouped}) > 1:
        return f"the layers have chunks of several sizes, {sorted(chunks)}"
    return ""


def tokens_read_twice(
    cache: Any, num_tokens: int, instruction: Sequence[int], most_positions: int
) -> int:
    """Return how many of a text's first tokens are repeated: whole passages, within the context."""
    size = passage_tokens(cache)
    fitting = most_positions - len(instruction) - LEAD_TOKENS - size
    return max(0, min(num_tokens, fitting) // size * size)


def sample_tokens(cache: Any) -> int:
    """Return how many tokens say what each key head needs: the exact beginning, or a passage."""
    size = passage_tokens(cache)
    return max(1, int(cache.store.config.dense_threshold) // size) * size


def passage_tokens(cache: Any) -> int:
    """Return how many tokens are read, and repeated, at once: whole chunks, none of them due.

    Raises:
        ValueError: nothing that could be judged so; `why_not` says why.
    """
    if odd := why_not(cache):
        raise ValueError(f"this text cannot be read twice: {odd}; read it once")
    grouped = [config for config in _configs(cache) if not config.is_dense]
    chunk, window = grouped[0].chunk, min(config.window for config in grouped)
    return max(chunk, min(chunk - 1 + window, MOST_TOKENS) // chunk * chunk)


def _configs(cache: Any) -> Iterator[DGAConfig]:
    for layer in cache.layers:
        yield from head_configs(layer.state.config)
