"""DSPy's own optimizers on the embedded model behind a server. Arguments: URL, a JSON file with the data, the strategy.

Prints JSON: seconds, score on the test split, and what failed. DSPy writes prompts in our format here (an adapter of
twenty lines): the model was trained on it, and so both sides send the same prompts.
"""

import json
import logging
import sys
import time
from pathlib import Path

import dspy

from pytest_bettertogether.pipeline.forms import FORMS
from pytest_bettertogether.pipeline.program import Demo, Signature
from pytest_bettertogether.pipeline.prompt import Unparsable

url, data, strategy = sys.argv[1], json.loads(Path(sys.argv[2]).read_text()), sys.argv[3]
inputs = tuple(data["inputs"])
ours = Signature.parse(f"{', '.join(inputs)} -> answer", data["instruction"], {"answer": data["describe"]})


class Format(dspy.Adapter if strategy == "p" else dspy.ChatAdapter):
    """Our prompt format; a ChatAdapter for the weight step, which refuses to write data for any other."""

    def format(self, signature, demos, inputs):
        shown = [
            Demo({k: demo[k] for k in signature.input_fields}, {k: demo[k] for k in signature.output_fields})
            for demo in demos
        ]
        return [{"role": m.role, "content": m.content} for m in FORMS["chat"].ask(ours, shown, inputs).messages]

    def parse(self, signature, completion):
        try:
            return FORMS["chat"].parse(ours, completion)
        except Unparsable as error:
            raise dspy.utils.exceptions.AdapterParseError("Format", signature, completion) from error


def examples(name):
    return [dspy.Example(**row).with_inputs(*inputs) for row in data[name]]


def metric(example, prediction, trace=None):
    return str(prediction.answer).strip().lower() == example.answer.lower()


errors = []


class Listen(logging.Handler):
    def emit(self, record):
        if record.levelno >= logging.WARNING:
            errors.append(record.getMessage())


logging.getLogger("dspy").addHandler(Listen())
dspy.configure_cache(enable_disk_cache=False, enable_memory_cache=True)
lm = dspy.LM("openai/tiny", api_base=url, api_key="none", temperature=0.0, max_tokens=48, num_retries=0)
dspy.configure(lm=lm, adapter=Format())
program = dspy.Predict(dspy.Signature(f"{', '.join(inputs)} -> answer", data["instruction"]))
program.set_lm(lm)
search = dspy.BootstrapFewShotWithRandomSearch(
    metric=metric,
    max_bootstrapped_demos=data["max_bootstrapped"],
    max_labeled_demos=data["max_labelled"],
    num_candidate_programs=data["candidates"],
    num_threads=8,
)
began, failed = time.perf_counter(), ""
try:
    if strategy == "p":
        best = search.compile(program, trainset=examples("traces"), valset=examples("valid"))
    else:
        dspy.settings.experimental = True
        tuned = dspy.BootstrapFinetune(metric=metric, num_threads=8)
        best = dspy.BetterTogether(metric=metric, p=search, w=tuned).compile(
            program, trainset=examples("traces") + examples("valid"), valset=examples("valid"), strategy=strategy
        )
except Exception as error:  # what a user of DSPy would see
    best, failed = None, f"{type(error).__name__}: {error}"
seconds, score = time.perf_counter() - began, None
if best is not None and data["test"]:
    devset = examples("test")
    score = dspy.Evaluate(devset=devset, metric=metric, num_threads=8, display_progress=False)(best).score / 100
flag = bool(getattr(best, "flag_compilation_error_occurred", False))
print()
steps = [each for each in errors if "failed with error" in each]
print(
    json.dumps({"seconds": seconds, "score": score, "failed": failed, "flag": flag, "warnings": (steps or errors)[:3]})
)
