"""The sdist and the wheel: what is in them and what is not, and the wheel at work in a project of somebody else's."""

import email
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from pytest_bettertogether.journal.store import Journal

pytest.importorskip("hatchling", reason="builds with hatchling, of the test extra")

ROOT = Path(__file__).parent.parent
CLUTTER = shutil.ignore_patterns(".git", ".venv", ".tox", ".bettertogether", "__pycache__", ".*_cache", "build", "dist")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Both, built in a copy of the clone in which runs have left their journals."""
    tree = tmp_path_factory.mktemp("packaging") / "clone"
    shutil.copytree(ROOT, tree, ignore=CLUTTER)
    for journal in (tree / ".bettertogether", tree / "suites" / ".bettertogether"):
        journal.mkdir()
        (journal / ".gitignore").write_text("*\n")
        (journal / "completions.sqlite").write_text("what a model said")
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(tree.parent / "dist")]
    subprocess.run(command, cwd=tree, check=True, capture_output=True)
    return tree.parent / "dist"


@pytest.fixture(scope="module")
def wheel(built):
    (found,) = built.glob("*.whl")
    return found


def parts(name):
    return set(Path(name).parts)


def test_the_sdist_holds_what_builds_and_tests_it_and_no_journal(built):
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "LICENSE", "README.md", "tests/conftest.py", "suites/test_iris.py"} <= names
    assert {"pytest_bettertogether/py.typed", "pytest_bettertogether/tiny/weights/model.safetensors"} <= names
    unwanted = {".bettertogether", "__pycache__", ".venv", ".tox", "replication", ".git"}
    assert [name for name in names if parts(name) & unwanted] == []


def journals_in_sdist(folder, back_end, configuration, **more):
    """The files of a journal that are in the sdist of somebody's project with this back end."""
    project = folder / "project"
    (project / "mine").mkdir(parents=True)
    (project / "mine" / "__init__.py").write_text("")
    head = '[project]\nname = "mine"\nversion = "1"\n[build-system]\nrequires = []\n'
    (project / "pyproject.toml").write_text(f'{head}build-backend = "{back_end}"\n{configuration}')
    Journal(project / ".bettertogether").close()
    for name, text in more.items():
        (project / name.replace("_", ".")).write_text(text)
    build = f"import os; from {back_end} import build_sdist; os.makedirs('dist'); build_sdist('dist')"
    subprocess.run([sys.executable, "-c", build], cwd=project, check=True, capture_output=True)
    (sdist,) = (project / "dist").glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        return [name for name in archive.getnames() if ".bettertogether" in parts(name)]


def test_the_lines_in_the_docs_keep_a_journal_out_of_everybodys_sdist(tmp_path):
    docs = (ROOT / "docs" / "journal.md").read_text()
    (lines,) = re.findall(r"```toml\n(.*?)```", docs, re.DOTALL)
    assert journals_in_sdist(tmp_path / "without", "hatchling.build", "") != []
    assert journals_in_sdist(tmp_path / "with", "hatchling.build", lines) == []
    assert journals_in_sdist(tmp_path / "ignored", "hatchling.build", "", _gitignore=".bettertogether/\n") == []


def test_setuptools_packs_no_journal_unless_it_is_told_to(tmp_path):
    pytest.importorskip("setuptools", reason="builds with setuptools, where that is installed")
    assert journals_in_sdist(tmp_path / "plain", "setuptools.build_meta", "") == []
    everything = "graft .\n"
    assert journals_in_sdist(tmp_path / "all", "setuptools.build_meta", "", MANIFEST_in=everything) != []
    pruned = f"{everything}prune .bettertogether\n"
    assert journals_in_sdist(tmp_path / "pruned", "setuptools.build_meta", "", MANIFEST_in=pruned) == []


def test_the_wheel_holds_the_package_with_all_that_it_reads_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"pytest_bettertogether"}
    assert [name for name in names if parts(name) & {".bettertogether", "__pycache__", "tests", "suites"}] == []
    package = ROOT / "pytest_bettertogether"
    there = {str(path.relative_to(ROOT)) for path in package.rglob("*") if path.is_file()}
    wanted = {name for name in there if not parts(name) & {"__pycache__", ".bettertogether"}}
    assert wanted - set(names) == set()
    assert sum(entry.compress_size for entry in zipfile.ZipFile(wheel).infolist()) < 12_000_000


def test_the_index_page_has_no_link_that_is_dead_there(wheel):
    archive = zipfile.ZipFile(wheel)
    (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
    metadata = email.message_from_bytes(archive.read(name))
    page = metadata.get_payload()
    assert "# pytest-bettertogether" in page
    assert [link for link in re.findall(r"\]\(([^)]*)\)", page) if not link.startswith(("https://", "#"))] == []
    assert {"Programming Language :: Python :: 3.13"} <= set(metadata.get_all("Classifier"))
    assert metadata.get_all("Project-URL")


SUITE = """
import pytest
import pytest_bettertogether
from pytest_bettertogether import Predict, Program, Splits, Task, exact_match


class Classify(Program):
    def __init__(self):
        self.say = Predict("length -> kind")

    def forward(self, length):
        return self.say(length=length)


def data():
    rows = [{"id": n, "length": str(n), "kind": "short" if n < 20 else "long"} for n in range(30)]
    return Splits.of(rows[::3], rows[1::3], rows[2::3])


@pytest.mark.bettertogether(Task(Classify, data, exact_match("kind"), name="kinds"), strategies=["zero"])
def test_kinds(better_together):
    result = better_together()
    assert 0.0 <= result.score <= 1.0
    print("by", pytest_bettertogether.__file__)
"""


def installed(wheel, folder):
    """A folder to put on the path, with the wheel's content and entry points."""
    home = folder / "site"
    command = ["-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--target", str(home), str(wheel)]
    subprocess.run([sys.executable, *command], check=True)
    return home


def run(folder, home, *args, **more):
    environment = {**os.environ, "PYTHONPATH": str(home), "OMP_NUM_THREADS": "1", **more}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rP", "--bt-gate=off", "--bt-seeds=0", *args]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_installed_into_an_empty_project_it_runs_a_suite_on_the_model_that_it_ships(wheel, tmp_path):
    pytest.importorskip("torch", reason="the embedded model needs the hf extra")
    home, project = installed(wheel, tmp_path), tmp_path / "project"
    project.mkdir()
    (project / "test_kinds.py").write_text(SUITE)
    done = run(project, home, "--bt-report=json:report.json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"by {home}" in done.stdout
    assert {path.name for path in project.iterdir()} >= {"test_kinds.py", "report.json", ".bettertogether"}


def test_without_torch_the_default_model_is_refused_in_one_sentence(wheel, tmp_path):
    home, project = installed(wheel, tmp_path), tmp_path / "project"
    project.mkdir()
    (project / "test_kinds.py").write_text(SUITE)
    (home / "sitecustomize.py").write_text(
        "import importlib.util, sys\n"
        "found = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *args: None if name == 'torch' else found(name, *args)\n"
        "sys.modules['torch'] = None\n"
    )
    done = run(project, home)
    assert done.returncode != 0
    shown = done.stdout + done.stderr
    assert "pip install 'pytest-bettertogether[hf]'" in shown
    assert "Traceback" not in shown
    assert len(shown.splitlines()) < 40
