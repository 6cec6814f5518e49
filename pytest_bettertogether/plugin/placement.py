"""Where pytest-xdist's workers compute: one model per GPU, on GPUs that the caller may use."""

import tempfile
from fnmatch import fnmatch
from pathlib import Path

import pytest

from ..engines.devices import Claim, usable
from ..pipeline.errors import BackendError


def workers(config: pytest.Config) -> int | None:
    """What `-n auto` is worth where suites are selected: a worker per usable GPU, or one; else xdist decides."""
    return max(1, len(usable())) if _selects_suites(config) else None


def check(config: pytest.Config, models: int) -> None:
    """Raise UsageError, on the controller, if more workers would load models than there are GPUs, and there are any."""
    count = getattr(config.option, "numprocesses", None)
    if hasattr(config, "workerinput") or not isinstance(count, int) or min(count, models) < 2:
        return
    gpus = len(usable())
    if 0 < gpus < min(count, models):
        raise pytest.UsageError(
            f"-n{count} would load {min(count, models)} models at once, and {gpus} GPU{'s are' if gpus > 1 else ' is'} "
            f"usable: use -n{gpus}, or -n auto"
        )


def place(config: pytest.Config) -> Claim | None:
    """On one worker of several, take a GPU for this process, if there are any; raises BackendError if all are taken."""
    workerinput = getattr(config, "workerinput", {})
    devices = usable() if workerinput.get("workercount", 1) > 1 else ()
    if not devices:
        return None
    claim = Claim(Path(tempfile.gettempdir()) / f"bettertogether-{workerinput['testrunuid']}")
    if claim.take(devices) is None:
        raise BackendError(
            f"more than {len(devices)} xdist worker{'s' * (len(devices) > 1)} would load a model, and "
            f"{', '.join(devices)} {'are' if len(devices) > 1 else 'is'} all the GPUs that are usable: "
            f"use -n{len(devices)}, or -n auto"
        )
    return claim


def _selects_suites(config: pytest.Config) -> bool:
    """Whether a test file among the arguments has our marker; looked up in its text, for nothing is collected yet."""
    patterns = config.getini("python_files")
    for argument in config.args:
        path = config.invocation_params.dir / str(argument).partition("::")[0]
        files = (file for file in path.rglob("*.py") if _shown(file, path)) if path.is_dir() else [path]
        for file in files:
            if (file == path or any(fnmatch(file.name, pattern) for pattern in patterns)) and _marked(file):
                return True
    return False


def _shown(file: Path, under: Path) -> bool:
    return not any(part.startswith(".") for part in file.relative_to(under).parts)


def _marked(file: Path) -> bool:
    try:
        return "mark.bettertogether" in file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
