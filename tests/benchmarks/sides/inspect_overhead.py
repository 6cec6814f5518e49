"""inspect_ai with its mock model. Argument: examples. Prints JSON with the seconds of a run after a small one."""

import json
import sys
import tempfile
import time

import inspect_ai
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import ModelOutput, ModelUsage, get_model
from inspect_ai.scorer import match
from inspect_ai.solver import generate

count = int(sys.argv[1])


def answer():
    said = ModelOutput.from_content("mockllm/model", "yes")
    said.usage = ModelUsage(
        input_tokens=9, output_tokens=3, total_tokens=12
    )  # else it fetches an encoding to count them
    return said


def run(size):
    model = get_model("mockllm/model", custom_outputs=[answer() for _ in range(size)])
    rows = MemoryDataset([Sample(input=f"Is {n} a number?", target="yes") for n in range(size)])
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        [log] = inspect_ai.eval(
            inspect_ai.Task(dataset=rows, solver=generate(), scorer=match()),
            model=model,
            log_dir=folder,
            display="none",
        )
        seconds = time.perf_counter() - began
    assert log.status == "success", log.error
    assert log.results.scores[0].metrics["accuracy"].value == 1.0
    return seconds


run(10)
print()
print(json.dumps({"seconds": run(count)}))
