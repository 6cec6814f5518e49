"""The peers, each in a virtual environment of its own: their pins clash, and their imports are part of what they cost.

They are made at the first run, beside the benchmark's own environment (or where BENCH_PEERS says), and kept.
"""

import json
import os
import subprocess
import sys
import venv
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
HOME = Path(os.environ.get("BENCH_PEERS", Path(sys.prefix) / "peers"))

PINS = {
    "dspy": ["dspy==3.4.1"],
    "inspect-ai": ["inspect-ai==0.3.285", "openai"],
    "deepeval": ["deepeval==4.3.1"],
    "pytest-evals": ["pytest-evals==0.3.4", "pytest==9.2.0"],
    "pytest-benchmark": ["pytest-benchmark==5.3.1", "pytest==9.2.0"],
}
"""What each peer's environment holds. lm-eval shares ours: it is measured in this very process."""


class UnavailableError(Exception):
    """A peer cannot be had here; says why."""


@cache
def python(peer: str) -> str:
    """The interpreter of a peer's environment, which is made if it is not there."""
    home = HOME / peer
    executable = home / "bin" / "python"
    if not (home / "complete").exists():
        if not executable.exists():
            venv.create(home, with_pip=True)
        command = [str(executable), "-m", "pip", "install", "-q", *PINS[peer]]
        # Our pins are not theirs.
        mine = {name: value for name, value in os.environ.items() if name != "PIP_CONSTRAINT"}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=mine)
        if done.returncode:
            raise UnavailableError(f"pip install {' '.join(PINS[peer])} failed: {done.stderr.strip().splitlines()[-1]}")
        (home / "complete").touch()
    return str(executable)


def ask(peer: str, side: str, *args: str, env: dict[str, str] | None = None) -> dict[str, object]:
    """Run sides/SIDE.py in a peer's environment; the JSON of its last line. Raises UnavailableError."""
    command = [python(peer), str(ROOT / "tests" / "benchmarks" / "sides" / f"{side}.py"), *args]
    quiet = {
        "DEEPEVAL_TELEMETRY_OPT_OUT": "YES",
        "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}",
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, **quiet, **(env or {})}
    )
    if done.returncode:
        why = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        raise UnavailableError(f"{peer}: {why[:300]}")
    found: dict[str, object] = json.loads(done.stdout.strip().splitlines()[-1])
    return found
