"""Under pytest-xdist: which worker runs a cell, and what the workers tell the controller.

All cells of a model go to one worker, which loads one engine and shares their steps.

The workers collect; the controller hands tests out and knows them by id only, which does not say
whose they are. So each worker names the groups of its cells on an execnet channel of its own, and
later how far the cell has come that it runs, for the controller to show. Ids
stay what they are in reports, in the cache of `--lf` and in the commands that users copy.
"""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from execnet import Channel
from xdist import scheduler  # type: ignore[import-untyped]  # annotated, but without py.typed

from ..running.progress import Snapshot
from .display import open_display
from .keys import DISPLAY

if TYPE_CHECKING:  # a session without cells never loads it
    from .session import Session

CHANNEL = "bettertogether"
"""Key of a worker's `workerinput`, and of its `workeroutput`."""
OFTEN = 0.5
"""Seconds between two messages on the same stage."""
GROUPS: pytest.StashKey[dict[str, str]] = pytest.StashKey()
"""On the controller's config: the group of each cell, by the cell's id."""
CELLS: pytest.StashKey[dict[str, str]] = pytest.StashKey()
"""On the controller's config: the record, as JSON, of each cell should its worker crash, by the cell's id."""


def listen(node: Any) -> None:
    """Give a worker that is about to start the channel for `tell` and `Teller`."""
    node.workerinput[CHANNEL] = channel = node.gateway.newchannel()
    channel.setcallback(partial(_heard, node.config, node.gateway.id))


def _heard(config: pytest.Config, worker: str, message: Mapping[str, Any]) -> None:
    """Take in what a worker says, on execnet's thread."""
    if "groups" in message:
        config.stash.setdefault(GROUPS, {}).update(message["groups"])
        config.stash.setdefault(CELLS, {}).update(message["cells"])
        open_display(config, message["number"], several=True)
    elif display := config.stash.get(DISPLAY, None):
        snapshot = message["at"]
        if snapshot:
            display.show(Snapshot(**snapshot), worker)
        else:
            display.over(worker)


def tell(workerinput: Mapping[str, Any], cells: Sequence[pytest.Item], session: "Session") -> None:
    """Send the group and the record of each cell, from a worker; they arrive before the ids that it sends next."""
    groups, records = {}, {}
    for cell in cells:
        group = _group(cell)
        if group:
            groups[cell.nodeid] = group
        record = session.unreported(cell, "invalid", "the worker process that ran it crashed")
        if record:
            records[cell.nodeid] = json.dumps(record.to_json())
    workerinput[CHANNEL].send({"groups": groups, "cells": records, "number": len(cells)})


@dataclass
class Teller:
    """Tells the controller, from a worker, where the cell is that runs: each new stage, and now and then between."""

    channel: Channel
    last: float = 0.0
    at: tuple[str, str, str] = ("", "", "")

    def show(self, snapshot: Snapshot) -> None:
        """Send where the cell is."""
        now, at = time.monotonic(), (snapshot.cell, snapshot.stage, snapshot.detail)
        if at != self.at or now - self.last >= OFTEN:
            self.at, self.last = at, now
            self.channel.send({"at": asdict(snapshot)})

    def over(self) -> None:
        """Say that no cell runs."""
        self.channel.send({"at": None})


def crashed(config: pytest.Config, nodeid: str) -> str | None:
    """On the controller, the record of a cell whose worker crashed, as JSON; None for a test without a cell."""
    return config.stash.get(CELLS, {}).get(nodeid)


def leave(workeroutput: dict[str, Any], obsolete: Mapping[Path, Sequence[str]], damaged: Mapping[str, int]) -> None:
    """Leave what a worker knows of obsolete baselines, and of damage to the journal, where the controller finds it."""
    found = {str(path): list(cells) for path, cells in obsolete.items()}
    workeroutput[CHANNEL] = {"obsolete": found, "damaged": dict(damaged)}


def left(node: Any) -> tuple[dict[Path, tuple[str, ...]], dict[str, int]]:
    """What a worker that is done left, on the controller; nothing of one that crashed."""
    found = getattr(node, "workeroutput", {}).get(CHANNEL, {})
    obsolete = {Path(path): tuple(cells) for path, cells in found.get("obsolete", {}).items()}
    return obsolete, found.get("damaged", {})


def make_scheduler(config: pytest.Config, log: Any) -> Any:
    """What hands the tests out (xdist's Scheduling), or None where xdist shall do what the user chose."""
    kind = SCHEDULERS.get(config.option.dist)
    return kind(config, log) if kind else None


def _group(cell: pytest.Item) -> str:
    """The user's own group, which may split a model or join two, or else the model."""
    marks = cell.iter_markers("xdist_group")
    names = {str(mark.args[0] if mark.args else mark.kwargs.get("name", "default")) for mark in marks}
    callspec = getattr(cell, "callspec", None)
    model = callspec.params.get("bt_model") if callspec else None
    return "_".join(sorted(names)) or getattr(model, "name", "")


# The two keep xdist's names: `-v` shows them, and to sessions without cells they are what they were.


class LoadScheduling(scheduler.LoadScheduling):  # type: ignore[misc]
    """Hands tests out in xdist's chunks, save that a chunk which meets a cell ends with that cell's whole group."""

    # Private to xdist, but all its ways lead through here. Were it renamed, cells would be handed out like any tests.
    def _send_tests(self, node: Any, num: int) -> None:
        known = self.config.stash.get(GROUPS, {})
        if known and self.collection:
            groups = [known.get(nodeid) for nodeid in self.collection]
            met = next((groups[index] for index in self.pending[:num] if groups[index]), None)
            if met:
                before = takewhile(lambda index: not groups[index], self.pending)
                chunk = [*before, *(index for index in self.pending if groups[index] == met)]
                taken, num = set(chunk), len(chunk)
                self.pending[:] = [*chunk, *(index for index in self.pending if index not in taken)]
        super()._send_tests(node, num)


class LoadGroupScheduling(scheduler.LoadGroupScheduling):  # type: ignore[misc]
    """Treats the cells of a model as xdist treats tests with one xdist_group mark."""

    def _split_scope(self, nodeid: str) -> str:
        scope: str = self.config.stash.get(GROUPS, {}).get(nodeid) or super()._split_scope(nodeid)
        return scope


SCHEDULERS: Mapping[str, type[LoadScheduling] | type[LoadGroupScheduling]] = {
    "load": LoadScheduling,
    "loadgroup": LoadGroupScheduling,
}
"""The values of --dist that leave it to us where cells run."""
