"""Damaged and hostile model folders: loaded or refused; nothing is run, nothing else is read."""

from __future__ import annotations

import json
import os
import pickle
import random
import select
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from .conftest import Attack
from .model_seeds import TEMPLATE, Seed, seeds_in

pytestmark = pytest.mark.attack

LOADER = Path(__file__).with_name("load_models.py")
MAX_S = 60.0
MAX_BYTES = 1 << 26
MAX_MESSAGE_CHARS = 3000
Change = Callable[[Path, Path, random.Random], None]

NUMBERS = (0, -1, 1, 3, 7, 100_000, 10**6, 2**31, 2**63, 10**30, 0.5, -1.5)
VALUES = (
    *NUMBERS, *(None, True, False, "", "32", "x" * 20_000, "\u202e\x00", [], {}, [32], [None]),
    *("../outside", "../outside/model.safetensors", "/etc/passwd", "os.system", "builtins.print"),
    *("evil.Evil", {"a": {"b": {"c": []}}}, [0] * 3000, "pytorch_model.bin", "gelu", "llama"),
)  # fmt: skip
KEYS: dict[str, tuple[Any, ...]] = {
    "auto_map": ({"AutoConfig": "evil.Evil", "AutoModelForCausalLM": "evil.Evil"},),
    "transformers_weights": ("adapter_model.bin", "../outside/model.safetensors", "x.safetensors"),
    "quantization_config": ({"quant_method": "bitsandbytes", "load_in_4bit": True}, {"a": 1}, 3),
    "_name_or_path": ("../outside",), "base_model_name_or_path": ("../outside",),
    "vocab_file": ("../outside/tokenizer.json",), "tokenizer_file": ("../outside/tokenizer.json",),
    "tokenizer_class": ("evil.Evil", "BertTokenizer", 3), "processor_class": ("Evil", 3),
    "rope_parameters": ({"rope_type": "yarn"}, {"rope_type": "linear", "factor": 0}, 3),
    "model_type": ("bert", "nope", "t5", "gpt2", 3, None), "architectures": (["Evil"], [], 3),
    "num_hidden_layers": NUMBERS, "num_attention_heads": NUMBERS, "hidden_size": NUMBERS,
    "vocab_size": NUMBERS, "layers": NUMBERS, "image_size": NUMBERS, "patch_size": NUMBERS,
    "hf_model_name": ("../outside",), "hf_tokenizer_name": ("../outside",),
    "timm_model_name": ("nope", "../outside"), "custom_text": (True,), "dtype": ("float8", 3),
    "chat_template": ("{% for", "{{ 1 / 0 }}", 3), "model_max_length": NUMBERS,
    "eos_token": ("<none>", 3, None), "added_tokens_decoder": ({"x": 3}, {"0": {"content": 3}}),
}  # fmt: skip
TEMPLATES = (
    "{% for m in messages %}", "{{ 1 / 0 }}", "{{ nothing.at.all }}", "{{ 9 ** 9 ** 9 }}", "",
    "{{ ''.__class__.__mro__ }}", "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "\x00",
    "{% for a in range(99999) %}{% for b in range(99999) %}{{ b }}{% endfor %}{% endfor %}",
    "{% set n = namespace(x='ab') %}{% for a in range(60) %}{% set n.x = n.x ~ n.x %}{% endfor %}",
    "{{ 'a' * 10000000000 }}", "{% include '/etc/passwd' %}", "{{ raise_exception('no') }}",
    "{% if messages | length > 1 %}{{ 1 / 0 }}{% endif %}", "{{ lipsum(99999) }}",
)  # fmt: skip


