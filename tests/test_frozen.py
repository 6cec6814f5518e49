"""Frozen programs: written by a cell, evaluated without optimising, to the same outputs."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from parrot import SUITE, run

from pytest_bettertogether import Predict, Program, frozen
from pytest_bettertogether.pipeline.errors import ProgramError
from pytest_bettertogether.pipeline.state import ProgramState
from pytest_bettertogether.pipeline.strategy import Strategy

HOME = Path("frozen/parity/parrot-pw/seed1")
FROZEN = SUITE.replace("import pytest\n", "import pytest\nfrom pathlib import Path\n", 1).replace(
    "exact_match\n", "exact_match, frozen\n", 1
)
FROZEN = FROZEN.replace("program=Parity", 'program=frozen(Parity, Path(__file__).parent / "kept")').replace(
    "(TASK)\n", '(TASK, strategies=["zero"])\n'
)


@pytest.fixture
def exported(suite):
    """A suite whose cell `pw` has been exported, as the folder `kept`; the report's cell is in pw.json."""
    options = ("--bt-gate=off", "--bt-seeds=0,1", "--bt-strategy=pw", "--bt-report=json:pw.json")
    result = run(suite, *options, "--bt-export=frozen")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines([f"frozen programs: 2 in {suite.path / 'frozen'}"])
    shutil.copytree(suite.path / HOME, suite.path / "kept")
    suite.makepyfile(test_kept=FROZEN)
    return suite


def evaluate(suite, *args):
    options = ("--bt-gate=off", "--bt-seeds=1", "--bt-report=json:zero.json", "--bt-journal=other")
    return run(suite, "test_kept.py", *options, *args)


def seeds(suite, name):
    return json.loads((suite.path / name).read_text())["cells"][0]["seeds"]


def test_it_is_prompts_demos_adapter_and_a_card(exported):
    kept = json.loads((exported.path / "kept" / "program.json").read_text())
    (cell,) = json.loads((exported.path / "pw.json").read_text())["cells"]
    assert kept["adapter"] == cell["seeds"][1]["steps"][1]["adapter"]
    assert list(kept["predictors"]["say"]) == ["prompt", "demos"]
    assert (kept["task"], kept["strategy"], kept["seed"], kept["score"]) == ("parity", "pw", 1, cell["score"])
    assert {each.name for each in (exported.path / "kept" / "adapter").iterdir()} == {
        "adapter_model.safetensors",
        "adapter_config.json",
    }
    card = (exported.path / "kept" / "README.md").read_text()
    assert "# parity: p → w on parrot, seed 1" in card
    assert "score: 100.0%, 95 % interval" in card
    assert str(exported.path) not in card


def test_it_is_evaluated_without_optimising_on_its_weights(exported):
    result = evaluate(exported)
    result.assert_outcomes(passed=1)
    assert seeds(exported, "zero.json")[0]["examples"] == seeds(exported, "pw.json")[1]["examples"]
    assert (exported.path / "trainings").read_text() == "xx"  # by the exporting run
    provenance = json.loads((exported.path / "zero.json").read_text())["cells"][0]["provenance"]
    assert len(provenance["frozen"]) == 16


def test_it_can_be_optimised_further(exported):
    evaluate(exported, "--bt-strategy=w").assert_outcomes(passed=1)
    assert (exported.path / "trainings").read_text() == "xxx"


FAULTS = {
    "no program.json": lambda kept: (kept / "program.json").unlink(),
    "program.json cannot be read": lambda kept: (kept / "program.json").write_text("{"),
    "it has format 9, and this version reads 1 and 2": lambda kept: change(kept, format=9),
    "it was made in the prompt form 'chat 7', and this version has chat 1, raw 1": lambda kept: change(
        kept, form="chat 7"
    ),
    "its adapter is missing, or not the one": lambda kept: (kept / "adapter" / "adapter_config.json").write_text("x"),
    "predictor 'say' had the prompt": lambda kept: change(kept, predictors={"say": {"prompt": "x", "demos": []}}),
    "it has the predictors tell, and the program has say": lambda kept: change(
        kept, predictors={"tell": {"prompt": "x", "demos": []}}
    ),
}


