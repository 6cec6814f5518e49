"""GPUs under pytest-xdist, on a machine that need not have any: the driver's own list of them is faked."""

import os

import pytest
from parrot import CONFTEST, SUITE

from pytest_bettertogether.engines import devices

NOTING = '''


class Placed(Engine):
    """Notes where it was loaded."""

    def __init__(self, model, adapters, offline):
        super().__init__(model, adapters, offline)
        import os
        with open("placed", "a") as log:
            log.write(f"{model.name}:{os.environ.get('CUDA_VISIBLE_DEVICES')} ")
'''


@pytest.fixture
def gpus(tmp_path, monkeypatch):
    """Make the machine have so many."""

    def install(count):
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        command = folder / "nvidia-smi"
        command.write_text("#!/bin/sh\n" + "".join(f"echo 'GPU {n}: H200 (UUID: GPU-{n})'\n" for n in range(count)))
        command.chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")

    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return install


@pytest.fixture
def suite(pytester):
    pytester.makeconftest(CONFTEST.replace('"conftest:Engine"', '"conftest:Placed"') + NOTING)
    pytester.makepyfile(test_parity=SUITE)
    return pytester


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    """Claims meet in here, and leave nothing behind."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    yield
    assert not list(folder.glob("bettertogether-*"))


def run(suite, *args):
    return suite.runpytest_subprocess("--bt-gate=off", "--bt-seeds=0", "--bt-strategy=zero", "--bt-model=parrot", *args)


@pytest.mark.parametrize(
    ("visible", "expected"),
    [
        (None, ("0", "1", "2")),
        ("2,0", ("2", "0")),
        ("1", ("1",)),
        ("", ()),
        ("-1", ()),
        ("1,7,0", ("1",)),
        ("GPU-2, GPU-0", ("GPU-2", "GPU-0")),
    ],
)
def test_usable_are_those_that_the_caller_may_see(gpus, monkeypatch, visible, expected):
    gpus(3)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert devices.usable() == expected


def test_where_there_is_no_driver_there_are_none(gpus, monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert devices.usable() == ()


@pytest.mark.parametrize(("count", "workers"), [(0, 1), (2, 2)])
def test_n_auto_is_a_worker_per_gpu_where_suites_are_selected(suite, gpus, count, workers):
    gpus(count)
    run(suite, "-n", "auto").stdout.fnmatch_lines([f"{workers} worker*"])


def test_n_auto_is_xdists_where_none_are(pytester, gpus, monkeypatch):
    gpus(2)
    monkeypatch.setenv("PYTEST_XDIST_AUTO_NUM_WORKERS", "3")
    pytester.makepyfile("def test_plain():\n    pass\n")
    pytester.runpytest_subprocess("-n", "auto").stdout.fnmatch_lines(["3 workers*"])


def test_each_model_gets_a_gpu_of_its_own_among_those_of_the_caller(suite, gpus, monkeypatch):
    gpus(4)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,1")
    assert run(suite, "--bt-model=other", "-n2").ret == 0
    placed = (suite.path / "placed").read_text().split()
    assert {each.partition(":")[0] for each in placed} == {"parrot", "other"}
    assert sorted(each.partition(":")[2] for each in placed) == ["1", "3"]


def test_more_models_at_once_than_gpus_are_refused_before_anything_runs(suite, gpus):
    gpus(1)
    result = run(suite, "--bt-model=other", "-n2")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*-n2 would load 2 models at once, and 1 GPU is usable: use -n1, or -n auto"])
    assert run(suite, "-n2").ret == 0  # one model


def test_groups_of_the_user_that_need_more_are_refused_when_they_load(suite, gpus):
    gpus(1)
    suite.makepyfile(
        test_parity=SUITE.replace("(better_together, bt_baseline)", "(better_together, bt_baseline, turn)")
        + "\n\n@pytest.fixture(params=[pytest.param(n, marks=pytest.mark.xdist_group(str(n))) for n in (1, 2)])\n"
        "def turn(request):\n    return request.param\n"
    )
    result = run(suite, "-n2")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*BackendError: more than 1 xdist worker would load a model, and 0 is all the GPUs*"])


def test_a_cpu_is_shared_by_any_number(suite, gpus):
    gpus(0)
    assert run(suite, "--bt-model=other", "-n2").ret == 0
    assert set((suite.path / "placed").read_text().split()) == {"parrot:None", "other:None"}
