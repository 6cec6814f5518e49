"""The state of a program: frozen, hashable, told in the same words in every process, and the whole of it frozen."""

import copy
import json
import subprocess
import sys

import pytest
from scripted import Scripted

from pytest_bettertogether import Predict, Program, Signature, Splits, frozen
from pytest_bettertogether.engines.protocol import Completion
from pytest_bettertogether.pipeline.adapter import Adapter
from pytest_bettertogether.pipeline.errors import ProgramError
from pytest_bettertogether.pipeline.forms import FORMS
from pytest_bettertogether.pipeline.frozen import freeze
from pytest_bettertogether.pipeline.program import Demo
from pytest_bettertogether.pipeline.recipe import Recipe
from pytest_bettertogether.pipeline.state import ProgramState
from pytest_bettertogether.running.evaluate import Experiment, evaluate, prompts
from pytest_bettertogether.running.lockstep import run_program

KEPT = {"tried": ["a", {"score": 0.5, "n": 3}], "best": None, "done": True}
DEMO = Demo({"question": "Who?", "passages": ["one", "two"]}, {"answer": "Ada"}, bootstrapped=True)


def whole():
    return ProgramState({"say": (DEMO,)}, Adapter("somewhere", "ab12"), {"say": "Answer in one word."}, {"i": KEPT})


class Say(Program):
    def __init__(self):
        self.say = Predict("number -> parity", "Tell parity.")
        self.again = Predict(Signature.parse("number, parity -> word"))

    def forward(self, number):
        return self.again(number=number, parity=self.say(number=number).parity)


def test_what_was_given_can_be_changed_without_changing_the_state():
    kept, demos, inputs = copy.deepcopy(KEPT), [DEMO], {"passages": ["one"]}
    demo = Demo(inputs, {})
    state = ProgramState({"say": demos}, kept={"i": kept})
    before = hash(state), state.digest
    kept["tried"][1]["score"] = 1.0
    demos.clear()
    inputs["passages"].append("two")
    assert (hash(state), state.digest) == before
    assert state.demos["say"] == (DEMO,)
    assert state.kept == {"i": {"tried": ("a", {"score": 0.5, "n": 3}), "best": None, "done": True}}
    assert demo.inputs == {"passages": ("one",)}


@pytest.mark.parametrize("part", ["demos", "instructions", "kept"])
def test_nothing_in_a_state_can_be_set(part):
    state = whole()
    with pytest.raises(TypeError, match="does not support item assignment"):
        getattr(state, part)["say"] = ()
    with pytest.raises(AttributeError):
        getattr(state, part).clear()
    with pytest.raises(TypeError, match="does not support item assignment"):
        state.kept["i"]["tried"] = ()
    with pytest.raises(TypeError, match="does not support item assignment"):
        state.demos["say"][0].inputs["question"] = ""


def test_equal_states_are_one_key_and_different_ones_tell_what_differs():
    assert {whole(): 1}[whole()] == 1
    assert whole().differs(whole()) == frozenset()
    assert whole().differs(ProgramState()) == {"demos", "instructions", "weights", "kept"}
    assert ProgramState() == ProgramState({}, None, {}, {})
    assert copy.deepcopy(whole()) == whole()


def test_the_digest_is_the_same_in_every_process_and_sees_everything():
    code = (
        "from pytest_bettertogether.pipeline.state import ProgramState\n"
        "print(ProgramState(instructions={'b': 'x', 'a': 'y'}, kept={'i': {'z': [1], 'y': None}}).digest)"
    )
    said = {
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout for _ in "12"
    }
    assert said == {ProgramState(instructions={"a": "y", "b": "x"}, kept={"i": {"y": None, "z": (1,)}}).digest + "\n"}
    changed = [
        ProgramState(demos={"say": (DEMO,)}),
        ProgramState(adapter=Adapter("elsewhere", "ab")),
        ProgramState(instructions={"say": ""}),
        ProgramState(kept={"i": None}),
        ProgramState(),
    ]
    assert len({state.digest for state in changed}) == len({hash(state) for state in changed}) == 5


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"kept": {"i": {1, 2}}}, r"kept\['i'\] is a set, which JSON does not have"),
        ({"kept": {"i": {"a": [float("nan")]}}}, r"kept\['i'\]\['a'\]\[0\] is nan"),
        ({"kept": {"i": {1: "a"}}}, r"kept\['i'\] has the key 1, which is no text"),
        ({"kept": {"i": [b"x"]}}, r"kept\['i'\]\[0\] is a bytes"),
        ({"kept": {"P": 1}}, r"kept\['P'\]: expected the letter"),
        ({"kept": {"é": 1}}, r"kept\['é'\]: expected the letter"),
        ({"kept": {"ii": 1}}, r"kept\['ii'\]: expected the letter"),
        ({"instructions": {"say": None}}, r"instructions\['say'\] is a NoneType"),
        ({"demos": {"say": ["no demo"]}}, r"demos\['say'\]: expected a tuple of Demo"),
    ],
)
def test_what_no_program_can_hold_is_refused_by_its_place(values, why):
    with pytest.raises(ValueError, match=why):
        ProgramState(**values)