def change(kept, **values):
    file = kept / "program.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


@pytest.mark.parametrize("fault", FAULTS)
def test_what_does_not_fit_is_one_clear_error(exported, fault):
    FAULTS[fault](exported.path / "kept")
    result = evaluate(exported)
    result.assert_outcomes(failed=1)
    words = fault if fault != "no program.json" else "its program.json cannot be read: No such file or directory"
    assert "ProgramError: frozen program" in result.stdout.str()
    assert words in result.stdout.str()
    assert "export it again with --bt-export=DIR" in result.stdout.str()


def test_an_adapter_of_another_model_is_refused(tmp_path):
    class Say(Program):
        def __init__(self):
            self.say = Predict("number -> parity")

    from pytest_bettertogether.pipeline.adapter import ADAPTER_FILES, Adapter, adapter_digest
    from pytest_bettertogether.pipeline.forms import FORMS
    from pytest_bettertogether.pipeline.frozen import freeze

    for name in ADAPTER_FILES:
        (tmp_path / name).write_text("weights")
    state = ProgramState(adapter=Adapter(str(tmp_path), adapter_digest(tmp_path)))
    freeze(
        tmp_path / "kept",
        Say(),
        state,
        FORMS["chat"],
        {"strategy": "w", "model": {"model": "one", "weights": "aa", "revision": "main"}},
        "",
    )
    kept = frozen(Say, tmp_path / "kept")
    assert kept.state({"weights": "aa", "revision": "main"}).adapter.digest == state.adapter.digest
    with pytest.raises(ProgramError, match=r"was trained on one \(weights aa\), and this is two \(bb\)"):
        kept.state({"model": "two", "weights": "bb"})
    assert kept.state({}, FORMS["chat"]) == kept.state({})
    with pytest.raises(ProgramError, match=r"in the prompt form chat 1, and the recipe asks in raw 1: write Task\("):
        kept.state({}, FORMS["raw"])


def test_on_the_embedded_model_it_says_what_its_cell_said(tmp_path, monkeypatch, base_guarded):
    pytest.importorskip("torch", reason="engine tests need the hf extra")
    monkeypatch.syspath_prepend(Path(__file__).parent.parent / "suites")
    from test_iris import TASK, Classify

    from pytest_bettertogether.cells.cells import Cells
    from pytest_bettertogether.cells.export import export
    from pytest_bettertogether.cells.task_data import TaskData
    from pytest_bettertogether.engines.registry import TINY
    from pytest_bettertogether.journal.store import Journal
    from pytest_bettertogether.pipeline.suite import Suite

    def run_cell(journal, task, strategy):
        chosen = (Strategy.parse(strategy),)
        suite = Suite("iris", task, tmp_path / "iris.json", chosen, chosen, ())
        held = Journal(tmp_path / journal)
        cells = Cells(held, TaskData(held, limit=12))
        result = cells.run(suite, TINY, chosen[0], [0])
        folders = export(cells, suite, result, tmp_path / "frozen", {}) if strategy != "zero" else []
        cells.close()
        return result.seeds[0], folders

    # No untouched program among the candidates: each has demos, which cost tokens whatever it says.
    quick = {
        "search.candidates": 1,
        "search.fixed_arms": False,
        "lora.epochs": 10,
        "lora.attempts": 1,
        "lora.min_traces": 1,
    }
    for strategy, sampled in (("p", {}), ("wp", {}), ("p", {"evaluate.temperature": 1.0})):
        was, (folder,) = run_cell("one", replace(TASK, recipe={**quick, **sampled}), strategy)
        task = replace(TASK, program=frozen(Classify, folder), recipe=sampled)
        now, _ = run_cell(f"other-{strategy}{len(sampled)}", task, "zero")
        assert now.examples == was.examples
        assert now.usage == was.usage
        plain, _ = run_cell("one", TASK, "zero")
        assert now.usage.prompt_tokens > plain.usage.prompt_tokens
        assert (folder / "adapter").exists() == ("w" in strategy)
