"""No way leads to code in a pickle: two calls of torch.load, for plain tensors only."""

from __future__ import annotations

import ast
import json
import pickle
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fdvs.errors import FdvsError
from fdvs.models.cards import Role
from fdvs.models.factory import ROLES

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("fdvs", "models", "kernels", "datasets", "pipelines", "scripts", "research")
# Modules that read pickles, and functions that do without being asked to.
MODULES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
LOADERS = {("torch", "load"), ("jit", "load"), ("hub", "load"), ("np", "load"), ("numpy", "load")}
BUILTINS = {"eval", "exec", "compile", "__import__"}


def source_files() -> Iterator[Path]:
    for folder in FOLDERS:
        for path in (ROOT / folder).rglob("*.py"):
            if path.resolve() == path:
                yield path


def calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    """Yield (name, call) of what may run code: `torch.load`, `pickle.loads`, `eval`."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        function = node.func
        if isinstance(function, ast.Name) and function.id in BUILTINS:
            yield function.id, node
        elif isinstance(function, ast.Attribute):
            owner = function.value
            base = getattr(owner, "id", getattr(owner, "attr", ""))
            if (base, function.attr) in LOADERS or base in MODULES:
                yield f"{base}.{function.attr}", node


def is_plain(call: ast.Call) -> bool:
    return any(
        keyword.arg == "weights_only"
        and isinstance(keyword.value, ast.Constant)
        and keyword.value.value is True
        for keyword in call.keywords
    )


def faults(tree: ast.AST) -> list[str]:
    found = [name for name, call in calls(tree) if not (name == "torch.load" and is_plain(call))]
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
            if node.module == "torch":
                found += [f"torch.{a.name}" for a in node.names if a.name == "load"]
        found += [name for name in names if name.split(".")[0] in MODULES]
    return found


def test_the_only_loaders_of_pickles_take_plain_tensors_alone() -> None:
    where, loads = {}, []
    for path in source_files():
        tree = ast.parse(path.read_text("utf-8"))
        if found := faults(tree):
            where[str(path.relative_to(ROOT))] = found
        loads += [path.name for name, _ in calls(tree) if name == "torch.load"]
    assert where == {}
    assert sorted(loads) == ["convert.py", "efficientnet.py"]


@pytest.mark.parametrize(
    "source",
    [
        "import torch\ntorch.load(path)",
        "torch.load(path, weights_only=False)",
        "torch.load(path, weights_only=flag)",
        "from torch import load",
        "torch.jit.load(path)",
        "torch.hub.load('a', 'b')",
        "import pickle",
        "from pickle import loads",
        "import joblib",
        "np.load(path)",
        "eval(text)",
    ],
)
def test_the_rule_catches_other_loaders(source: str) -> None:
    assert faults(ast.parse(source)) != []


class Evil:
    """A pickle that writes a file when it is read as one."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.write_text, (self.target, "ran"))


def evil_folders(folder: Path, evil: bytes) -> Iterator[Path]:
    """Write folders that lead each loader to a pickle, by every name that a package looks for."""
    config = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "num_hidden_layers": 1}
    names = {
        "alone": ("pytorch_model.bin",),
        "by an index of pickles": ("pytorch_model.bin", "pytorch_model.bin.index.json"),
        "by an index of safetensors": ("pytorch_model.bin", "model.safetensors.index.json"),
        "as safetensors": ("model.safetensors",),
        "as other safetensors": ("pytorch_model.bin", "other.safetensors"),
        "by the config": ("adapter_model.bin", "x.safetensors"),
        "as adapter": ("adapter_model.bin", "adapter_config.json"),
        "of open_clip": ("open_clip_pytorch_model.bin", "x.safetensors", "open_clip_config.json"),
        "of timm": ("weights.pth",),
        "as gguf": ("model.gguf",),
        "of whisper": ("model.bin",),
    }
    for case, files in names.items():
        place = folder / case
        place.mkdir()
        values = config | ({"transformers_weights": files[0]} if "config" in case else {})
        (place / "config.json").write_text(json.dumps(values))
        (place / "tokenizer.json").write_text("{}")
        for name in files:
            (place / name).write_bytes(evil)
            if name.endswith("index.json"):
                (place / name).write_text(json.dumps({"weight_map": {"a": files[0]}}))
            elif name.endswith("config.json"):
                (place / name).write_text(json.dumps({"model_cfg": {"embed_dim": 4}}))
        yield place
    modules = folder / "modules"
    shutil.copytree(folder / "alone", modules)
    kind = "sentence_transformers.models."
    listed = [{"type": f"{kind}{one}", "path": ""} for one in ("Transformer", "Dense")]
    (modules / "modules.json").write_text(json.dumps(listed))
    yield modules


BACKENDS = [(role, name) for role, backends in ROLES.items() for name in backends.names()]
# The others have no weights of the user's: rapidocr's are in its package.
LOCAL = [
    (role, name)
    for role, name in BACKENDS
    if name not in ("endpoint", "subtitles", "tags", "rapidocr")
]


@pytest.mark.parametrize(("role", "backend"), LOCAL)
def test_no_folder_leads_a_loader_to_a_pickle(
    role: Role, backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from fdvs.models.cards import LoadSettings
    from fdvs.models.factory import load_model

    monkeypatch.setenv("FDVS_CACHE", str(tmp_path / "cache"))
    loads: list[dict[str, Any]] = []
    plain: Callable[..., Any] = torch.load

    def load(*args: Any, **more: Any) -> Any:
        loads.append(more)
        return plain(*args, **more)

    monkeypatch.setattr(torch, "load", load)
    ran = tmp_path / "ran"
    for place in evil_folders(tmp_path, pickle.dumps(Evil(ran))):
        for target in (place, *sorted(place.glob("*.pth")), *sorted(place.glob("*.gguf"))):
            with pytest.raises(FdvsError):
                load_model(f"{backend}:{target}", role, LoadSettings())
            assert not ran.exists(), target
    assert all(more.get("weights_only") is True for more in loads)
    assert bool(loads) == (backend == "efficientnet")


def test_the_pickle_of_these_tests_would_run(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Evil(tmp_path / "ran")))  # noqa: S301
    assert (tmp_path / "ran").read_text() == "ran"
