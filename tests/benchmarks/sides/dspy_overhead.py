"""DSPy's Evaluate with a model that answers at once. Argument: examples. Prints JSON: seconds, the better of two."""

import json
import sys
import time

import dspy
from dspy.utils import DummyLM

count = int(sys.argv[1])
dspy.configure_cache(enable_disk_cache=False, enable_memory_cache=False)
dspy.configure(lm=DummyLM([{"answer": "yes"}] * 3 * count))
rows = [dspy.Example(question=f"Is {n} a number?", answer="yes").with_inputs("question") for n in range(count)]
seconds = []
for _ in range(2):
    evaluate = dspy.Evaluate(
        devset=rows, metric=lambda e, p, t=None: p.answer == e.answer, num_threads=1, display_progress=False
    )
    began = time.perf_counter()
    result = evaluate(dspy.Predict("question -> answer"))
    seconds.append(time.perf_counter() - began)
    assert result.score == 100.0, result.score
print()
print(json.dumps({"seconds": min(seconds)}))
