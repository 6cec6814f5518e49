"""A handful of kills, on the scripted engine; `tox -e crash` does it for long, and on the embedded model."""

import random

from crash import Crash
from parrot import CONFTEST, SUITE

SLOW = CONFTEST.replace("        return [Completion(", "        time.sleep(0.02)\n        return [Completion(").replace(
    "import tempfile\n", "import tempfile\nimport time\n"
)


def test_killed_runs_end_with_the_results_of_one_that_was_not(tmp_path):
    (tmp_path / "conftest.py").write_text(SLOW)
    (tmp_path / "test_parity.py").write_text(SUITE)
    (tmp_path / "runs").mkdir()
    command = ["--bt-model=parrot", "--bt-seeds=0", "--bt-gate=off", "-p", "no:hypothesispytest"]
    outcome = Crash(command, tmp_path, tmp_path / "runs", random.Random(0), 0.6).torture(6)
    assert outcome.differences == []
    assert outcome.kills >= 6
    assert 0 <= outcome.done["calls"] - outcome.needed["calls"] <= 40 * outcome.kills  # at most the batch in flight
    assert "differences to an uninterrupted run | 0 |" in outcome.markdown()
