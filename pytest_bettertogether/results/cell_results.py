"""What a run leaves behind: frozen records that go to JSON and back."""

import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from ..pipeline.json_values import from_json
from .identity import current_identity
from .traces import CallRecord, DemoRecord


@dataclass(frozen=True)
class Usage:
    """LM calls and tokens."""

    lm_calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            self.lm_calls + other.lm_calls,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
        )

    def __sub__(self, other: "Usage") -> "Usage":
        return Usage(
            self.lm_calls - other.lm_calls,
            self.prompt_tokens - other.prompt_tokens,
            self.completion_tokens - other.completion_tokens,
        )


@dataclass(frozen=True)
class ExampleScore:
    """One example's score, within 0...1, and whether a completion on the way was unparsable.

    `said` is what the program returned, by field, as text; where nothing came out of it, the
    last completion stands under the name "completion". Long texts are cut. `extra` are the
    task's further metrics by name, within 0...1. `trace` is empty where
    the seed's share of traces (`traces.PER_SEED`) was used up by examples with lower scores.
    """

    id: str
    score: float
    unparsable: bool = False
    said: dict[str, str] = field(default_factory=dict)
    extra: dict[str, float] = field(default_factory=dict)
    trace: tuple[CallRecord, ...] = ()


@dataclass(frozen=True)
class DecidedEarly:
    """A candidate of a search that could not win any more, so that it has no score.

    It reached `points` on `scored` examples of V (the harder ones: their mean says nothing of V) and could have
    scored `at_most` on all of V, within 0...1.
    """

    scored: int
    points: float
    at_most: float


@dataclass(frozen=True)
class StepRecord:
    """What one optimisation step did. `path` ends with the step itself: `pw` is the w after a p.

    For p, `valid_scores` are the scores on V (`valid_n` examples), by name, of the candidates that were scored to
    the end, `decided_early` tells of the others, and `demos` are those it chose, by predictor; for w, `losses` are
    the mean training loss of each epoch, `curve` that of equal stretches of the optimiser's steps (one each, or a
    hundred), and `truncated` and `dropped` count the rows that
    were cut to the maximal length, or had no completion left within it. `traces_passed` counts passing program runs,
    `distinct_outputs` the different final predictions among them.
    `train_score` is the metric's mean over the runs that made the traces: of the program *before* the step,
    on `train_n` examples of train, sampled as the recipe's `bootstrap` says.
    `instructions` are the texts, by predictor, that stand in place of the written ones after a step that sets some.
    """

    path: str
    usage: Usage = Usage()
    runs: int = 0
    traces_passed: int = 0
    distinct_outputs: int = 0
    seconds: float = 0.0
    train_rows: int = 0
    train_steps: int = 0
    losses: tuple[float, ...] = ()
    adapter: str = ""
    chosen: str = ""
    valid_scores: dict[str, float] = field(default_factory=dict)
    decided_early: dict[str, DecidedEarly] = field(default_factory=dict)
    curve: tuple[float, ...] = ()
    truncated: int = 0
    dropped: int = 0
    valid_n: int = 0
    demos: dict[str, tuple[DemoRecord, ...]] = field(default_factory=dict)
    train_score: float | None = None
    train_n: int = 0
    instructions: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class SeedResult:
    """One seed of a cell: per-example test scores, and the steps that made the program.

    `refused` says why a weight step was refused; there are no examples then. `selected` is the
    path of the program that was tested. `dev_scores`, by prefix of the strategy, are what chose it if dev did;
    they are there too where the user asked for them. `prompts` are the turns, as (role, text), that come before
    the question in the tested program's prompts, by predictor.
    """

    seed: int
    examples: tuple[ExampleScore, ...]
    usage: Usage
    seconds: float
    steps: tuple[StepRecord, ...]
    refused: str = ""
    selected: str = ""
    dev_scores: dict[str, float] = field(default_factory=dict)
    prompts: dict[str, tuple[tuple[str, str], ...]] = field(default_factory=dict)

    @property
    def adapter(self) -> str:
        """Digest of the weights that were tested; empty for the base model's."""
        tested = [step for step in self.steps if not self.selected or self.selected.startswith(step.path)]
        return next((step.adapter for step in reversed(tested) if step.adapter), "")

    @property
    def score(self) -> float:
        """The mean over the test split, within 0...1."""
        return math.fsum(example.score for example in self.examples) / len(self.examples)


