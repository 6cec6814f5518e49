"""A module imports only modules of its own layer or below, and engines are imported by nobody."""

import subprocess
import sys

import pytest
from structure import ROOT, arrows, circles, imports, room

LAYERS = [
    ["plugin", "command"],
    ["cells", "harness"],
    ["optimize", "report"],
    ["running", "gate"],
    ["sources", "retrieval", "journal"],
    ["engines", "tiny"],
    ["results"],
    ["pipeline"],
]
"""From the top down: a package imports itself, and packages of its own row or below. docs/architecture.md says why."""

LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
NOUNS = {"pipeline", "results"}
ENGINES = {
    *("torch", "transformers", "peft", "datasets", "vllm", "safetensors", "tokenizers", "accelerate"),
    *("openai", "httpx", "httpx2"),
}
SEARCH = {"datasets", "bm25s", "Stemmer", "pyarrow", "huggingface_hub"}

MODULES = sorted({*ROOT.rglob("*.py")} - {ROOT / "__init__.py", ROOT / "__main__.py"})


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_layers_look_down_only(path):
    own = path.relative_to(ROOT).parts[0].removesuffix(".py")
    for name in imports(path):
        used = room(name)
        if used:
            assert LEVEL[own] <= LEVEL[used], f"{own} must not know {name}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_only_engines_know_torch_and_its_friends(path):
    top = path.relative_to(ROOT).parts[0].removesuffix(".py")
    used = {name.split(".")[0] for name in imports(path)}
    if top not in {"engines", "tiny"}:
        assert not used & (ENGINES - {"datasets"} if top == "sources" else ENGINES)
    if top not in {"engines", "sources", "retrieval"}:
        assert not used & SEARCH
    if top in NOUNS:
        assert used <= {*sys.stdlib_module_names, "pytest_bettertogether"}


def test_loading_the_plugin_brings_in_nothing_heavy():
    heavy = sorted(ENGINES | {"numpy", "scipy", "greenlet", "tabulate", "sklearn", "lm_eval", "yaml"} | SEARCH)
    ours = "pytest_bettertogether.plugin, pytest_bettertogether.plugin.fixtures"
    code = f"import sys, {ours}; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_no_package_imports_itself_by_way_of_others():
    graph = arrows()
    assert circles(graph) == set()
    assert set(graph) == set(LEVEL), "each package has its row"
