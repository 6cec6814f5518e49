"""Records as a run would leave them, made up: small ones, hostile ones, and as many as one likes."""

from pytest_bettertogether.pipeline.strategy import Strategy
from pytest_bettertogether.results.cell_records import CellRecord, GateRecord, Paid
from pytest_bettertogether.results.cell_results import CellResult, ExampleScore, SeedResult, StepRecord, Usage
from pytest_bettertogether.results.side_effects import SideEffect
from pytest_bettertogether.results.traces import CallRecord, DemoRecord

HOSTILE = (
    "<script>window.broken = 1; document.title = 'owned'</script><img src=x onerror=window.broken=2>"
    "</script></pre><!-- ]]> \u2028::stop-commands::tok\u2029 ##[add-mask]x \x1b]8;;http://x\x07 "
    "\x1b[31mred\x1b]0;title\x07 \u202egnirts\u202c \u2066a\u2069 | `code` ``` **b** {{7*7}} "
    "<a href='javascript:window.broken=3'>x</a> &lt;b&gt; \x00 \ud800 \u05e2\u05d1\u05e8\u05d9\u05ea \r\n::error::gone"
)

RUN = {
    "started": "2026-01-02T03:04:05+00:00",
    "seconds": 1.5,
    "version": "0",
    "python": "3",
    "platform": "p",
    "commit": "",
    "arguments": ["suites/", HOSTILE],
}


def example(i, score, text, traced=True):
    said = {"answer": text[:500]}
    call = CallRecord("answer", f"question: {text}", f"answer: {text}", said, {"context": (text, "second")}, 90, 9)
    broken = CallRecord("query", f"question: {i}", text, None, {}, 50, 5, truncated=True)
    unparsable = i % 7 == 3
    trace = ((broken,) if unparsable else (call, call)) if traced else ()
    return ExampleScore(str(i), score, unparsable, said, {"f1": 0.25}, trace)


def made(task="qa", model="tiny", strategy="pwp", n=40, seeds=(0, 1), text=HOSTILE, traced=10_000):
    """A cell whose examples 0...n/2 are right with the first seed, and fewer with others."""
    steps = tuple(
        StepRecord(
            path="".join(path),
            usage=Usage(100, 2000, 300),
            runs=100,
            traces_passed=12,
            distinct_outputs=3,
            seconds=1.0,
            train_rows=24 * (path[-1] == "w"),
            train_steps=40 * (path[-1] == "w"),
            losses=(0.9, 0.5, 0.3) if path[-1] == "w" else (),
            chosen="sampled-1" if path[-1] == "p" else "",
            valid_scores={"zero": 0.4, "sampled-1": 0.6} if path[-1] == "p" else {},
            valid_n=35 * (path[-1] == "p"),
            demos={"answer": (DemoRecord({"question": text}, {"answer": text}, True),)} if path[-1] == "p" else {},
            train_score=0.5,
            train_n=15 if path[-1] == "p" else 50,
        )
        for path in Strategy.of(strategy).prefixes()
    )
    results = tuple(
        SeedResult(
            seed,
            tuple(example(i, float(i < n // 2 - seed), text, i < traced) for i in range(n)),
            Usage(20, 400, 60),
            2.0,
            steps,
            selected=strategy,
            dev_scores={"zero": 0.3, strategy: 0.55},
            prompts={"answer": (("system", text),), "query": (("system", "Inputs: question"),)},
        )
        for seed in seeds
    )
    identity = {"metric": "exact_match('answer')", "prompt_form": "chat 1", "test": "0123"}
    docs = tuple({"question": text[:500], "answer": f"answer {i}"} for i in range(n))
    return CellResult(task, model, strategy, results, {"identity": identity, "note": text}, (), docs)


def recorded(result, status="not_gated", **details):
    where = {"nodeid": f"suites/test_{result.task}.py::test[{result.id}]", "file": "suites/test_qa.py", "line": 38}
    return CellRecord(result.task, result.model, result.strategy, status, result=result, **{**where, **details})


def gate(n, verdict="worse"):
    """One to which the examples 0 and 1 are fixed and the last two broken."""
    before = (0.0, 0.0, *[0.5] * (n - 4), 1.0, 1.0)
    ends = {"broken": (str(n - 2), str(n - 1)), "fixed": ("0", "1"), "before": before}
    return GateRecord("gated", 0.05, True, verdict, 0.7, -0.2, (-0.3, -0.1), 0.01, "a test", 0.0, 0.1, **ends)


def hostile():
    """A run in which everything that others write is hostile."""
    ability = SideEffect(HOSTILE, "acc,none", ("0", "1"), ((1.0, 0.0),), ((0.0, 0.0),), {"docs": HOSTILE}, {})
    return [
        recorded(made(strategy="zero")),
        recorded(made(strategy="p")),
        recorded(made(strategy="w")),
        recorded(made(strategy="pwp"), "worse", reason=HOSTILE, gate=gate(40), side_effects=(ability,)),
        recorded(made(task=HOSTILE[:60], strategy="p"), paid=Paid(Usage(7, 8, 9), 3, 1.5)),
        CellRecord("qa", "tiny", "ww", "invalid", "ProgramError: " + HOSTILE),
        CellRecord("qa", "tiny", "pw", "skipped", "needs instruct " + HOSTILE),
    ]