def test_an_instruction_stands_in_place_of_the_written_one_in_every_form():
    state = ProgramState(instructions={"say": "Odd or even?"})
    for form in FORMS.values():
        asked = []

        def generate(wave, asked=asked):
            texts = [prompt.text or prompt.messages[0].content for prompt in wave]
            asked.extend(texts)
            return [Completion("Parity: odd\nparity: odd\nWord: x\nword: x", 1, 1) for _ in wave]

        for current in (ProgramState(), state):
            run_program(
                Say(),
                current,
                Splits.of([{"number": 1}], [{"number": 2}], [{"number": 3}]).train,
                generate,
                0,
                form=form,
            )
        written, again, overridden, same = asked
        assert "Tell parity." in written
        assert overridden == written.replace("Tell parity.", "Odd or even?")
        assert again == same


def test_a_report_shows_the_prompts_that_were_asked():
    rows = [{"number": n, "parity": "odd"} for n in range(3)]
    engine = Scripted(lambda messages, _: "parity: odd\nword: x")
    experiment = Experiment(
        "t", "m", 0, Say(), Splits.of(rows[:1], rows[1:2], rows[2:]), lambda *_: 1.0, engine, Recipe()
    )
    state = ProgramState(instructions={"say": "Odd or even?"})
    assert prompts(experiment, state)["say"][0][1].startswith("Odd or even?\n")
    evaluate(experiment, state, experiment.splits.test, 0)
    assert (
        engine.calls[0][0]
        == FORMS["chat"].ask(Signature.parse("number -> parity", "Odd or even?"), (), {"number": 2}).messages
    )


def test_the_whole_state_is_frozen_and_read_back(tmp_path):
    demo = Demo({"number": 3}, {"parity": "odd"})
    state = ProgramState({"say": (demo,)}, None, {"again": "Say it."}, {"i": KEPT})
    freeze(tmp_path, Say(), state, FORMS["chat"], {"strategy": "ip", "model": {}}, "")
    assert frozen(Say, tmp_path).state({}) == state
    assert frozen(Say, tmp_path).steps == ("i", "p")
    kept = json.loads((tmp_path / "program.json").read_text())
    assert kept["predictors"]["again"]["instruction"] == "Say it."
    assert "instruction" not in kept["predictors"]["say"]


OLD = {
    "format": 1,
    "prompt_format": 1,
    "adapter": "",
    "predictors": {
        "say": {
            "prompt": FORMS["chat"].turns(Say().say.signature, (), {})[0][1],
            "demos": [{"inputs": {"number": 3}, "outputs": {"parity": "odd"}, "bootstrapped": True}],
        },
        "again": {"prompt": FORMS["chat"].turns(Say().again.signature, (), {})[0][1], "demos": []},
    },
    "task": "parity",
    "strategy": "pp",
    "seed": 1,
    "model": {"model": "parrot"},
}
"""A program.json as version 0.1 wrote it, before a state had instructions."""


def test_a_program_of_format_1_is_still_read(tmp_path):
    (tmp_path / "program.json").write_text(json.dumps(OLD, indent=1) + "\n")
    assert frozen(Say, tmp_path).state({}) == ProgramState({"say": (Demo({"number": 3}, {"parity": "odd"}, True),)})
    assert frozen(Say, tmp_path).steps == ("p", "p")


HOSTILE = {
    "predictors that are a list": {"predictors": []},
    "a predictor that is a text": {"predictors": {"say": "x"}},
    "a demo with a foreign field": {"predictors": {"say": {"prompt": "", "demos": [{"code": 1}]}}},
    "an instruction that is a number": {"predictors": {"say": {"prompt": "", "demos": [], "instruction": 7}}},
    "kept data under a word": {"kept": {"everything": 1}},
    "kept data that is a list": {"kept": [1]},
}


@pytest.mark.parametrize("fault", HOSTILE)
def test_a_program_that_is_none_is_one_clear_error(tmp_path, fault):
    (tmp_path / "program.json").write_text(json.dumps({**OLD, "format": 2, **HOSTILE[fault]}))
    with pytest.raises(
        ProgramError,
        match=r"its program.json (cannot be read|holds what .* cannot use): (predictors|kept).*export it again",
    ):
        frozen(Say, tmp_path).state({})


def test_a_program_nested_beyond_measure_is_one_clear_error(tmp_path):
    (tmp_path / "program.json").write_text("[" * 200_000)
    with pytest.raises(ProgramError, match=r"its program.json cannot be read"):
        frozen(Say, tmp_path).state({})
