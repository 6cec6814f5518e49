"""A module imports only modules of its own layer or below, and engines are imported by nobody."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "pytest_bettertogether"

LAYERS = [
    ["cli"],
    ["plugin", "reporting"],
    ["publishing", "arguments"],
    ["cells"],
    ["plan"],
    ["report"],
    ["gate"],
    ["optimize"],
    ["harness"],
    ["evaluate"],
    ["lockstep"],
    ["models", "suite", "freezing"],
    ["ahead"],
    ["journaled", "upkeep", "searching", "forms"],
    ["journal"],
    ["backends", "sources", "tiny", "engines"],
    ["recipe", "prompt", "raw"],
    ["data"],
    ["budget"],
    ["records"],
    ["program", "metrics", "results", "strategy", "seeds", "atomic", "errors", "progress", "where"],
    ["abilities", "traces", "extras"],
]
"""From the top down."""

LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
NOUNS = {
    "program",
    "metrics",
    "results",
    "records",
    "strategy",
    "seeds",
    "data",
    "recipe",
    "prompt",
    "suite",
    "errors",
    "progress",
    "where",
    "raw",
    "traces",
    "extras",
    "abilities",
}
ENGINES = {
    *("torch", "transformers", "peft", "datasets", "vllm", "safetensors", "tokenizers", "accelerate"),
    *("openai", "httpx", "httpx2"),
}
SEARCH = {"datasets", "bm25s", "Stemmer", "pyarrow", "huggingface_hub"}

MODULES = sorted(path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py")


def imports(path, at_load=False):
    """(absolute dotted name) of every import in a module; with `at_load` only of those run when it is imported."""
    package = ["pytest_bettertogether", *path.relative_to(ROOT).parts[:-1]]
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = tree.body if at_load else ast.walk(tree)
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            name = ".".join([*base, *([node.module] if node.module else [])])
            yield name
            if node.level and not node.module:
                yield from (f"{name}.{alias.name}" for alias in node.names)


def layer(dotted):
    parts = dotted.split(".")
    return parts[1] if parts[0] == "pytest_bettertogether" and len(parts) > 1 else None


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_layers_look_down_only(path):
    own = path.relative_to(ROOT).parts[0].removesuffix(".py")
    for name in imports(path):
        used = layer(name)
        if used and not (own == "backends" and used == "models"):  # an engine names the type of its argument
            assert LEVEL[own] <= LEVEL[used], f"{own} must not know {name}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_only_engines_know_torch_and_its_friends(path):
    top = path.relative_to(ROOT).parts[0].removesuffix(".py")
    used = {name.split(".")[0] for name in imports(path)}
    if top not in {"backends", "tiny"}:
        assert not used & (ENGINES - {"datasets"} if top == "sources" else ENGINES)
    if top not in {"backends", "sources"}:
        assert not used & SEARCH
    if top in NOUNS:
        assert used <= {*sys.stdlib_module_names, "pytest_bettertogether"}


def test_loading_the_plugin_brings_in_nothing_heavy():
    heavy = sorted(ENGINES | {"numpy", "scipy", "greenlet", "tabulate", "sklearn", "lm_eval", "yaml"} | SEARCH)
    ours = "pytest_bettertogether.plugin, pytest_bettertogether.plugin.fixtures"
    code = f"import sys, {ours}; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
