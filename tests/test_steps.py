"""Steps as objects: every one keeps its promises, and one that does not is told so."""

import random
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from promises import PROMISES, can_be_resumed, helps_or_leaves_things, is_deterministic, keeps_its_bound
from test_optimize import COLOURS, SPLITS, capable, experiment, number_asked

from pytest_bettertogether.optimize.bettertogether import better_together
from pytest_bettertogether.optimize.bound import Bound
from pytest_bettertogether.optimize.builtin import BUILT_IN, steps_with
from pytest_bettertogether.optimize.conduct import bound, conduct
from pytest_bettertogether.optimize.outcome import Outcome
from pytest_bettertogether.optimize.step import kinds_of, own_values, with_step
from pytest_bettertogether.pipeline.errors import MetricError, StepError
from pytest_bettertogether.pipeline.program import Demo
from pytest_bettertogether.pipeline.recipe import Recipe
from pytest_bettertogether.pipeline.state import ProgramState
from pytest_bettertogether.pipeline.steps import KINDS, PROMPTS
from pytest_bettertogether.pipeline.strategy import Strategy
from pytest_bettertogether.results.cell_results import StepRecord
from pytest_bettertogether.running.evaluate import evaluate

sys.path.insert(0, str(Path(__file__).parent.parent / "docs" / "examples"))

from choose_instruction import Choice, ChooseInstruction

CHOOSE = ChooseInstruction()
RECIPE = Recipe(own=own_values((CHOOSE,)))
STEPS = steps_with((CHOOSE,))
INSTRUCTIONS = CHOOSE.kind


def obedient(messages, adapter):
    """Right for red alone, until it is tuned, sees demos, or is told to answer in one word."""
    if "one word" in messages[0].content:
        return f"colour: {COLOURS[number_asked(messages) % 3]}"
    return capable(messages, adapter)


def mine(**changes):
    return experiment(**{"answer": obedient, "recipe": RECIPE, **changes})


@pytest.mark.parametrize("promise", PROMISES)
@pytest.mark.parametrize("step", STEPS.values(), ids=lambda step: step.kind.name)
@pytest.mark.parametrize("start", ["as written", "with demos and instructions"])
def test_every_step_keeps_its_promises(step, promise, start, tmp_path):
    state = ProgramState()
    if start != "as written":
        demo = Demo({"number": 1}, {"reasoning": "so", "colour": "green"})
        state = ProgramState({"name": (demo,)}, None, {"name": "Think."}, {"q": {"kept": [1]}})
    promise(step, replace(mine(), start=state), obedient, tmp_path)


class Idle:
    """Does nothing, as `does` says."""

    def __init__(self, does=None, kind=INSTRUCTIONS, calls=10**6):
        self.does, self.kind, self.calls = does, kind, calls

    def bound(self, experiment, before):
        return Bound(self.calls)

    def run(self, experiment, state, path):
        return self.does(experiment, state) if self.does else Outcome(state, StepRecord("i"))


def told(state, refused=""):
    return Outcome(state, StepRecord("anything"), refused)


def by_chance(experiment, state):
    return told(replace(state, instructions={"name": str(random.random())}))


def beyond_the_journal(experiment, state, times=[0]):  # noqa: B006 - what a step must not do: remember by itself
    times[0] += 1
    evaluate(experiment, replace(state, instructions={"name": str(times[0])}), experiment.splits.dev, 0)
    evaluate(experiment, replace(state, instructions={"name": "again"}), experiment.splits.dev, 0)
    return told(state)


def one_call(experiment, state):
    evaluate(experiment, state, experiment.splits.dev, 0)
    return told(state)


@pytest.mark.parametrize(
    ("promise", "step"),
    [
        (is_deterministic, Idle(by_chance)),
        (can_be_resumed, Idle(beyond_the_journal)),
        (helps_or_leaves_things, Idle(lambda _, state: told(replace(state, instructions={"name": "worse"})))),
        (keeps_its_bound, Idle(one_call, calls=len(SPLITS.dev) - 1)),
    ],
)
def test_a_broken_promise_is_found(promise, step, tmp_path):
    with pytest.raises(AssertionError):
        promise(step, mine(), obedient, tmp_path)


def set_by_force(experiment, state):
    object.__setattr__(state, "instructions", {"name": "other"})
    return told(state)