@dataclass(frozen=True, repr=False, order=False)
class CellResult:
    """One cell, task x model x strategy: what `better_together()` returns, as plain data.

    Compares with `bt_baseline` by the gate's test, and by plain score, which no error budget covers, with numbers
    within 0...1 and with other results: `result > 0.8`, `result > better_together(strategy="p")`.

    Beside `score`, `n`, `extra`, `outcomes` and `refused`, which its tests may assert on, it keeps what was found out
    on the way: every seed's examples and steps, and the provenance. The cell is refused if any of its seeds was.
    """

    task: str
    model: str
    strategy: str
    seeds: tuple[SeedResult, ...]
    provenance: dict[str, Any]
    clusters: tuple[str, ...] = ()
    """What each test example belongs to, where the task says so: examples of one cluster count as one draw."""
    docs: tuple[dict[str, str], ...] = ()
    """The fields of each test example, as text, for people; long ones are cut."""

    def harness(self, tasks: Any, **form: Any) -> Any:  # noqa: ARG002 - as the results of a session have it
        """Measure lm-eval tasks: for results of this session, see `MeasurableResult`.

        Raises:
            RuntimeError: This result was read from a file, and there is no engine that could be asked.
        """
        raise RuntimeError(
            f"{self.task}[{self.id}] was read from a file: harness({tasks!r}) asks the engine and the weights that "
            "made it, so call it on what better_together() returned, in the test that made it"
        )

    @property
    def id(self) -> str:
        """The part of the test id in brackets, and the key in the baseline file: `tiny-pwp`."""
        return f"{self.model}-{self.strategy}"

    @property
    def refused(self) -> str:
        """Why the cell was refused, or the empty string."""
        return next((f"seed {seed.seed}: {seed.refused}" for seed in self.seeds if seed.refused), "")

    @property
    def score(self) -> float:
        """Mean over seeds and test examples, within 0...1; raises ValueError for a refused cell."""
        if self.refused:
            raise ValueError(f"{self.task}[{self.id}] has no score, it was refused: {self.refused}")
        return math.fsum(seed.score for seed in self.seeds) / len(self.seeds)

    @property
    def outcomes(self) -> list[list[float]]:
        """Scores [seed][example], in the order of the test split."""
        return [[example.score for example in seed.examples] for seed in self.seeds]

    @property
    def extra(self) -> dict[str, float]:
        """The task's further metrics by name, each the mean over seeds and test examples, within 0...1."""
        examples = [example for seed in self.seeds for example in seed.examples]
        names = examples[0].extra if examples else {}
        return {name: math.fsum(example.extra[name] for example in examples) / len(examples) for name in names}

    @property
    def n(self) -> int:
        """The number of test examples, each of which every seed has seen once."""
        return len(self.seeds[0].examples)

    def __repr__(self) -> str:
        if self.refused:
            return f"{self.task}[{self.id}] refused"
        return f"{self.score:.1%} on {self.task}[{self.id}], n = {self.n}, {len(self.seeds)} seed(s)"

    def __lt__(self, other: object) -> bool:
        return self._compare(operator.lt, other)

    def __le__(self, other: object) -> bool:
        return self._compare(operator.le, other)

    def __gt__(self, other: object) -> bool:
        return self._compare(operator.gt, other)

    def __ge__(self, other: object) -> bool:
        return self._compare(operator.ge, other)

    def _compare(self, compare: Callable[[float, float], bool], other: object) -> bool:
        if isinstance(other, CellResult):
            return compare(self.score, other.score)
        if isinstance(other, int | float):
            return compare(self.score, other)
        return NotImplemented  # type: ignore[no-any-return]  # the protocol of comparisons, which has no type

    def to_json(self) -> dict[str, Any]:
        """The result as JSON values, if its provenance is made of these; `from_json` reads them back."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "CellResult":
        """Read what `to_json` wrote, in this version or an earlier one."""
        result: CellResult = from_json(CellResult, data)
        if "identity" not in result.provenance:
            return result
        identity = current_identity(result.provenance, result.provenance["identity"])
        return replace(result, provenance={**result.provenance, "identity": identity})
