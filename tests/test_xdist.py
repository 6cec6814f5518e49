"""Under pytest-xdist: a model's cells stay together, results stay the same, and tests of others notice nothing."""

import json
import subprocess
import sys
from collections import defaultdict
from types import SimpleNamespace

import pytest
from parrot import ALL, CONFTEST, SUITE
from xdist import scheduler
from xdist.remote import Producer

from pytest_bettertogether.plugin import distribution

NOTES = '''

import os

import pytest


class Noting(Engine):
    """Notes which worker has loaded it, and for which model."""

    def __init__(self, model, adapters, offline):
        super().__init__(model, adapters, offline)
        with open(f"loaded-{model.name}", "a") as log:
            log.write(os.environ.get("PYTEST_XDIST_WORKER", "alone") + " ")


def pytest_runtest_logreport(report):
    if report.when == "call" and hasattr(report, "node"):
        with open("ran", "a") as log:
            log.write(f"{report.nodeid} {report.node.gateway.id}\\n")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session):
    if hasattr(session.config, "workerinput") and pathlib.Path("report.json").exists():
        pathlib.Path("written-by-a-worker").touch()
'''

BODY = "    assert better_together() >= bt_baseline\n"


@pytest.fixture
def suite(pytester):
    pytester.makeconftest(CONFTEST.replace('"conftest:Engine"', '"conftest:Noting"') + NOTES)
    pytester.makepyfile(test_parity=SUITE)
    return pytester


def run(suite, *args):
    options = ("--bt-model=parrot", "--bt-gate=off", "--bt-seeds=0", "--bt-report=json:report.json")
    return suite.runpytest(*options, "-p", "no:randomly", *args)


def both(suite, *args):
    return run(suite, "--bt-model=other", *args)


def loaded(suite, model):
    return (suite.path / f"loaded-{model}").read_text().split()


def workers(suite):
    """The workers that have run the tests of each model, and those of no model."""
    found = defaultdict(set)
    for line in (suite.path / "ran").read_text().splitlines():
        nodeid, worker = line.split()
        found[next((model for model in ("parrot", "other") if f"[{model}-" in nodeid), None)].add(worker)
    return found


def cells(suite):
    """What the report says of each cell, without what depends on who paid and how long it took."""
    found = json.loads((suite.path / "report.json").read_text())["cells"]
    for cell in found:
        del cell["cost"]["paid_now"]
        for timed in (*cell["seeds"], *(step for seed in cell["seeds"] for step in seed["steps"])):
            del timed["seconds"]
    return found


def ids(suite):
    return [f"{cell['model']}-{cell['strategy']}" for cell in cells(suite)]


def test_the_cells_of_a_model_run_on_one_worker_which_loads_one_engine(suite):
    suite.makepyfile(test_plain="import pytest\n\n@pytest.mark.parametrize('n', range(4))\ndef test_it(n): pass")
    both(suite, "-n2").assert_outcomes(passed=20)
    found = workers(suite)
    assert {*loaded(suite, "parrot"), *loaded(suite, "other")} == {"gw0", "gw1"}
    for model in ("parrot", "other"):
        assert found[model] == set(loaded(suite, model))
        assert len(loaded(suite, model)) == 1


def test_results_are_the_same_with_and_without_workers(suite):
    both(suite, "-n0", "--bt-journal=alone").assert_outcomes(passed=16)
    alone = json.dumps(cells(suite))
    both(suite, "-n2", "--bt-journal=shared").assert_outcomes(passed=16)
    assert json.dumps(cells(suite)) == alone


def test_the_strategies_of_a_model_share_their_steps(suite):
    result = run(suite, "-n2")
    result.assert_outcomes(passed=8)
    result.stdout.fnmatch_lines(["4 prompt steps, 3 weight steps, *"])
    assert (suite.path / "trainings").read_text() == "xxx"


