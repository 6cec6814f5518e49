"""The lock-step runner: naive one-example programs, batched model calls.

Each example's `forward` runs in a greenlet until it asks the model; the calls of all
examples in flight go to the engine as one batch (a wave), then all continue. No
threads: the order of everything is fixed, and batches are as large as the split.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import greenlet

from ..engines.protocol import Completion
from ..pipeline.data import Example, program_inputs
from ..pipeline.errors import BetterTogetherError, ProgramError
from ..pipeline.program import ONE_AFTER_ANOTHER, Predict, Prediction, Program, Retrieve, running
from ..pipeline.prompt import Form, Prompt, Unparsable, Unshowable
from ..pipeline.recipe import Recipe
from ..pipeline.state import ProgramState
from ..retrieval.searching import Searches
from .isolation import isolated
from .seeds import derive

IN_FLIGHT = 2000
"""Examples advanced together: bounds memory, not the result."""


@dataclass(frozen=True)
class Call:
    """One predictor call of a run: what went in, what came back, what was made of it."""

    predictor: str
    inputs: Mapping[str, Any]
    outputs: Mapping[str, Any] | None
    """None where the completion could not be parsed."""
    completion: Completion


@dataclass(frozen=True)
class Retrieval:
    """One search of a run: what was asked of which search site, and what came back."""

    site: str
    query: str
    passages: tuple[str, ...]
    after: int
    """Predictor calls of the run before it."""


@dataclass(frozen=True)
class Run:
    """One program run on one example: its trace and what it returned."""

    example: Example
    trace: tuple[Call, ...]
    prediction: Prediction | None
    """None where an unparsable completion ended the run."""
    retrievals: tuple[Retrieval, ...] = ()
    """The searches, in order; what they found is also among the inputs of the calls that were given it."""

    @property
    def unparsable(self) -> bool:
        """Whether any completion of this run could not be parsed."""
        return any(call.outputs is None for call in self.trace)


def run_program(
    program: Program,
    state: ProgramState,
    examples: Sequence[Example],
    generate: Callable[[Sequence[Prompt]], Sequence[Completion]],
    seed: int,
    form: Form,
    attempt: int = 0,
    search: Callable[[Retrieve, Sequence[str]], Sequence[Sequence[str]]] | None = None,
    max_calls: int = Recipe.max_calls,
) -> list[Run]:
    """Run the program on every example, in order of `examples`.

    `generate` completes one wave of prompts, which `form` writes; the noise of each is derived from (seed,
    example, predictor, call, attempt). `search` answers the queries that a wave has for one
    search site. Raises ProgramError for a fault of the program, of which one is that a run asks for more than
    `max_calls` calls and searches, and lets the engine's errors through: neither is ever a score.
    """
    names = {id(predictor): name for name, predictor in program.predictors().items()}
    if not names:
        raise ProgramError(
            f"{type(program).__name__} has no predictor: assign one in __init__, as in self.answer = ..."
        )
    sites = {id(site): name for name, site in program.retrievers().items()}
    search = search or Searches()
    waiting = list(reversed(range(len(examples))))
    flying: dict[int, _Flight] = {}
    landed: dict[int, Run] = {}

    def step(index: int, flight: "_Flight", reply: Completion | Sequence[str] | None) -> None:
        flying.pop(index, None)
        if reply is None:
            flight.switch()
        else:
            flight.switch(reply)
        if flight.dead:
            landed[index] = flight.landed()
        else:
            flying[index] = flight
            flight.check_calls(max_calls)

    try:
        while waiting or flying:
            while waiting and len(flying) < IN_FLIGHT:
                index = waiting.pop()
                step(index, _Flight(program, state, examples[index], names, sites, form), None)
            # Searches first: then all that fly wait for the model, in one batch.
            while seeking := sorted((i, flight) for i, flight in flying.items() if flight.seeks):
                site = seeking[0][1].seeks
                assert site
                mine = [(i, flight) for i, flight in seeking if flight.seeks is site]
                for (index, flight), found in zip(mine, search(site, [f.query for _, f in mine]), strict=True):
                    step(index, flight, found)
            if flying:
                wave = sorted(flying.items())
                prompts = []
                for _, flight in wave:
                    noise = derive(seed, flight.example.id, flight.name, len(flight.trace), attempt)
                    prompts.append(flight.prompt(noise))
                for (index, flight), completion in zip(wave, generate(prompts), strict=True):
                    step(index, flight, completion)
    finally:
        for flight in flying.values():
            flight.throw()  # GreenletExit: the user's own `finally` blocks run now, not at some later collection
    return [landed[index] for index in range(len(examples))]


class _Flight(greenlet.greenlet):
    """One example on its way through the program; between switches it holds the call or search it waits for."""

    predictor: Predict
    name: str
    inputs: Mapping[str, Any]
    query: str

    def __init__(
        self,
        program: Program,
        state: ProgramState,
        example: Example,
        names: Mapping[int, str],
        sites: Mapping[int, str],
        form: Form,
    ) -> None:
        super().__init__()
        self.hub, self.loop = greenlet.getcurrent(), _event_loop()
        self.program, self.state, self.example, self.names = isolated(program), state, example, names
        self.sites, self.form = sites, form
        self.seeks: Retrieve | None = None
        self.trace: list[Call] = []
        self.retrievals: list[Retrieval] = []
        self.prediction: Prediction | Coroutine[Any, Any, Any] | None = None
        self.fault: Exception | None = None

    def run(self) -> None:
        try:
            with running(self.ask, self.seek):
                self.prediction = self.program.forward(**program_inputs(self.program, self.example))
        except Unparsable:
            pass  # the trace says so: prediction stays None
        except Exception as error:  # whatever the user's code raised: reported below with the example, never a score
            self.fault = self.fault or error

    def check_calls(self, limit: int) -> None:
        """Raise ProgramError if the run waits for more than it may ask for.

        It is not raised inside of the run, where a loop that catches all errors would go on.
        """
        if len(self.trace) + len(self.retrievals) >= limit:
            raise ProgramError(
                f"{type(self.program).__name__}.forward made {limit} calls and searches on example "
                f"{self.example.id!r} and asks for one more: end its loop, or, if it is to make so many, allow more "
                f"with --bt-set=max_calls={2 * limit} or recipe={{'max_calls': {2 * limit}}} in its Task"
            )

    def check_place(self) -> None:
        """Raise ProgramError for a call that this run cannot wait for; it ends the run, though forward may catch it."""
        if greenlet.getcurrent() is not self:
            place = "another thread"
        elif _event_loop() is not self.loop:
            place = "an event loop (asyncio)"
        else:
            return
        self.fault = ProgramError(
            f"{type(self.program).__name__}.forward called a predictor or search in {place} on example "
            f"{self.example.id!r}: {ONE_AFTER_ANOTHER}"
        )
        raise self.fault

    def ask(self, predictor: Predict, inputs: Mapping[str, Any]) -> Prediction:
        self.check_place()
        if id(predictor) not in self.names:
            raise ProgramError("forward calls a predictor that is no attribute of the program: assign it in __init__")
        inputs = deepcopy(inputs)  # a list of passages that the program goes on to add to would change the trace
        self.predictor, self.name, self.inputs = predictor, self.names[id(predictor)], inputs
        completion: Completion = self.hub.switch()
        try:
            if completion.unanswered:
                raise Unparsable(completion.unanswered)
            outputs = self.form.parse(predictor.signature, completion.text)
        except Unparsable:
            self.trace.append(Call(self.name, inputs, None, completion))
            raise
        self.trace.append(Call(self.name, inputs, outputs, completion))
        return Prediction(**outputs)

    def prompt(self, noise: int) -> Prompt:
        """The prompt of the call that it waits for. Raises ProgramError for a value that no prompt can show."""
        signature = self.state.signature(self.name, self.predictor.signature)
        try:
            return self.form.ask(signature, self.state.demos.get(self.name, ()), self.inputs, noise)
        except Unshowable as error:
            raise ProgramError(
                f"{type(self.program).__name__}: predictor {self.name!r} on example {self.example.id!r}: {error}"
            ) from None

    def seek(self, site: Retrieve, query: str) -> list[str]:
        self.check_place()
        if id(site) not in self.sites:
            raise ProgramError("forward uses a Retrieve that is no attribute of the program: assign it in __init__")
        if not isinstance(query, str):
            raise TypeError(f"a search takes one query, a text, not a {type(query).__name__}")
        self.seeks, self.query = site, query
        found: Sequence[str] = self.hub.switch()
        self.seeks = None
        self.retrievals.append(Retrieval(self.sites[id(site)], query, tuple(found), len(self.trace)))
        return list(found)

    def landed(self) -> Run:
        program, where = type(self.program).__name__, f"on example {self.example.id!r}"
        if isinstance(self.prediction, Coroutine):
            self.prediction.close()  # else Python warns that nobody has awaited it
            raise ProgramError(
                f"{program}.forward is async ({where} it returned a coroutine): write `def forward`, call predictors "
                f"without await, and {ONE_AFTER_ANOTHER}"
            )
        if isinstance(self.fault, BetterTogetherError):
            raise self.fault
        if self.fault is not None:
            last = f" after {self.trace[-1].predictor}" if self.trace else ""
            raise ProgramError(f"{program}.forward raised {self.fault!r} {where}{last}") from self.fault
        if not self.trace:
            raise ProgramError(
                f"{program}.forward never called a predictor {where} (calls in other threads do not count): there is "
                "nothing to optimise"
            )
        if self.prediction is None and not any(call.outputs is None for call in self.trace):
            raise ProgramError(f"{program}.forward returned None {where}: return the prediction")
        if self.prediction is not None and not isinstance(self.prediction, Prediction):
            kind = type(self.prediction).__name__
            raise ProgramError(f"{program}.forward returned a {kind} {where}: return Prediction(answer=...)")
        return Run(self.example, tuple(self.trace), self.prediction, tuple(self.retrievals))


def _event_loop() -> asyncio.AbstractEventLoop | None:
    """Return the event loop that runs in this thread, as a notebook has one; None if there is none."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
