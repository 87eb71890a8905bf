"""Measure a text that is read once: time to the first token, sizes, and what the answers lose.

    python research/bench_reading.py --model smollm2-135m --tokens 6000 --csv benchmarks/reading.csv

Tells an invented story of that many tokens with six facts in its middle half. Measures, with full
attention and with grouped attention: the first question (the text is read), a second one from
memory and from disk; the sizes of what is kept; how many of the six facts are found, with the
question after the story and before it; and whether grouped attention that keeps every token
writes what full attention writes. `cpu` is processor time, which another program's load changes
less than `wall`. Makes no claim.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from bench_rows import new_row, write_rows
from eval_settings import REREAD

PACKAGES = ("fdvs", "torch", "transformers")
SYSTEM = "Answer the question about the story in a few words."
PEOPLE = ("a woman in a coat", "the younger boy", "a waiter", "the tall man", "their neighbour")
DEEDS = (
    "wipes the table", "carries two boxes", "looks out of the window", "cuts bread", "waits",
    "talks to a friend", "opens the door", "folds the towels", "sweeps the floor",
)  # fmt: skip
PLACES = ("in the kitchen", "on the stairs", "near the shop", "in the yard", "at the station")
FACTS = (
    ("Olga hides the silver key under the flower pot.", "Where does Olga hide the key?", "pot"),
    ("The ferry to the island leaves from pier 47.", "From which pier does the ferry leave?", "47"),
    ("Tomas paints the garden gate green.", "Which colour does Tomas paint the gate?", "green"),
    ("The dog that follows Mina is called Pepper.", "What is the name of Mina's dog?", "pepper"),
    ("The old man pays 83 coins for the lamp.", "How many coins does the lamp cost?", "83"),
    ("The letter from Lisbon lies inside the piano.", "Where is the letter?", "piano"),
)
ANSWER_TOKENS, DECODED_TOKENS = 24, 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="smollm2-135m", help="a card, or transformers:FOLDER")
    parser.add_argument("--tokens", type=int, default=6000)
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3, help="of further questions")
    parser.add_argument(
        "--settings", nargs="+", default=["full", "default", "quality", "all"], metavar="NAME",
        help="full, default, quality, pooled, all; or FILE.json, a plan by key head; NAME+reread "
        "reads the story twice",
    )  # fmt: skip
    parser.add_argument(
        "--question-first", type=int, default=0, metavar="N", help="ask N facts before the story"
    )
    parser.add_argument("--csv", type=Path, help="append the rows to this file")
    args = parser.parse_args()
    import torch

    torch.set_num_threads(args.threads)
    texts: dict[str, list[str]] = {}
    writer = load(args)
    for settings in args.settings:
        switch(writer, settings)
        write_rows(list(measured(args, settings, writer, texts)), args.csv)


# the story


def lines() -> Iterator[str]:
    """Yield sentences of an everyday without any of the facts."""
    for at in range(10**6):
        person, deed = PEOPLE[at * 7 % len(PEOPLE)], DEEDS[(at * 5 + at // 9) % len(DEEDS)]
        place = PLACES[(at * 3 + at // 5) % len(PLACES)]
        yield f"{at // 60:02}:{at % 60:02} {person.capitalize()} {deed} {place}.\n"


def story(count: Callable[[str], int], num_tokens: int, *, with_facts: bool = True) -> str:
    """Return a story of about so many tokens; its facts lie between a quarter and three."""
    told, made, left = [], lines(), num_tokens
    while left > 0:
        told.append(next(made))
        left -= count(told[-1])
    for at, (fact, _, _) in enumerate(FACTS if with_facts else ()):
        depth = 0.25 + 0.5 * (at + 0.5) / len(FACTS)
        told.insert(int(depth * len(told)), f"{fact}\n")
    return "".join(told)


def asked(question: str) -> str:
    return f"\nQuestion: {question}\n"


# loading


def load(args: argparse.Namespace) -> Any:
    from fdvs.models.cards import LoadSettings
    from fdvs.models.factory import load_model

    settings = LoadSettings(device="cpu", dtype=args.dtype, attention="dga")
    return load_model(args.model, "llm", settings)


def switch(writer: Any, settings: str) -> None:
    """Let the model attend as `settings` names it: `full` is torch's own, FILE.json a plan."""
    from fdvs.models.llm.attention import enable
    from fdvs.models.llm.attention_options import options_of_plan

    writer.reread = settings.endswith(REREAD)
    settings = settings.removesuffix(REREAD)
    if settings == "full":
        writer.model.set_attn_implementation("sdpa")
    elif settings.endswith(".json"):
        plan = options_of_plan(Path(settings))
        enable(writer.model, plan.config, layer_configs=plan.layers)
    else:
        enable(writer.model, configs()[settings])


