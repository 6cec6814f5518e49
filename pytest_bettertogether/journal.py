"""The journal: what has been paid for, completions and adapters, kept so that it can be replayed.

Nothing else is stored: searches, metrics and verdicts are computed again from these two,
so that a changed metric or parser never meets an old verdict. A batch is replayed whole or
computed whole.
"""

import hashlib
import json
import sqlite3
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .backends import Backend, Completion, Prompt, Training, TrainingRow, adapter_digest
from .errors import JournalError
from .program import Adapter
from .recipe import LoraTuning, Sampling
from .results import Usage

SCHEMA = 1
PATIENCE = 60.0
"""Seconds to wait for another process that is writing."""


class Journal:
    """A folder with a data base of completions and a folder of adapters; several processes may share it."""

    def __init__(self, folder: Path, fresh: bool = False) -> None:
        self.folder, self.fresh = folder, fresh
        self.adapters = folder / "adapters"
        try:
            self.adapters.mkdir(parents=True, exist_ok=True)
            (folder / ".gitignore").write_text("*\n", encoding="utf-8")
            self._connection = sqlite3.connect(folder / "journal.sqlite", timeout=PATIENCE, isolation_level=None)
            try:
                self._set_up()
            except BaseException:  # whatever it was goes on; an open connection must not be left to the collector
                self._connection.close()
                raise
        except (OSError, sqlite3.Error) as error:
            raise JournalError(
                f"journal {folder} cannot be used: {error}: delete it, or name another with --bt-journal"
            ) from error

    def _set_up(self) -> None:
        """Make the table, or check that it is ours; several processes may be at it at once."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                self._connection.execute("PRAGMA journal_mode = WAL")
                break
            except sqlite3.OperationalError as error:
                # SQLite's own patience does not cover the switch to WAL: it fails at once while another opens.
                if "locked" not in str(error) or time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
        self._connection.execute("BEGIN IMMEDIATE")
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        if version == 0:
            self._connection.execute("CREATE TABLE entry (key TEXT PRIMARY KEY, checksum TEXT, value TEXT)")
            self._connection.execute(f"PRAGMA user_version = {SCHEMA}")
        self._connection.execute("COMMIT")
        if version not in (0, SCHEMA):
            raise JournalError(
                f"journal {self.folder} has schema {version}, this version reads {SCHEMA}: "
                "name another folder with --bt-journal, or delete this one"
            )

    def close(self) -> None:
        """Let go of the data base."""
        self._connection.close()

    def get(self, key: str) -> Any:
        """The JSON value kept under `key`, or None; a damaged entry is as good as none."""
        if self.fresh:
            return None
        with closing(self._connection.execute("SELECT checksum, value FROM entry WHERE key = ?", (key,))) as found:
            row = found.fetchone()
        if row is None or row[0] != _checksum(key, row[1]):
            return None
        return json.loads(row[1])

    def put(self, key: str, value: Any) -> None:
        """Keep a JSON value, in place of any that was there."""
        text = json.dumps(value)  # in ASCII: a model may emit lone surrogates, which UTF-8 cannot hold
        try:
            self._connection.execute(
                "INSERT OR REPLACE INTO entry (key, checksum, value) VALUES (?, ?, ?)",
                (key, _checksum(key, text), text),
            )
        except sqlite3.Error as error:
            raise JournalError(f"journal {self.folder} cannot be written: {error}") from error


class Journaled:
    """An engine that asks the journal first. Counts what it had to compute (`paid`, `train_steps`)."""

    def __init__(self, engine: Backend, journal: Journal) -> None:
        self.engine, self.journal = engine, journal
        self.identity = engine.describe()
        self.paid, self.train_steps = Usage(), 0

    def describe(self) -> dict[str, str]:
        """The engine's own description."""
        return self.identity

    def generate(
        self, prompts: Sequence[Prompt], sampling: Sampling, adapter: Adapter | None = None
    ) -> list[Completion]:
        """Replay this very batch, or compute and keep it."""
        key = _key(
            "completions",
            self.identity,
            adapter=adapter.digest if adapter else "",
            sampling=asdict(sampling),
            prompts=[
                # Greedy tokens need no noise, so that every seed shares them.
                [[m.role, m.content] for m in prompt.messages] + ([prompt.noise] if sampling.temperature else [])
                for prompt in prompts
            ],
        )
        kept = self.journal.get(key)
        if kept is not None:
            return [Completion(*each) for each in kept]
        completions = self.engine.generate(prompts, sampling, adapter)
        self.paid += Usage(
            len(completions),
            sum(each.prompt_tokens for each in completions),
            sum(each.completion_tokens for each in completions),
        )
        kept = [[each.text, each.prompt_tokens, each.completion_tokens, each.truncated] for each in completions]
        self.journal.put(key, kept)
        return completions

    def finetune(
        self, rows: Sequence[TrainingRow], recipe: LoraTuning, seed: int, start: Adapter | None = None
    ) -> Training:
        """Replay this very training, if its adapter is still whole, or do and keep it."""
        trained = {key: value for key, value in asdict(recipe).items() if key not in {"attempts", "min_traces"}}
        key = _key(
            "adapter",
            self.identity,
            start=start.digest if start else "",
            recipe=trained,
            seed=seed,
            rows=[[[[m.role, m.content] for m in row.messages], row.completion] for row in rows],
        )
        kept = self.journal.get(key)
        if kept is not None:
            folder = self.journal.adapters / kept["digest"]
            if adapter_digest(folder) == kept["digest"]:
                return Training(Adapter(str(folder), kept["digest"]), tuple(kept["losses"]), kept["steps"])
        training = self.engine.finetune(rows, recipe, seed, start)
        self.train_steps += training.steps
        self.journal.put(key, {"digest": training.adapter.digest, "losses": training.losses, "steps": training.steps})
        return training


def _key(kind: str, identity: Mapping[str, str], **parts: Any) -> str:
    text = json.dumps([kind, SCHEMA, identity, parts], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _checksum(key: str, value: str) -> str:
    return hashlib.sha256(f"{key}\n{value}".encode()).hexdigest()[:16]
