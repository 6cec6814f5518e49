"""The end of a session: write the baselines and reports that were asked for, and say so."""

import json
import platform
import time
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import pytest

from ..atomic import write_text
from ..gate.git import commit
from ..gate.recording import obsolete_lines, record_baselines
from ..report.document import document
from ..report.markdown import markdown
from .session import Session


def write_files(session: Session, config: pytest.Config, started: float) -> list[str]:
    """Write everything; `started` is the Unix time at which the session began. Returns a line on each file."""
    settings, root, lines = session.settings, config.rootpath, list[str]()
    if settings.update_baselines and session.records:
        lines += record_baselines(session.records, root, settings.alpha, settings.update_baselines == "new")
    lines += obsolete_lines(session.obsolete, root, settings.prune_baselines)
    frozen = [each.result for each in session.records if each.result and not each.result.refused]
    if settings.export and frozen:
        lines.append(f"frozen programs: {sum(len(each.seeds) for each in frozen)} in {settings.export}")
    for kind, path in settings.reports if session.records else ():
        if kind == "json":
            text = json.dumps(document(session.records, _run(config, started)), indent=1) + "\n"
        else:
            text = markdown(session.records)
        try:
            write_text(path, text)
            lines.append(f"{kind} report: {path}")
        except OSError as error:
            lines.append(f"{kind} report NOT written to {path}: {error}")
    return lines


def _run(config: pytest.Config, started: float) -> dict[str, Any]:
    return {
        "started": datetime.fromtimestamp(started, UTC).isoformat(timespec="seconds"),
        "seconds": max(0.0, time.time() - started),
        "version": version("pytest-bettertogether"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "commit": commit(config.rootpath),
        "arguments": [str(each) for each in config.invocation_params.args],
    }
