"""The command line and its twins in the ini file: every `--bt-` option and how its text is read."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from ..command import arguments
from ..pipeline.steps import KINDS, listed


@dataclass(frozen=True)
class Option:
    """An option that has an ini twin: `--bt-seeds` and `bt_seeds`."""

    name: str
    help: str
    metavar: str = ""
    parse: Callable[[str], Any] = str
    many: bool = False
    default: Any = None

    @property
    def ini(self) -> str:
        """The name of its ini twin."""
        return f"bt_{self.name.replace('-', '_')}"


OPTIONS = (
    Option(
        "model",
        "Model to run the suites on: a registered name, a local folder, a hub id or the URL of an OpenAI-compatible "
        "server, with #name where it serves several; repeatable (default: tiny).",
        "NAME",
        many=True,
        default=("tiny",),
    ),
    Option(
        "backend",
        "Engine that runs the models: hf (transformers and peft), vllm (in this process) or server (default: the "
        "model's own, or else vllm where it is installed and a GPU is there, or else hf).",
        "hf|vllm|server",
        arguments.one_of("hf", "vllm", "server"),
    ),
    Option(
        "server",
        "Base URL of the OpenAI-compatible server that has the models, as in http://127.0.0.1:8000/v1, with #name "
        "where it knows a model by another name; --bt-model is then the local copy of the weights, whose tokenizer "
        "is used and which step w trains (default: the model's own).",
        "URL",
    ),
    Option(
        "engine",
        "Tell the engine something, as in tensor_parallel_size=2 (vllm: its engine arguments) or concurrency=32 "
        "(server: concurrency, timeout, retries, errors, api_key_env); repeatable (default: none).",
        "KEY=VALUE",
        arguments.pair,
        many=True,
    ),
    Option(
        "strategy",
        f"Run only this strategy: zero, or steps as in pwp or 'p -> w -> p', of {listed(KINDS)} and those that "
        "packages or a conftest.py register; repeatable (default: the suite's own, or else the paper's eight).",
        "STEPS",
        many=True,
    ),
    Option(
        "seeds",
        "Seeds that each cell runs with, as in 0,1,2 or 0-4 (default: 0-2).",
        "LIST",
        arguments.seeds,
        default=(0, 1, 2),
    ),
    Option(
        "limit",
        "Use the first N examples of each split; scores are then not gated (default: all).",
        "N",
        arguments.positive,
    ),
    Option(
        "gate",
        "off: score and report, but let every result pass its baseline (default: on; off with --bt-limit).",
        "on|off",
        arguments.one_of("on", "off"),
        default="on",
    ),
    Option(
        "alpha",
        "Chance of a false alarm in a whole session, shared among its gated cells (default: 0.05).",
        "P",
        arguments.share,
        default=0.05,
    ),
    Option(
        "min-effect",
        "Points of the score that a result may lose: it fails only if it is shown to have lost more (default: 0).",
        "POINTS",
        arguments.points,
        default=0.0,
    ),
    Option(
        "detect",
        "Drop, in points of the score, that a gate should find with a probability of 0.8; one that would not is "
        "flagged as too small to tell (default: 10).",
        "POINTS",
        arguments.points,
        default=10.0,
    ),
    Option(
        "too-small",
        "Whether a gate that is too small to tell (see --bt-detect) passes or fails (default: pass).",
        "pass|fail",
        arguments.one_of("pass", "fail"),
        default="pass",
    ),
    Option(
        "baseline-ref",
        "Compare with the baseline files as they are at this commit, branch or tag of git, so that a change cannot "
        "lower its own bar (default: the files in the working tree).",
        "GITREF",
    ),
    Option(
        "select",
        "Which program a strategy returns: its last, or the best of its prefixes by dev score (default: last).",
        "last|best",
        arguments.one_of("last", "best"),
        default="last",
    ),
    Option(
        "set",
        "Override a value of the recipe, as in lora.rank=8 or search.candidates=3; repeatable (default: none).",
        "KEY=VALUE",
        arguments.assignment,
        many=True,
    ),
    Option(
        "data-dir",
        "Folder with copies of data sets, looked at before the hub: gsm8k/{train,test}.jsonl.gz, "
        "hotpotqa/{train,dev,test,corpus}.jsonl.gz, and files that your own suites name (default: the environment's "
        "BT_DATA_DIR, or none).",
        "DIR",
    ),
    Option(
        "retrieval",
        "What suites with retrieval search: pool (BM25 over the paragraphs that come with their questions), FILE (BM25 "
        "over a file of title and text, in the data folder or from the rootdir), wiki2017 (BM25 over Wikipedia's 5.2 "
        "million first paragraphs, fetched) or the URL of a ColBERTv2 server (default: pool).",
        "pool|FILE|wiki2017|URL",
        default="pool",
    ),
    Option(
        "report",
        "Write a report when all is done: html:PATH (one file, opens offline), md:PATH, or json:PATH (schema 1, with a "
        "folder of samples as JSON lines beside it), or a kind that a conftest.py registers; repeatable (default: "
        "none).",
        "KIND:PATH",
        many=True,
    ),
    Option(
        "journal",
        "Folder, relative to the rootdir, that keeps completions and adapters, so that nothing is paid for twice "
        "(default: .bettertogether).",
        "DIR",
        default=".bettertogether",
    ),
    Option(
        "export",
        "Write the program of each cell and seed, its prompts, demos and weights with a model card, to "
        "DIR/<task>/<model>-<strategy>/seed<k> (default: nowhere).",
        "DIR",
    ),
    Option(
        "max-calls",
        "Stop before the batch with which more LM calls would have been made than N; replayed calls are free. Cells "
        "that are stopped fail, and the same command goes on with them. Under xdist: of each worker (default: "
        "unlimited).",
        "N",
        arguments.positive,
    ),
    Option(
        "max-tokens",
        "Stop after the batch with which N tokens, in and out, are used (default: unlimited).",
        "N",
        arguments.positive,
    ),
    Option(
        "max-minutes",
        "Stop after the batch or training that is under way M minutes after the first cell began (default: unlimited).",
        "M",
        arguments.minutes,
    ),
)


def add_options(parser: pytest.Parser) -> None:
    """All options in one group, and the ini twins of those worth keeping in a file."""
    group = parser.getgroup("bettertogether", "language-model programs: optimise, evaluate, gate")
    for option in OPTIONS:
        details: dict[str, Any] = {"dest": option.ini, "type": option.parse, "metavar": option.metavar}
        if option.many:
            details["action"] = "append"
        group.addoption(f"--bt-{option.name}", help=option.help, **details)
        twin = f"As --bt-{option.name}{', one per line' if option.many else ''}. {option.help}"
        if option.many:
            parser.addini(option.ini, twin, type="linelist", default=[])
        else:
            parser.addini(option.ini, twin, type="string", default="")
    group.addoption(
        "--bt-offline",
        action="store_true",
        help="Touch no network: models and data must be on this machine (default: off).",
    )
    parser.addini("bt_offline", "As --bt-offline (default: false).", type="bool", default=False)
    group.addoption(
        "--bt-force",
        action="store_true",
        help="Run tasks also on models that cannot do what they need, as GSM8K on tiny (default: skip them).",
    )
    group.addoption(
        "--bt-fresh",
        action="store_true",
        help="Compute everything anew and replace what the journal holds of it (default: replay what is there).",
    )
    group.addoption(
        "--bt-dev-scores",
        action="store_true",
        help="Score the program after each step on dev too, which costs LM calls: for the report's curves, and for the "
        "winner picked on dev (default: only where --bt-select=best needs it).",
    )
    group.addoption(
        "--bt-replay-tests",
        action="store_true",
        help="Let a test evaluation replay what a server of unknown weights answered in an earlier run (default: ask "
        "the server anew, for it may have another model by now).",
    )
    group.addoption(
        "--bt-plan",
        action="store_true",
        help="Print what the collected cells would cost, and what of it the journal holds, without loading a model; "
        "run nothing (default: run).",
    )
    group.addoption(
        "--bt-update-baselines",
        action="store_const",
        const="all",
        help="Record the scores of the cells that run as their baselines, and print old -> new (default: compare with "
        "the recorded ones).",
    )
    # An option of its own: one with an optional value would swallow the path that follows it.
    group.addoption(
        "--bt-update-baselines=new",
        action="store_const",
        dest="bt_update_baselines",
        const="new",
        help="Record only the cells that have no baseline yet; the others are compared.",
    )
    group.addoption(
        "--bt-prune-baselines",
        action="store_true",
        help="Remove baselines that no collected suite has a cell for (default: name them).",
    )
    group.addoption(
        "--bt-allow-ci-update",
        action="store_true",
        help="Let --bt-update-baselines and --bt-prune-baselines work in CI, where they are refused (default: off).",
    )


def asked(config: pytest.Config) -> bool:
    """Whether the user gave any option of ours, on the command line or in the ini file."""
    flags = (
        "offline",
        "force",
        "fresh",
        "replay_tests",
        "dev_scores",
        "plan",
        "update_baselines",
        "prune_baselines",
        "allow_ci_update",
    )
    # Not by truth: 0 is a value.
    if any(
        config.getoption(name) not in (None, False)
        for name in (*(option.ini for option in OPTIONS), *(f"bt_{flag}" for flag in flags))
    ):
        return True
    try:
        return any(config.getini(name) for name in (*(option.ini for option in OPTIONS), "bt_offline"))
    except (ValueError, pytest.UsageError):  # a value that cannot be read: read_settings says which
        return True
