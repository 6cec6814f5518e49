"""The lock-step runner: naive programs, batched calls."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from pytest_bettertogether import Example, Predict, Prediction, Program, Retrieve
from pytest_bettertogether.engines.protocol import Completion
from pytest_bettertogether.pipeline.errors import DataError, ProgramError
from pytest_bettertogether.pipeline.forms import FORMS
from pytest_bettertogether.pipeline.recipe import Recipe
from pytest_bettertogether.pipeline.state import ProgramState
from pytest_bettertogether.running import lockstep
from pytest_bettertogether.running.lockstep import run_program

EXAMPLES = [Example.of({"id": str(n), "n": str(n)}) for n in range(5)]


class Countdown(Program):
    """Asks as many times as its input says, then once more."""

    def __init__(self):
        self.step = Predict("n -> n_next")
        self.end = Predict("n -> answer")

    def forward(self, n):
        while n != "0":
            n = self.step(n=n).n_next
        return self.end(n=n)


class Engine:
    def __init__(self):
        self.waves = []

    def __call__(self, prompts):
        self.waves.append(prompts)
        return [Completion(self.answer(prompt.messages), 1, 1) for prompt in prompts]

    @staticmethod
    def answer(messages):
        n = int(messages[-1].content.removeprefix("n: "))
        return f"answer: done {n}" if "answer" in messages[0].content else f"n_next: {n - 1}"


def test_each_wave_is_one_batch_and_results_keep_their_order():
    engine = Engine()
    runs = run_program(Countdown(), ProgramState(), EXAMPLES, engine, seed=0, form=FORMS["chat"])
    assert [len(wave) for wave in engine.waves] == [5, 4, 3, 2, 1]
    assert [run.example.id for run in runs] == ["0", "1", "2", "3", "4"]
    assert [len(run.trace) for run in runs] == [1, 2, 3, 4, 5]
    assert [call.predictor for call in runs[2].trace] == ["step", "step", "end"]
    assert runs[2].trace[0].outputs == {"n_next": "1"}
    assert all(run.prediction.answer == "done 0" and not run.unparsable for run in runs)


class Gathering(Program):
    """Goes on adding to the list that it has shown a predictor."""

    def __init__(self):
        self.step = Predict("n, context -> n_next")
        self.end = Predict("n, context -> answer")

    def forward(self, n):
        context = ["first"]
        found = self.step(context=context, n=n)
        context += [found.n_next]
        return self.end(context=context, n="7")


def test_a_trace_keeps_what_a_call_was_given_and_not_what_became_of_it():
    def generate(prompts):
        return [
            Completion(f"{'answer' if '7' in each.messages[-1].content else 'n_next'}: 1", 1, 1) for each in prompts
        ]

    [run] = run_program(Gathering(), ProgramState(), EXAMPLES[:1], generate, seed=0, form=FORMS["chat"])
    assert [call.inputs["context"] for call in run.trace] == [["first"], ["first", "1"]]


def test_a_cap_on_examples_in_flight_changes_batches_but_no_result(monkeypatch):
    whole = run_program(Countdown(), ProgramState(), EXAMPLES, Engine(), seed=0, form=FORMS["chat"])
    monkeypatch.setattr(lockstep, "IN_FLIGHT", 2)
    engine = Engine()
    assert run_program(Countdown(), ProgramState(), EXAMPLES, engine, seed=0, form=FORMS["chat"]) == whole
    assert max(map(len, engine.waves)) == 2


def test_noise_belongs_to_seed_example_predictor_call_and_attempt():
    def noises(examples, seed=0, attempt=0):
        engine = Engine()
        run_program(Countdown(), ProgramState(), examples, engine, seed, FORMS["chat"], attempt)
        return [prompt.noise for wave in engine.waves for prompt in wave]

    everything = noises(EXAMPLES)
    assert len(set(everything)) == len(everything) == 15
    assert set(noises(EXAMPLES[3:4])) < set(everything)  # neighbours do not matter
    assert not set(everything) & set(noises(EXAMPLES, seed=1))
    assert not set(everything) & set(noises(EXAMPLES, attempt=1))


def test_an_unparsable_completion_ends_its_run_and_no_other():
    def silent_on_1(prompts):
        return [
            Completion("" if each.messages[-1].content == "n: 1" else Engine.answer(each.messages), 1, 1)
            for each in prompts
        ]

    runs = run_program(Countdown(), ProgramState(), EXAMPLES[:3], silent_on_1, seed=0, form=FORMS["chat"])
    assert [run.unparsable for run in runs] == [False, True, True]
    assert runs[0].prediction.answer == "done 0"
    assert runs[1].prediction is None
    assert runs[2].trace[-1].outputs is None


class Recovers(Countdown):
    def forward(self, n):
        try:
            return self.end(n=n)
        except ValueError:
            return Prediction(answer="gave up")


def test_a_program_may_catch_an_unparsable_completion():
    (run,) = run_program(
        Recovers(), ProgramState(), EXAMPLES[:1], lambda prompts: [Completion("", 1, 0)], seed=0, form=FORMS["chat"]
    )
    assert run.prediction.answer == "gave up"
    assert run.unparsable


def failing(forward):
    return type("Mine", (Countdown,), {"forward": forward})()


@pytest.mark.parametrize(
    ("forward", "problem"),
    [
        (
            lambda self, n: self.end(n=n).anwser,
            "AttributeError.*this prediction has no 'anwser'.*on example '0' after end",
        ),
        (lambda self, n: [].append(self.end(n=n)), "returned None on example '0'"),
        (lambda self, n: self.end(n=n).answer, "returned a str on example '0'"),
        (lambda self, n: Prediction(answer=n), "never called a predictor on example '0'"),
        (lambda self, m: self.end(n=m), "forward takes m"),
        (lambda self, n: Predict("n -> answer")(n=n), "assign it in __init__"),
    ],
)
def test_a_fault_of_the_program_is_an_error_that_names_the_example(forward, problem):
    with pytest.raises((ProgramError, DataError), match=problem):
        run_program(failing(forward), ProgramState(), EXAMPLES[:2], Engine(), seed=0, form=FORMS["chat"])


def test_a_program_without_predictors_is_refused():
    with pytest.raises(ProgramError, match="has no predictor"):
        run_program(Program(), ProgramState(), EXAMPLES, Engine(), seed=0, form=FORMS["chat"])


def test_an_engines_error_goes_through_and_lets_programs_clean_up():
    cleaned = []

    def forward(self, n):
        try:
            return self.end(n=n)
        finally:
            cleaned.append(n)

    def broken(prompts):
        raise OSError("out of memory")

    with pytest.raises(OSError, match="out of memory"):
        run_program(failing(forward), ProgramState(), EXAMPLES, broken, seed=0, form=FORMS["chat"])
    assert cleaned == ["0", "1", "2", "3", "4"]


@pytest.mark.parametrize(("value", "kind"), [(None, "None"), ({"a": 1}, "a dict")])
def test_a_value_that_no_prompt_shows_is_named_by_row_predictor_and_field(value, kind):
    class Asks(Program):
        def __init__(self):
            self.say = Predict("question -> answer")

        def forward(self, question):
            return self.say(question=question)

    examples = [Example.of({"id": f"r{n}", "question": each}) for n, each in enumerate(["q", "q", value])]
    with pytest.raises(ProgramError, match=rf"Asks: predictor 'say' on example 'r2': field 'question' is {kind}"):
        run_program(Asks(), ProgramState(), examples, lambda prompts: [], seed=0, form=FORMS["chat"])


def runs_of(program, examples=EXAMPLES, engine=None, **more):
    return run_program(program, ProgramState(), examples, engine or Engine(), seed=0, form=FORMS["chat"], **more)


def once_too_often(self, n):
    for _ in range(4):
        out = self.end(n=n)
    return out


def for_ever(self, n):
    while True:
        self.end(n=n)


def whatever_is_raised(self, n):
    while True:
        with suppress(Exception):
            self.end(n=n)


def by_searching(self, n):
    self.end(n=n)
    while True:
        self.find("x")


@pytest.mark.parametrize("forward", [once_too_often, for_ever, whatever_is_raised, by_searching])
def test_a_program_that_calls_without_end_is_stopped_and_the_limit_can_be_raised(forward):
    engine, program = Engine(), failing(forward)
    program.find = Retrieve(lambda queries, k: [["found"]] * len(queries))
    said = (
        r"Mine.forward made 3 calls and searches on example '0' and asks for one more: end its loop, or, if it is to "
        r"make so many, allow more with --bt-set=max_calls=6 or recipe=\{'max_calls': 6\} in its Task"
    )
    with pytest.raises(ProgramError, match=said):
        runs_of(program, EXAMPLES[:2], engine, max_calls=3)
    assert len(engine.waves) <= 3
    if forward is once_too_often:
        assert [len(run.trace) for run in runs_of(program, EXAMPLES[:2], max_calls=4)] == [4, 4]


def test_by_default_a_program_that_never_ends_makes_as_many_calls_as_the_recipe_says():
    engine = Engine()
    with pytest.raises(ProgramError, match=f"made {Recipe().max_calls} calls"):
        runs_of(failing(for_ever), EXAMPLES[:1], engine)
    assert len(engine.waves) == Recipe().max_calls == 200


def in_a_pool(self, n):
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(self.end, n=n).result()


def in_a_thread_that_is_waited_for(self, n):
    found = []
    thread = threading.Thread(target=lambda: found.append(self.end(n=n)), name="mine")
    thread.start()
    thread.join()
    return found[0]


def in_a_loop(self, n):
    async def later():
        return self.end(n=n)

    return asyncio.run(later())


def in_a_thread_of_a_loop(self, n):
    return asyncio.run(asyncio.to_thread(self.end, n=n))


def in_a_loop_that_gathers_errors(self, n):
    async def all_of_them():
        async def later():
            return self.end(n=n)

        return await asyncio.gather(later(), later(), return_exceptions=True)

    asyncio.run(all_of_them())
    return Prediction(answer="fine")


async def as_a_coroutine(self, n):
    return self.end(n=n)


INSTEAD = "in forward itself, one after another: the runner sends the calls of all examples to the model together"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # a thread of the program's own
@pytest.mark.parametrize(
    ("forward", "said"),
    [
        (in_a_pool, "a predictor or search was called in the thread 'ThreadPool.*', which no program runs in"),
        (in_a_thread_that_is_waited_for, "IndexError.* on example '0'"),  # the thread's own error says the rest
        (in_a_loop, r"called a predictor or search in an event loop \(asyncio\) on example '0'"),
        (in_a_thread_of_a_loop, "called a predictor or search in another thread on example '0'"),
        (in_a_loop_that_gathers_errors, r"in an event loop \(asyncio\) on example '0'"),
        (as_a_coroutine, r"Mine.forward is async \(on example '0' it returned a coroutine\): write `def forward`"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_calls_from_threads_and_event_loops_are_refused_in_a_sentence(forward, said):
    with pytest.raises(ProgramError, match=said) as refused:
        runs_of(failing(forward), EXAMPLES[:3])
    if forward is not in_a_thread_that_is_waited_for:
        assert INSTEAD in str(refused.value)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_is_not_waited_for_says_so_itself(monkeypatch):
    said = []
    monkeypatch.setattr(threading, "excepthook", lambda args: said.append(str(args.exc_value)))

    def forward(self, n):
        thread = threading.Thread(target=self.end, kwargs={"n": n}, name="mine")
        thread.start()
        thread.join()
        return Prediction(answer="fine")

    with pytest.raises(ProgramError, match=r"never called a predictor on example '0' \(calls in other threads do not"):
        runs_of(failing(forward), EXAMPLES[:1])
    assert said == [
        f"a predictor or search was called in the thread 'mine', which no program runs in: call them {INSTEAD}"
    ]


def test_programs_run_inside_of_an_event_loop_such_as_a_notebooks():
    async def cell():
        return runs_of(Countdown())

    assert asyncio.run(cell()) == runs_of(Countdown())


class Hoarder(Program):
    """Keeps what it is at on itself, in every way that a stranger may."""

    def __init__(self):
        self.step, self.inner, self.seen, self.count, self.notes = Predict("n -> n_next"), Countdown(), [], 0, {}
        self.same = self.inner

    def forward(self, n):
        self.n = self.inner.n = n
        for _ in range(3):
            self.count += 1
            self.seen.append(self.step(n=self.n).n_next)
            self.notes[self.n] = self.count
        assert self.same is self.inner
        return Prediction(answer=[self.n, self.inner.n, self.count, self.seen, self.notes])


def test_what_a_program_writes_to_itself_is_seen_by_no_other_example():
    program = Hoarder()
    before = {name: repr(value) for name, value in vars(program).items()}
    runs = runs_of(program)
    for n, run in enumerate(runs):
        n_next = str(n - 1)
        assert run.prediction.answer == [str(n), str(n), 3, [n_next] * 3, {str(n): 3}]
        assert {call.predictor for call in run.trace} == {"step"}
    assert {name: repr(value) for name, value in vars(program).items()} == before