def test_ids_are_those_of_a_run_without_workers(suite):
    suite.makepyfile(test_parity=SUITE.replace(BODY, "    better_together()\n    assert bt_baseline is None\n"))
    node = "test_parity.py::test_parity[[]parrot-p]"
    result = run(suite, "-n2", "-v", "--bt-strategy=p", "--junit-xml=junit.xml")
    result.stdout.fnmatch_lines([f"* FAILED {node} ", f"FAILED {node} - *"])
    assert 'name="test_parity[parrot-p]"' in (suite.path / "junit.xml").read_text()
    run(suite, "--lf", "--collect-only", "-q").stdout.fnmatch_lines([node, "1 test collected*"])


def test_the_command_that_records_a_missing_baseline_is_the_same_too(suite):
    result = run(suite, "-n2", "--bt-gate=on", "--bt-strategy=p")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*pytest 'test_parity.py::test_parity[[]parrot-p]' --bt-model=parrot --bt-seeds=0 *"])


def test_the_error_budget_is_shared_by_all_gated_cells_collected(suite):
    run(suite, "-n0", "--bt-gate=on", "--bt-update-baselines").assert_outcomes(passed=8)
    run(suite, "-n2", "--bt-gate=on", "-k", "parrot-p]").assert_outcomes(passed=1)
    assert [cell["gate"]["alpha"] for cell in cells(suite)] == [0.05 / 8]


def test_a_group_that_the_user_has_marked_wins(suite):
    suite.makepyfile(test_parity=SUITE.replace("def test_parity", '@pytest.mark.xdist_group("mine")\ndef test_parity'))
    both(suite, "-n2", "--bt-strategy=zero", "--bt-strategy=p").assert_outcomes(passed=4)
    assert len(set.union(*workers(suite).values())) == 1


def test_loadgroup_keeps_the_cells_of_a_model_together_too(suite):
    both(suite, "-n2", "--dist=loadgroup").assert_outcomes(passed=16)
    assert len(loaded(suite, "parrot")) == len(loaded(suite, "other")) == 1


@pytest.mark.parametrize(("dist", "times"), [("loadscope", 1), ("worksteal", 1), ("no", 1), ("each", 2)])
def test_other_ways_to_distribute_work(suite, dist, times):
    result = both(suite, "-n2", f"--dist={dist}", "--bt-strategy=zero", "--bt-strategy=p")
    result.assert_outcomes(passed=4 * times)
    result.stdout.fnmatch_lines(["*better together*", "p *100.0*"])
    assert set(ids(suite)) == {"parrot-zero", "parrot-p", "other-zero", "other-p"}


@pytest.mark.parametrize("code", [0, 1])
@pytest.mark.parametrize("dist", ["load", "worksteal"])
def test_a_crashed_worker_costs_the_cell_that_crashed_it_and_no_other(suite, code, dist):
    crash = f"    import os\n    'other-p]' in os.environ['PYTEST_CURRENT_TEST'] and os._exit({code})\n"
    suite.makepyfile(test_parity=SUITE.replace(BODY, BODY + crash))
    result = both(suite, "-n2", f"--dist={dist}")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(passed=15, failed=1)
    result.stdout.fnmatch_lines(["*crashed while running 'test_parity.py::test_parity[[]other-p]'"])
    result.stdout.fnmatch_lines(["parity[[]other-p] invalid: the worker process that ran it crashed"])
    assert sorted(ids(suite)) == sorted(f"{m}-{name}" for m in ("parrot", "other") for name in ALL)
    (crashed,) = [cell for cell in cells(suite) if cell["status"] == "invalid"]
    assert (crashed["id"], crashed["score"]) == ("parity[other-p]", None)
    assert crashed["test"]["id"] == "test_parity.py::test_parity[other-p]"
    assert crashed["test"]["line"] > 1


