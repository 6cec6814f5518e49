"""Lines (t) and (s): training against a bare peft loop, switching of adapters, and how long until something happens."""

import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

from pytest_bettertogether.engines.protocol import Prompt, TrainingRow
from pytest_bettertogether.engines.registry import TINY, load
from pytest_bettertogether.pipeline.recipe import Sampling

from . import work
from .measure import Figure, Report, alternate, timed

ROOT = Path(__file__).parent.parent.parent


def training(report: Report, rounds: int, quick: bool) -> None:
    """One adapter on the same rows, by us and by a loop of a dozen lines on peft."""
    count, epochs = (24, 1) if quick else (96, 2)
    with tempfile.TemporaryDirectory() as folder:
        engine = load(TINY, Path(folder))
        chats = [*work.chats("sort", count // 2, shots=0), *work.chats("reason", count // 2, shots=0)]
        rows = [
            TrainingRow(chat, "answer: tolu" if i < count // 2 else "reasoning: 3 + 4 = 7.\nanswer: 7")
            for i, chat in enumerate(chats)
        ]
        recipe = replace(TINY.recipe.lora, epochs=epochs)
        encoded = [engine.encode_row(row) for row in rows]

        def we() -> None:
            engine.finetune(rows, recipe, 0)

        bare = _Bare(encoded, recipe)
        we(), bare.run()
        mine, other = alternate([lambda: timed(we), lambda: timed(bare.run)], rounds)
        figure = Figure(
            "t",
            f"training on {count} rows of mixed length, {epochs} epochs",
            "s",
            mine,
            "bare peft loop",
            other,
            required="≤ 1.1 times its time",
        )
        report.add(replace(figure, met=(figure.ratio or 0) >= 1 / 1.1))
        adapters = [engine.finetune(rows[:8], replace(recipe, epochs=1), seed).adapter for seed in (1, 2)]
        prompts, one = [Prompt(chats[0])], Sampling(temperature=0.0, max_tokens=1)
        for each in adapters:
            engine.generate(prompts, one, each)
        switches = tuple(
            1000 * timed(lambda each=each: _switch(engine, each)) for _ in range(rounds) for each in adapters
        )
        report.add(
            Figure(
                "t",
                "switch between adapters that are loaded",
                "ms",
                switches,
                required="< 50 ms",
                met=max(switches) < 50,
            )
        )


def _switch(engine: Any, adapter: Any) -> None:
    with engine.adapters.active(adapter):
        pass


class _Bare:
    """What one would write without us: peft, AdamW, shuffled padded batches, loss on the completion."""

    def __init__(self, encoded: list[tuple[list[int], int]], recipe: Any) -> None:
        self.encoded, self.recipe = encoded, recipe

    def run(self) -> None:
        import torch
        from peft import LoraConfig, get_peft_model
        from transformers import AutoModelForCausalLM, logging

        logging.set_verbosity_error()
        torch.manual_seed(0)
        torch.set_num_threads(1)
        recipe = self.recipe
        config = LoraConfig(
            r=recipe.rank, lora_alpha=recipe.alpha, target_modules=recipe.targets, task_type="CAUSAL_LM"
        )
        model = get_peft_model(AutoModelForCausalLM.from_pretrained(TINY.path, dtype=torch.float32), config)
        optimizer = torch.optim.AdamW(
            [each for each in model.parameters() if each.requires_grad], lr=recipe.learning_rate
        )
        model.train()
        for _ in range(recipe.epochs):
            order = torch.randperm(len(self.encoded)).tolist()
            for begin in range(0, len(order), recipe.batch):
                batch = [self.encoded[i] for i in order[begin : begin + recipe.batch]]
                width = max(len(ids) for ids, _ in batch)
                tokens = torch.tensor([ids + [0] * (width - len(ids)) for ids, _ in batch])
                mask = torch.tensor([[1] * len(ids) + [0] * (width - len(ids)) for ids, _ in batch])
                labels = torch.tensor([[-100] * n + ids[n:] + [-100] * (width - len(ids)) for ids, n in batch])
                model(input_ids=tokens, attention_mask=mask, labels=labels).loss.backward()
                torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)
                optimizer.step()
                optimizer.zero_grad()


FIRST = """
import time
import pytest
from pytest_bettertogether import Predict, Program, Splits, Task, exact_match
class One(Program):
    def __init__(self):
        self.say = Predict("number -> parity")
    def forward(self, number):
        return self.say(number=number)
def data():
    rows = [{"id": n, "number": n, "parity": "even"} for n in range(30)]
    return Splits.of(rows[:10], rows[10:20], rows[20:])
TASKS = [Task(program=One, data=data, metric=exact_match("parity")) for _ in range(3)]
"""
TEST = """
@pytest.mark.bettertogether(TASKS[{n}])
def test_{n}(better_together, bt_baseline):
    assert better_together() >= 0
"""
HOOK = """
import pytest
def pytest_bettertogether_models(register):
    for name in "abcd":
        register(name, "nowhere")
"""


def startup(report: Report, rounds: int) -> None:
    """From `pytest` to the first call of the embedded model, and collecting a grid."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "test_one.py").write_text(FIRST + TEST.format(n=0))
        found, computing = zip(*(_first_call(folder) for _ in range(rounds)), strict=True)
        report.add(
            Figure(
                "s",
                "from `pytest` to the first LM call on tiny",
                "s",
                found,
                required="≤ 6 s",
                met=median(found) <= 6,
                notes=(f"processor time of it: {median(computing):.1f} s",),
            )
        )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "conftest.py").write_text(HOOK)
        for n in range(3):
            (folder / f"test_{n}.py").write_text(FIRST + TEST.format(n=n))
        args = [f"--bt-model={each}" for each in "abcd"]
        grid = [timed(lambda: _pytest(folder, "--collect-only", "-q", *args)) for _ in range(rounds)]
        report.add(
            Figure(
                "s",
                "collecting 3 tasks x 4 models x 8 strategies, interpreter included",
                "s",
                tuple(grid),
                required="≤ 1 s",
                met=sorted(grid)[len(grid) // 2] <= 1,
            )
        )


def _pytest(folder: Path, *args: str) -> str:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *args]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return done.stdout


WATCH = """
import time
from pytest_bettertogether.journal.replay import Journaled
def pytest_configure(config):
    generate = Journaled.generate
    def watched(self, *args, **kwargs):
        with open("first", "a") as log:
            log.write(f"{time.time()} {time.process_time()}\\n")
        return generate(self, *args, **kwargs)
    Journaled.generate = watched
"""


def _first_call(folder: Path) -> tuple[float, float]:
    """Seconds on the clock and of the processor."""
    (folder / "conftest.py").write_text(WATCH)
    (folder / "first").unlink(missing_ok=True)
    began = time.time()
    _pytest(folder, "--bt-strategy=zero", "--bt-seeds=0", "--bt-gate=off", "--bt-fresh")
    now, computing = map(float, (folder / "first").read_text().split()[:2])
    return now - began, computing
