"""SECURITY.md: each guard that it claims names a file of tests, and that file is there."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_each_claims_tests_exist():
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| ")][1:]
    assert len(rows) > 9
    for row in rows:
        (name,) = re.findall(r"`(tests/test_\w+\.py)` \|$", row)
        assert "def test_" in (ROOT / name).read_text(encoding="utf-8")
