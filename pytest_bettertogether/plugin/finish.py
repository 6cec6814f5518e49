"""The end of a session: write the baselines and reports that were asked for, and say so."""

import os
import platform
import time
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import pytest

from ..command.publishing import publish
from ..gate.git import commit
from ..gate.recording import obsolete_baselines, record_baselines
from ..report.building import build
from ..report.github import annotations
from ..report.markdown import step_summary
from ..report.model import Report
from .keys import OUTERMOST
from .session import Session


def write_files(session: Session, config: pytest.Config, started: float) -> list[str]:
    """Write everything; `started` is the Unix time at which the session began. Returns a line on each file."""
    settings, root, lines = session.settings, config.rootpath, list[str]()
    written = [obsolete_baselines(session.obsolete, root, settings.prune_baselines)]
    if settings.update_baselines and session.records:
        only_new = settings.update_baselines == "new"
        written.insert(0, record_baselines(session.records, root, settings.alpha, only_new))
    for baselines in written:
        lines += (*baselines.lines, *baselines.failures)
        session.unwritten += len(baselines.failures)
    frozen = [record.result for record in session.records if record.result and not record.result.refused]
    if settings.export and frozen:
        lines.append(f"frozen programs: {sum(len(result.seeds) for result in frozen)} in {settings.export}")
    if not session.records:
        return lines
    report = session.report = build(session.records, _run(config, started), root)
    for kind, path in settings.reports:
        try:
            lines += publish(kind, path, report, settings.outlets)
        except Exception as error:  # whatever a template or a chart library raises: the other reports are still written
            said = str(error) if isinstance(error, OSError) else f"{type(error).__name__}: {error}"
            lines.append(f"{kind} report NOT written to {path}: {said}")
    summary = os.environ.get("GITHUB_STEP_SUMMARY")
    if config.stash[OUTERMOST] and summary:
        try:
            with open(summary, "a", encoding="utf-8", errors="backslashreplace") as file:
                file.write(step_summary(report) + "\n")
        except OSError as error:
            lines.append(f"step summary NOT written to {summary}: {error}")
    return lines


def annotation_lines(report: Report, config: pytest.Config) -> list[str]:
    """Workflow commands for the cells that are to be seen to, where GitHub reads them."""
    if not config.stash[OUTERMOST]:
        return []
    workspace = os.environ.get("GITHUB_WORKSPACE", "")
    inside = workspace and config.rootpath.is_relative_to(workspace)
    prefix = config.rootpath.relative_to(workspace).as_posix() if inside else "."
    return list(annotations(report, "" if prefix == "." else f"{prefix}/"))


def _run(config: pytest.Config, started: float) -> dict[str, Any]:
    return {
        "started": datetime.fromtimestamp(started, UTC).isoformat(timespec="seconds"),
        "seconds": max(0.0, time.time() - started),
        "version": version("pytest-bettertogether"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "commit": commit(config.rootpath),
        "arguments": [str(argument) for argument in config.invocation_params.args],
    }
