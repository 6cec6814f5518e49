"""The crash test: kill runs at random moments, let each go on from the last, compare with a run that nobody killed.

    tox -e crash                          at least 100 kills of the Iris grid, about 20 minutes
    python tests/crash.py --kills 10      fewer

Prints a Markdown table: what was killed where, the work that was done twice, and what came out different.
As a pytest plugin (`-p crash`) it notes what a run is at, in the file named by BT_CRASH_NOTES.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parent.parent
NOTES = "BT_CRASH_NOTES"
STARTING = "starting"
SIGNALS = {"SIGKILL": signal.SIGKILL, "SIGINT": signal.SIGINT}


class Notes:
    """What a run is at, in a file of fixed width, and what work it has begun, in another."""

    def __init__(self, path):
        self.state = os.open(path, os.O_RDWR | os.O_CREAT)
        self.work = os.open(f"{path}.work", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self.at(STARTING)

    def at(self, phase):
        os.pwrite(self.state, phase.ljust(40).encode(), 0)

    def begin(self, kind, count):
        os.write(self.work, f"{kind} {count}\n".encode())

    def during(self, phase, function, count=None):
        """The function, noting that it runs and, before it does, the work (kind, amount) that `count` says."""

        def noting(*args, **kwargs):
            before = os.pread(self.state, 40, 0)
            if count:
                self.begin(*count(*args))
            self.at(phase)
            try:
                return function(*args, **kwargs)
            finally:
                os.pwrite(self.state, before, 0)

        return noting


def pytest_configure(config):
    """Inside a run: watch the engine, the training loop and whatever writes."""
    if NOTES not in os.environ:
        return
    from pytest_bettertogether.cells import engines_in_use
    from pytest_bettertogether.journal.store import Journal
    from pytest_bettertogether.pipeline import atomic

    notes, load = Notes(os.environ[NOTES]), engines_in_use.load
    Journal.put = notes.during("writing completions", Journal.put)
    atomic.os.replace = notes.during("renaming a file", os.replace)

    def watched(*args):
        engine = load(*args)
        notes.at("between two batches")
        engine.generate = notes.during(
            "computing a batch", engine.generate, lambda prompts, *_: ("calls", len(prompts))
        )
        engine.finetune = notes.during("starting a training", engine.finetune)
        if engine.describe()["backend"] == "hf":
            from pytest_bettertogether.engines.hf import checkpoint, lora

            lora._loss = notes.during("inside training", lora._loss, lambda *_: ("steps", 1))
            lora._save = notes.during("writing an adapter", lora._save)
            checkpoint.Checkpoint.save = notes.during("writing a checkpoint", checkpoint.Checkpoint.save)
        return engine

    engines_in_use.load = watched


@dataclass
class Outcome:
    """What the kills came to."""

    hits: Counter = field(default_factory=Counter)
    """(signal, what was going on) -> kills."""
    rounds: int = 0
    needed: Counter = field(default_factory=Counter)
    """Work that all rounds needed, by kind, had nobody killed them."""
    done: Counter = field(default_factory=Counter)
    """Work that they have begun."""
    differences: list = field(default_factory=list)

    @property
    def kills(self):
        return self.hits.total()

    def markdown(self):
        phases = sorted({phase for _, phase in self.hits})
        lines = ["| hit while | SIGKILL | SIGINT |", "|---|---:|---:|"]
        lines += [f"| {phase} | {self.hits['SIGKILL', phase]} | {self.hits['SIGINT', phase]} |" for phase in phases]
        total = {name: sum(count for (each, _), count in self.hits.items() if each == name) for name in SIGNALS}
        lines += [f"| all | {total['SIGKILL']} | {total['SIGINT']} |", "", "| | |", "|---|---:|"]
        lines += [f"| runs to the end, each killed again and again | {self.rounds} |"]
        for kind, unit in (("calls", "LM calls"), ("steps", "training steps")):
            extra, needed = self.done[kind] - self.needed[kind], self.needed[kind]
            share = f", {extra / needed:.1%}; {extra / max(1, self.kills):.1f} per kill" if needed else ""
            lines.append(f"| {unit} done twice | {extra:,} of {needed:,}{share} |")
        lines.append(f"| differences to an uninterrupted run | {len(self.differences)} |")
        return "\n".join(lines)


class Crash:
    """Runs of one command in a folder of their own."""

    def __init__(self, command, cwd, folder, draw, spread):
        self.command, self.cwd, self.folder, self.draw, self.spread = command, cwd, folder, draw, spread

    def start(self, journal):
        """Start a run on a journal; the process."""
        path = f"{Path(__file__).parent}{os.pathsep}{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
        environment = {**os.environ, "PYTHONPATH": path, NOTES: str(self.folder / "notes"), "OMP_NUM_THREADS": "1"}
        (self.folder / "notes").unlink(missing_ok=True)
        options = [f"--bt-journal={self.folder / journal}", f"--bt-report=json:{self.folder / 'report.json'}"]
        return subprocess.Popen(
            [sys.executable, "-m", "pytest", "-q", "-p", "crash", "-p", "no:cacheprovider", *self.command, *options],
            cwd=self.cwd,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def whole(self, journal):
        """Run to the end; what came out, and the work that took."""
        (self.folder / "notes.work").unlink(missing_ok=True)
        process = self.start(journal)
        shown, _ = process.communicate()
        assert process.returncode in (0, 1), shown.decode()  # a gate may fail; the run must not
        return self.result(), self.work()

    def result(self):
        return lasting(json.loads((self.folder / "report.json").read_text())["cells"])

    def work(self):
        done = Counter()
        for line in (self.folder / "notes.work").read_text().splitlines():
            kind, count = line.split()
            done[kind] += int(count)
        return done

    def phase(self):
        try:
            return (self.folder / "notes").read_text().strip() or STARTING
        except OSError:
            return STARTING

    def kill(self, journal, name):
        """Start a run and kill it at a random moment; what it was at, or None if it got to its end before that."""
        process = self.start(journal)
        if self.draw.random() < 0.9:  # most kills where there is something to lose
            while self.phase() == STARTING and process.poll() is None:
                time.sleep(0.01)
        deadline = time.monotonic() + self.draw.uniform(0, self.spread)
        while time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.002)
        phase = self.phase()
        if process.poll() is None:
            process.send_signal(SIGNALS[name])
        shown, _ = process.communicate(timeout=120)
        if process.returncode in (0, 1):
            return None
        assert process.returncode in (-9, -2, 2, 3), (process.returncode, shown.decode())
        return phase

    def torture(self, kills):
        """Kill so often, on as many journals as that takes, and compare what comes out each time."""
        outcome = Outcome()
        expected, needed = self.whole("uninterrupted")
        while outcome.kills < kills:
            outcome.rounds += 1
            (self.folder / "notes.work").unlink()
            journal = f"round{outcome.rounds}"
            while True:
                name = self.draw.choice(list(SIGNALS))
                phase = self.kill(journal, name) if outcome.kills < kills else None
                if phase is None:
                    break
                outcome.hits[name, phase] += 1
            # The last run may have been the one that was not killed in time; its report stands, or is written now.
            process = self.start(journal)
            shown, _ = process.communicate()
            assert process.returncode in (0, 1), shown.decode()
            outcome.differences += differences(expected, self.result())
            outcome.needed += needed
            outcome.done += self.work()
        return outcome


def lasting(value):
    """A part of the report without what depends on when, and by which run, it was computed."""
    if isinstance(value, dict):
        return {key: lasting(each) for key, each in value.items() if key not in ("paid_now", "seconds")}
    return [lasting(each) for each in value] if isinstance(value, list) else value


def differences(expected, found, where=""):
    """Where two JSON values differ."""
    if isinstance(expected, dict) and isinstance(found, dict) and set(expected) == set(found):
        return [line for key in expected for line in differences(expected[key], found[key], f"{where}.{key}")]
    if isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        pairs = enumerate(zip(expected, found))
        return [line for index, pair in pairs for line in differences(*pair, f"{where}[{index}]")]
    return [] if expected == found else [f"{where}: {expected!r} became {found!r}"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=100, help="how many, at least (default: %(default)s)")
    parser.add_argument(
        "--spread", type=float, default=3.0, help="seconds that a run gets at most (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default: %(default)s)")
    parser.add_argument("command", nargs="*", default=["suites/test_iris.py", "--bt-seeds=0", "--bt-gate=off"])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bettertogether-crash-") as folder:
        crash = Crash(options.command, ROOT, Path(folder), random.Random(options.seed), options.spread)
        began = time.monotonic()
        outcome = crash.torture(options.kills)
        sys.stdout.write(f"{outcome.markdown()}\n\n{outcome.kills} kills, {time.monotonic() - began:.0f} s\n")
    for line in outcome.differences[:20]:
        sys.stdout.write(f"- {line}\n")
    return bool(outcome.differences)


if __name__ == "__main__":
    sys.exit(main())