def set_item(experiment, state):
    state.instructions["name"] = "other"
    return told(state)


def raises(experiment, state):
    raise KeyError("lost")


ATTACKS = {
    "argument changed by force": (set_by_force, "changed the state that it was given: make a new one"),
    "argument changed": (set_item, "raised TypeError.*does not support item assignment"),
    "raises": (raises, r"raised KeyError\('lost'\)"),
    "returns nothing": (lambda *_: None, "returned a NoneType: expected an Outcome"),
    "returns a state": (lambda _, state: state, "returned a ProgramState: expected an Outcome"),
    "no state": (lambda *_: Outcome(None, StepRecord("i")), "whose state is a NoneType"),
    "no record": (lambda _, state: Outcome(state, None), "whose record is a NoneType"),
    "no reason": (lambda _, state: Outcome(state, StepRecord("i"), None), "whose refused is a NoneType"),
    "kept is no JSON": (lambda _, state: told(replace(state, kept={"i": object()})), "which JSON does not have"),
    "kept of others": (lambda _, state: told(replace(state, kept={"p": 1})), r"its own place is kept\['i'\]"),
    "unsaid change": (
        lambda _, state: told(replace(state, demos={"name": (Demo({"number": 1}, {"colour": "red"}),)})),
        "changed demos of the program, and says that it changes instructions, kept",
    ),
    "unknown predictor": (
        lambda _, state: told(replace(state, instructions={"nobody": "x"})),
        "texts of the predictor 'nobody', and the program has name",
    ),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_step_that_does_what_it_must_not_is_an_error_that_names_it(attack):
    does, why = ATTACKS[attack]
    step = Idle(does, replace(INSTRUCTIONS, changes=("instructions", "kept")))
    with pytest.raises(StepError, match=rf"step i \(instructions\).*{why}"):
        conduct(step, mine(), ProgramState(), ("i",))


def test_a_step_that_says_it_clears_and_does_not_is_an_error():
    step = Idle(lambda _, state: told(state), replace(INSTRUCTIONS, clears=("demos",)))
    state = ProgramState({"name": (Demo({"number": 1}, {"colour": "red"}),)})
    with pytest.raises(StepError, match="left demos in the program, and says that it clears demos"):
        conduct(step, mine(), state, ("i",))


def test_what_the_users_program_did_is_no_fault_of_the_step():
    broken = mine(metric=lambda *_: 7.0)
    with pytest.raises(MetricError):
        conduct(CHOOSE, broken, ProgramState(), ("i",))


def test_a_mistake_of_this_package_keeps_its_own_exception(monkeypatch):
    monkeypatch.setattr("pytest_bettertogether.optimize.prompts.candidates", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        conduct(BUILT_IN["p"], mine(), ProgramState(), ("p",))


def test_the_record_tells_all_that_the_state_does_and_where_it_was_made():
    found = better_together(mine(), Strategy(("i", "p", "w")), steps=STEPS)
    first, second, third = found.steps
    assert (first.path, first.instructions, first.chosen) == (
        "i",
        {"name": "Answer in one word."},
        "Answer in one word.",
    )
    assert (second.path, second.instructions, second.demos) == ("ip", {}, {})  # it needed none any more
    assert (third.path, third.adapter) == ("ipw", "adapter1")
    assert found.state.instructions == {"name": "Answer in one word."}
    assert all(record.seconds > 0 for record in found.steps)


def test_w_trains_on_the_prompts_that_the_tuned_program_asks_with():
    current = mine()
    found = better_together(current, Strategy(("i", "w")), steps=STEPS)
    ((rows, _),) = current.backend.trained
    evaluate(current, found.state, current.splits.test, 0)
    system = current.backend.calls[-1][0][0]
    assert {row.messages[0] for row in rows} == {system}
    assert system.content.startswith("Answer in one word.")


def test_a_step_is_refused_on_an_engine_that_lacks_what_it_needs():
    class Untrainable:
        untrainable = "this engine cannot train"

        def generate(self, *_):
            raise AssertionError("nothing is asked")

    needs = {need: Idle(kind=replace(INSTRUCTIONS, needs=(need,))) for need in ("training", "likelihoods")}
    current = replace(mine(), backend=Untrainable())
    for need, why in (("training", "step i: this engine cannot train"), ("likelihoods", "cannot tell how likely")):
        outcome = conduct(needs[need], current, ProgramState(), ("i",))
        assert why in outcome.refused
        assert outcome.record == StepRecord("i")


@pytest.mark.parametrize("wrong", [None, 5, Bound])
def test_a_bound_that_is_none_is_an_error_that_names_the_step(wrong):
    step = Idle()
    step.bound = lambda *_: wrong
    with pytest.raises(StepError, match=r"step i \(instructions\): its bound is a \w+: expected a Bound"):
        bound(step, mine(), frozenset())
    step.bound = lambda *_: Bound(calls=-1)
    with pytest.raises(StepError, match=r"step i \(instructions\): its bound raised ValueError.*whole number from 0"):
        bound(step, mine(), frozenset())


@dataclass(frozen=True)
class Listed:
    texts: tuple = ()


@dataclass
class Loose:
    texts: str = ""


class Bare:
    pass


UNFIT = {
    "a class": (ChooseInstruction, r"is a class: register an object of it, ChooseInstruction\(\)"),
    "nothing at all": (
        Bare(),
        r"step Bare lacks kind \(a StepKind.*; run\(experiment, state, path\); bound\(experiment, before\)",
    ),
    "None": (None, "step NoneType lacks kind"),
}


@pytest.mark.parametrize("unfit", UNFIT)
def test_an_object_that_is_no_step_is_told_all_that_it_lacks(unfit):
    step, why = UNFIT[unfit]
    with pytest.raises(ValueError, match=why):
        with_step((), step)


def test_parameters_and_values_are_looked_at_when_a_step_is_registered():
    step = Idle()
    step.run = lambda state: None
    with pytest.raises(ValueError, match=r"^step Idle lacks run\(experiment, state, path\)$"):
        with_step((), step)
    with pytest.raises(ValueError, match="the recipe has search values already"):
        with_step((), Idle(kind=replace(INSTRUCTIONS, name="search")))
    for defaults, why in (
        (Loose(), "an object of a frozen dataclass"),
        (Choice, "an object of a frozen dataclass"),
        ({"texts": ""}, "an object of a frozen dataclass"),
        (Listed(), "its default texts=.* must be a text, a number"),
    ):
        step = Idle()
        step.defaults = defaults
        with pytest.raises(ValueError, match=why):
            with_step((), step)
    with pytest.raises(ValueError, match=r"i \(instructions\) is there already: take another letter than p, w, i and"):
        with_step((CHOOSE,), Idle(kind=replace(PROMPTS, letter="i", name="others")))
    with pytest.raises(ValueError, match=r"p \(prompts\) is there already"):
        with_step((), Idle(kind=replace(INSTRUCTIONS, letter="p")))


def test_own_values_are_set_by_name_and_checked_by_type():
    set_so = RECIPE.override_text({"instructions.texts": "One."})
    assert set_so.own["instructions"] == Choice("One.")
    assert set_so.flat()["instructions.texts"] == "One."
    assert RECIPE.flat()["instructions.texts"] == Choice().texts
    with pytest.raises(ValueError, match=r"recipe has no value 'instructions\.text'"):
        RECIPE.override({"instructions.text": "x"})
    with pytest.raises(ValueError, match="expected str"):
        RECIPE.override({"instructions.texts": 5})
    assert Recipe().flat() == {key: value for key, value in RECIPE.flat().items() if "instructions" not in key}


def test_strategies_share_the_beginnings_that_they_have_in_common():
    current, done = mine(), []

    def remember(path, work):
        if path not in dict(done):
            done.append((path, work()))
        return dict(done)[path]

    for strategy in ("i", "iw", "ip", "iwi"):
        better_together(current, Strategy(tuple(strategy)), remember, STEPS)
    assert [path for path, _ in done] == [("i",), ("i", "w"), ("i", "p"), ("i", "w", "i")]


def test_the_kinds_of_the_built_in_steps_are_the_built_in_kinds():
    assert kinds_of(BUILT_IN) == KINDS


def test_the_example_chooses_by_score_and_says_what_it_cost():
    current = mine()
    outcome = conduct(CHOOSE, current, ProgramState(), ("i",))
    assert outcome.record.valid_scores["Answer in one word."] == 1.0
    assert outcome.record.usage.lm_calls == len(current.backend.calls) == 3 * outcome.record.valid_n