def configs() -> dict[str, Any]:
    from fdvs.kernels.dga import quality_config
    from fdvs.models.llm.attention_options import DEFAULT

    return {
        "default": DEFAULT,
        "quality": replace(quality_config(), dense_threshold=DEFAULT.dense_threshold),
        "pooled": replace(DEFAULT, pool=True),
        "all": replace(DEFAULT, importance_rate=1.0),
    }


class Clock:
    """Takes wall and processor time of a call."""

    def __init__(self) -> None:
        self.wall_s: list[float] = []
        self.cpu_s: list[float] = []

    def run(self, call: Callable[[], Any]) -> Any:
        wall, cpu = time.perf_counter(), time.process_time()
        made = call()
        self.wall_s.append(time.perf_counter() - wall)
        self.cpu_s.append(time.process_time() - cpu)
        return made


# rows


def measured(
    args: argparse.Namespace, settings: str, writer: Any, texts: dict[str, list[str]]
) -> Iterator[dict[str, str]]:
    """Measure one kind of attention; `texts` collects the answers of all."""
    text = story(writer.count_tokens, args.tokens)
    with tempfile.TemporaryDirectory() as folder:
        reading, rows = timed(args, settings, writer, text, Path(folder))
    yield from rows
    questions = [asked(question) for _, question, _ in FACTS]
    texts[settings] = [reading.write(q, max_tokens=ANSWER_TOKENS).text for q in questions]
    add = partial(row, args, settings, reading.num_tokens)
    yield add("facts found, story first", f"of {len(FACTS)}", [_found(texts[settings])])
    bare = writer.read(SYSTEM, story(writer.count_tokens, 200, with_facts=False))
    floor = [bare.write(q, max_tokens=ANSWER_TOKENS).text for q in questions]
    yield add("facts found, story without them", f"of {len(FACTS)}", [_found(floor)])
    if settings != "full" and "full" in texts:
        same = sum(one == other for one, other in zip(texts["full"], texts[settings], strict=True))
        yield add("answers equal to full attention's", f"of {len(FACTS)}", [same])
    if args.question_first:
        made = [_question_first(writer, q, text) for _, q, _ in FACTS[: args.question_first]]
        yield add("facts found, question first", f"of {args.question_first}", [_found(made)])


def _found(answers: Sequence[str]) -> int:
    """Count the answers that hold their fact's word."""
    return sum(wanted in told.lower() for told, (_, _, wanted) in zip(answers, FACTS, strict=False))