def test_stopping_at_the_first_failure_keeps_what_has_finished(suite):
    suite.makepyfile(test_parity=SUITE.replace(BODY, BODY + "    assert better_together().score < 0.9\n"))
    result = run(suite, "-n2", "-x")
    assert result.ret != 0
    result.assert_outcomes(passed=1, failed=1)
    assert ids(suite) == ["parrot-zero", "parrot-p"]


def test_files_are_written_once_by_the_controller(suite):
    result = both(suite, "-n2", "--bt-update-baselines", "--bt-strategy=zero", "--bt-strategy=p")
    result.assert_outcomes(passed=4)
    text = result.stdout.str()
    assert text.count("json report: ") == 1
    assert text.count("parrot-p recorded") == text.count("other-p recorded") == 1
    assert len(cells(suite)) == len(json.loads((suite.path / "baselines" / "parity.json").read_text())["cells"]) == 4
    assert sorted(path.name for path in (suite.path / "baselines").iterdir()) == ["parity.json"]
    assert not (suite.path / "written-by-a-worker").exists()


def test_a_session_without_cells_is_distributed_as_if_we_were_not_there(pytester):
    pytester.makepyfile(
        """
        import sys
        import pytest

        @pytest.mark.parametrize("n", ["tiny-p", "a@b", "c"])
        def test_it(n):
            assert "pytest_bettertogether.plugin.distribution" not in sys.modules
        """
    )
    result = pytester.runpytest("-n2", "-v", "-p", "no:randomly")
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(["scheduling tests via LoadScheduling", "*test_it[[]a@b] "])


class Worker:
    """Notes what it is told to run."""

    shutting_down = False

    def __init__(self):
        self.gateway, self.sent = SimpleNamespace(id="gw"), []

    def send_runtest_some(self, indices):
        self.sent.append(list(indices))

    def shutdown(self):
        self.shutting_down = True


def schedule(pytester, kind, names, groups, finished=0):
    """What two workers are told to run, at first and after the first of them has finished some tests."""
    config = pytester.parseconfig("--dist=load", "--tx=2*popen")
    config.stash[distribution.GROUPS] = groups
    scheduling, pair = kind(config, Producer("", enabled=False)), [Worker(), Worker()]
    for worker in pair:
        scheduling.add_node(worker)
        scheduling.add_node_collection(worker, names)
    scheduling.schedule()
    for index in [index for some in pair[0].sent for index in some][:finished]:
        scheduling.mark_test_complete(pair[0], index)
    return [worker.sent for worker in pair]


@pytest.mark.parametrize("count", [0, 1, 3, 4, 9, 60])
def test_without_cells_the_chunks_are_those_of_xdist(pytester, count):
    names = [f"test_{n}" for n in range(count)]
    theirs = schedule(pytester, scheduler.LoadScheduling, names, {}, finished=2)
    assert schedule(pytester, distribution.LoadScheduling, names, {}, finished=2) == theirs


def test_a_chunk_ends_with_the_whole_group_of_the_first_cell_in_it(pytester):
    names = ["t0", "a1", "t2", "b3", "a4", "t5", "b6", "t7", "t8", "t9"]
    groups = {name: name[0] for name in names if name[0] != "t"}
    first, second = schedule(pytester, distribution.LoadScheduling, names, groups)
    assert first == [[0, 1, 4]]
    assert second == [[2, 3, 6]]
    first, second = schedule(pytester, distribution.LoadScheduling, names, groups, finished=3)
    assert first[:2] == [[0, 1, 4], [5]]


def test_few_cells_are_not_torn_apart_either(pytester):
    assert schedule(pytester, distribution.LoadScheduling, ["a0", "a1", "b2"], {"a0": "a", "a1": "a", "b2": "b"}) == [
        [[0, 1]],
        [[2]],
    ]


def test_xdist_is_optional(suite):
    code = "import sys, pytest_bettertogether.plugin; sys.exit('xdist' in sys.modules or 'execnet' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
    run(suite, "-p", "no:xdist", "--bt-strategy=zero").assert_outcomes(passed=1)