class Evil:
    """A pickle that leaves a mark where it is read as one."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


def a_file(folder: Path, rng: random.Random, pattern: str = "*") -> Path:
    """Return a file that an earlier change did not put out of reach, else a new name."""
    files = [path for path in folder.rglob(pattern) if path.is_file()]
    files = sorted(path for path in files if path.stat().st_size < MAX_BYTES)
    return rng.choice(files or [folder / "new.json"])


def change_bytes(folder: Path, outside: Path, rng: random.Random) -> None:
    """Cut, empty, garble or lengthen a file; most of them weights."""
    kind = rng.choice(("*.safetensors", "*.gguf", "*.json", "*"))
    path = a_file(folder, rng, kind)
    data = bytearray(path.read_bytes() if path.is_file() else b"")
    match rng.randrange(6):
        case 0:
            data = data[: rng.randrange(len(data) + 1)]
        case 1:
            data = bytearray()
        case 2:
            for _ in range(rng.choice((1, 8, 200))):
                data[rng.randrange(min(len(data), 2000) or 1) : 0] = b""
                if data:
                    data[rng.randrange(min(len(data), 2000))] = rng.randrange(256)
        case 3:
            at = rng.randrange(min(len(data), 4000) + 1)
            data[at : at + 8] = rng.choice((b"\xff" * 8, b"\0" * 8, (2**62).to_bytes(8, "little")))
        case 4:
            data += rng.randbytes(rng.choice((1, 5000)))
        case _:
            data = bytearray(rng.randbytes(len(data)))
    path.unlink(missing_ok=True)
    path.write_bytes(data)


def change_json(folder: Path, outside: Path, rng: random.Random) -> None:
    """Replace, remove or add a value in a JSON file, at any depth."""
    path = a_file(folder, rng, rng.choice(("*config.json", "*config.json", "*.json")))
    try:
        values = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return
    inside = values
    while isinstance(inside, dict | list) and inside:
        key = rng.choice(list(inside) if isinstance(inside, dict) else range(len(inside)))
        if not isinstance(inside[key], dict | list) or rng.random() < 0.4:
            if rng.random() < 0.2:
                del inside[key]
            else:
                inside[key] = rng.choice(VALUES)
            break
        inside = inside[key]
    path.unlink()
    path.write_text(json.dumps(values), "utf-8")


def add_key(folder: Path, outside: Path, rng: random.Random) -> None:
    """Set a key that leads a package elsewhere, or that sizes depend on."""
    path = a_file(folder, rng, rng.choice(("config.json", "*config.json")))
    try:
        values = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return
    parts = [values] if isinstance(values, dict) else []
    parts += [part for part in list(parts and values.values()) if isinstance(part, dict)]
    if parts:
        key = rng.choice(list(KEYS))
        rng.choice(parts)[key] = rng.choice(KEYS[key])
    path.unlink()
    path.write_text(json.dumps(values), "utf-8")


def change_files(folder: Path, outside: Path, rng: random.Random) -> None:
    """Remove a file, or put something else in its place."""
    path = a_file(folder, rng)
    path.unlink(missing_ok=True)
    match rng.randrange(7):
        case 0:
            os.mkfifo(path)
        case 1:
            path.mkdir()
        case 2:
            path.symlink_to(path.name)
        case 3:
            path.symlink_to("/dev/zero")
        case 4:
            path.touch()
            os.truncate(path, 1 << 40)
        case 5:
            path.write_text(rng.choice(("[" * 100_000, "[]", "null", '{"a": ' + "9" * 5000 + "}")))
        case _:
            pass


def add_trap(folder: Path, outside: Path, rng: random.Random) -> None:
    """Add what a package may follow: an index, an adapter, modules with code, a pickle."""
    mark = outside / "ran"
    (folder / "evil.py").write_text(f"open({str(mark)!r}, 'w')\nclass Evil: pass\n")
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Evil(mark)))
    shutil.copy(folder / "pytorch_model.bin", folder / "adapter_model.bin")
    match rng.randrange(5):
        case 0 | 1:
            for path in folder.glob("model*.safetensors"):
                path.rename(folder / f"x-{path.name}")
            target = rng.choice(
                ("pytorch_model.bin", "../outside/model.safetensors", "adapter_model.bin", "")
            )
            index = {"metadata": {}, "weight_map": {"model.norm.weight": target, "a": target}}
            (folder / "model.safetensors.index.json").write_text(json.dumps(index))
        case 2:
            adapter = {"peft_type": "LORA", "r": 1, "base_model_name_or_path": str(outside)}
            (folder / "adapter_config.json").write_text(json.dumps(adapter))
        case 3:
            kinds = (
                "evil.Evil",
                "os.system",
                "sentence_transformers.models.Dense",
                "builtins.open",
            )
            modules = [{"idx": 0, "name": "0", "path": rng.choice(("", "../outside")),
                        "type": rng.choice(kinds)}]  # fmt: skip
            (folder / "modules.json").write_text(json.dumps(modules))
        case _:
            for path in folder.glob("*.safetensors"):
                path.unlink()


def change_template(folder: Path, outside: Path, rng: random.Random) -> None:
    text = rng.choice(TEMPLATES)
    if rng.random() < 0.3:
        at = rng.randrange(len(TEMPLATE))
        text = TEMPLATE[:at] + rng.choice(("{", "}", "%}", "{{", "'", "\x00")) + TEMPLATE[at + 1 :]
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    (folder / "chat_template.jinja").write_text(text, "utf-8")


CHANGES: tuple[Change, ...] = (
    change_bytes, change_bytes, change_json, change_json, add_key, add_key, change_files, add_trap,
    change_template,
)  # fmt: skip


class Loader:
    """The process that loads folders; it is started anew where it crashed or hung."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._process: subprocess.Popen[str] | None = None

    def answer(self, seed: Seed, folder: Path) -> dict[str, Any]:
        process = self.started()
        assert process.stdin is not None
        assert process.stdout is not None
        row = {"role": seed.role, "backend": seed.backend, "target": str(folder)}
        process.stdin.write(json.dumps(row) + "\n")
        process.stdin.flush()
        if not select.select([process.stdout], [], [], MAX_S)[0]:
            self.close()
            return {"outcome": f"not done in {MAX_S} s", "text": "", "escapes": []}
        line = process.stdout.readline()
        if not line:
            code = process.wait()
            self.close()
            return {"outcome": f"crash, code {code}", "text": "", "escapes": []}
        found: dict[str, Any] = json.loads(line)
        return found

    def started(self) -> subprocess.Popen[str]:
        if self._process is None:
            places = [str(self._root / name) for name in ("seeds", "outside")]
            command = [sys.executable, "-P", str(LOADER), *places]
            off = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error", "OMP_NUM_THREADS": "1"}
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL, text=True,
                env={**os.environ, **off, "FDVS_CACHE": str(self._root / "cache")},
            )  # fmt: skip
            assert self._process.stdout is not None
            assert self._process.stdout.readline() == "made\n"
        return self._process

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