def timed(
    args: argparse.Namespace, settings: str, writer: Any, text: str, folder: Path
) -> tuple[Any, list[dict[str, str]]]:
    """Read once, then ask for one token each from memory and from disk."""
    from fdvs.models.llm.reading_cache import ReadingCache

    questions = [asked(question) for _, question, _ in FACTS]
    writer.read(SYSTEM, text[:400]).write(questions[0], max_tokens=1)  # compiles and warms up
    kept = ReadingCache(folder, max_bytes=2**40)
    first, keep, memory, disk = Clock(), Clock(), Clock(), Clock()

    def read_and_ask() -> Any:
        reading = writer.read(SYSTEM, text)
        reading.write(questions[0], max_tokens=1)
        return reading

    def from_disk(question: str) -> None:
        reading = ReadingCache(folder, max_bytes=2**40).read(writer, SYSTEM, text)
        assert reading.reused
        reading.write(question, max_tokens=1)

    reading = first.run(read_and_ask)
    keep.run(lambda: kept.keep(writer, reading))
    for number in range(args.rounds):
        question = questions[1 + number % (len(questions) - 1)]
        memory.run(partial(reading.write, question, max_tokens=1))
        disk.run(partial(from_disk, question))
    names = {
        "first question, first token": first, "keep on disk": keep,
        "second question, first token, from memory": memory,
        "second question, first token, from disk": disk,
        "decode, a token": decoded(writer, reading),
    }  # fmt: skip
    add = partial(row, args, settings, reading.num_tokens)
    rows = [
        add(f"{name}, {kind}", "s", getattr(clock, f"{kind}_s"))
        for name, clock in names.items()
        for kind in ("wall", "cpu")
    ]
    sizes = sizes_of(writer.model, reading, folder)
    rows += [add(f"on disk, {part}", "MiB", [sizes[part] / 2**20]) for part in sizes]
    rows.append(add("units of full KV", "share", [sizes["units"] / sizes["full_kv"]]))
    return reading, rows


def sizes_of(model: Any, reading: Any, folder: Path) -> dict[str, int]:
    """Return the bytes of the only reading in a folder by part, and those of full attention.

    `raw` is the tail that is not grouped yet (with full attention: everything), `other` are queries
    that later commits need, and manifests.
    """
    config, cache = model.config.get_text_config(), reading.cache
    heads = config.num_attention_heads
    dim = getattr(config, "head_dim", None) or config.hidden_size // heads
    key_heads = getattr(config, "num_key_value_heads", None) or heads
    each = 2 * config.num_hidden_layers * key_heads * dim * model.dtype.itemsize
    full = reading.num_tokens * each
    held = cache.num_bytes() if hasattr(cache, "num_bytes") else {"units": 0, "raw": full}
    total = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    units, raw = held["units"], held["raw"]
    other = total - units - raw
    return {"units": units, "raw": raw, "other": other, "total": total, "full_kv": full}


def decoded(writer: Any, reading: Any) -> Clock:
    """Take the time of single tokens after the story."""
    import torch

    from fdvs.models.llm.reading import fork

    cache, token, clock = fork(reading.cache), torch.tensor([[reading.opening.ids[-1]]]), Clock()
    step = partial(writer.model, input_ids=token, past_key_values=cache, use_cache=True)
    with torch.no_grad():
        step()  # copies what the fork shares
        for _ in range(DECODED_TOKENS):
            clock.run(step)
    return clock


def _question_first(writer: Any, question: str, text: str) -> str:
    """Ask before the story and once more after it, so that the model knows what to do."""
    user = f"Question: {question}\n\nStory:\n{text}\nNow answer the question: {question}"
    return str(writer.write(SYSTEM, user, max_tokens=ANSWER_TOKENS).text)


def row(
    args: argparse.Namespace, settings: str, num_tokens: int, metric: str, unit: str,
    values: list[Any],
) -> dict[str, str]:  # fmt: skip
    model = Path(args.model.removeprefix("transformers:")).stem
    return new_row(
        op="reading", backend=settings, metric=metric, unit=unit, values=values,
        shape=f"{model}; {num_tokens} tokens; threads {args.threads}",
        command=f"research/bench_reading.py --model {model} --tokens {args.tokens} "
        f"--settings {' '.join(args.settings)} --question-first {args.question_first}",
        packages=PACKAGES, dtype="float32" if args.dtype == "auto" else args.dtype,
    )  # fmt: skip


if __name__ == "__main__":
    main()