@contextmanager
def loader_of(root: Path) -> Iterator[Loader]:
    loader = Loader(root)
    try:
        loader.started()
        yield loader
    finally:
        loader.close()


def what_is_wrong(answer: dict[str, Any], outside: Path) -> str:
    if answer["escapes"]:
        return f"went out: {answer['escapes'][:3]}"
    if (outside / "ran").exists():
        (outside / "ran").unlink()
        return "code was run"
    if answer["outcome"] not in ("loaded", "refused"):
        return f"{answer['outcome']}: {answer['text'][-700:]}"
    if answer["outcome"] == "refused" and not 0 < len(answer["text"]) < MAX_MESSAGE_CHARS:
        return f"a message of {len(answer['text'])} characters"
    return ""


def test_damaged_model_folders(attack: Attack, tmp_path: Path) -> None:
    rng = random.Random(29)
    outside = tmp_path / "outside"
    with loader_of(tmp_path) as loader:
        seeds = seeds_in(tmp_path / "seeds")
        shutil.copytree(seeds[0].folder, outside)
        for seed in seeds:
            answer = loader.answer(seed, seed.folder)
            assert answer["outcome"] == "loaded", (seed, answer)
        for number in range(attack.trials(60)):
            seed = seeds[number % len(seeds)]
            folder = tmp_path / f"{number}-{seed.folder.name}"
            shutil.copytree(seed.folder, folder)
            changes = [rng.choice(CHANGES) for _ in range(rng.choice((1, 1, 2)))]
            for change in changes:
                change(folder, outside, rng)
            wrong = what_is_wrong(loader.answer(seed, folder), outside)
            names = ", ".join(change.__name__ for change in changes)
            attack.count(f"{folder} ({names}): {wrong}" if wrong else "")
            if not wrong:
                shutil.rmtree(folder)
