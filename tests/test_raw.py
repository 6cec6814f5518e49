"""The prompt form of 2024: what is written, that it can be read again, and that every step uses it."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted import Scripted

from pytest_bettertogether import ChainOfThought, Predict, Program, Signature, Splits, Unparsable, exact_match
from pytest_bettertogether.engines.protocol import Completion
from pytest_bettertogether.optimize.bettertogether import run_seed
from pytest_bettertogether.pipeline.forms import FORMS
from pytest_bettertogether.pipeline.program import Demo
from pytest_bettertogether.pipeline.raw_form import STOP
from pytest_bettertogether.pipeline.recipe import LoraTuning, PromptSearch, Recipe
from pytest_bettertogether.pipeline.strategy import Strategy
from pytest_bettertogether.running.evaluate import Experiment

RAW = FORMS["raw"]
HOP = ChainOfThought(
    "context, question -> search_query", "Find what is missing.", {"context": "may hold facts"}
).signature
WHOLE = Demo(
    {"context": ["A | a.", "B | b."], "question": "Who?"},
    {"reasoning": "find it. We look.", "search_query": "it"},
    True,
)
PARTIAL = Demo({"question": "What?"}, {"search_query": "that"})

EXPECTED = """Find what is missing.

---

Question: What?
Search Query: that

---

Follow the following format.

Context: may hold facts
Question: ${question}
Reasoning: Let's think step by step in order to ${produce the search_query}. We ...
Search Query: ${search_query}

---

Context:
[1] «A | a.»
[2] «B | b.»
Question: Who?
Reasoning: Let's think step by step in order to find it. We look.
Search Query: it

---

Context: N/A
Question: Why?
Reasoning: Let's think step by step in order to"""


def test_a_prompt_is_written_as_in_2024():
    assert RAW.ask(HOP, [WHOLE, PARTIAL], {"context": [], "question": "Why?"}).text == EXPECTED
    alone = RAW.ask(Predict("question -> answer").signature, (), {"question": " Why? "}).text
    assert alone == (
        "Given the fields `question`, produce the fields `answer`.\n\n---\n\nFollow the following format.\n\n"
        "Question: ${question}\nAnswer: ${answer}\n\n---\n\nQuestion: Why?\nAnswer:"
    )


@pytest.mark.parametrize(
    ("completion", "outputs"),
    [
        (" find it.\nSearch Query: it", {"reasoning": "find it.", "search_query": "it"}),
        (
            " find it.\nsearch query: it\n\n---\n\nContext: N/A\nQuestion: next",
            {"reasoning": "find it.", "search_query": "it"},
        ),
        (" a\nb\nSearch Query: it\nQuestion: and now", {"reasoning": "a\nb", "search_query": "it"}),
        ("\nSearch Query: it", {"reasoning": "", "search_query": "it"}),
    ],
)
def test_a_completion_is_read_up_to_the_next_block_or_field(completion, outputs):
    assert RAW.parse(HOP, completion) == outputs


def test_a_completion_without_its_last_field_is_unparsable():
    with pytest.raises(Unparsable, match="no search_query"):
        RAW.parse(HOP, " I wonder")


WORDS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"], exclude_characters=":\\"), max_size=40)


@given(reasoning=WORDS, query=WORDS)
def test_what_is_learnt_is_what_is_read(reasoning, query):
    values = {"reasoning": " ".join(reasoning.split()), "search_query": " ".join(query.split())}
    if "---" not in reasoning + query:
        assert RAW.parse(HOP, RAW.answer(HOP, values)) == values


class Ask(Program):
    def __init__(self):
        self.ask = ChainOfThought("question -> answer")

    def forward(self, question):
        return self.ask(question=question)


ROWS = [{"id": n, "question": f"number {n}", "answer": ("even", "odd")[n % 2]} for n in range(36)]


class RawOnly(Scripted):
    """Answers texts; a chat would have no text to answer. Untuned and without examples it gets a third wrong."""

    def __init__(self):
        super().__init__(None)
        self.prompts = []

    def generate(self, prompts, sampling, adapter=None):
        self.prompts += prompts
        numbers = [int(prompt.text.rpartition("Question: number ")[2].split()[0]) for prompt in prompts]
        lost = [not adapter and "Question: number" not in prompt.text.rpartition("---")[0] for prompt in prompts]
        said = [("even", "odd")[(n + (bare and n % 3 == 0)) % 2] for n, bare in zip(numbers, lost)]
        return [Completion(f" see. We know.\nAnswer: {each}", 9, 3) for each in said]


def test_every_step_asks_in_the_recipes_form_and_trains_on_it():
    engine = RawOnly()
    splits = Splits.of(ROWS[:20], ROWS[20:28], ROWS[28:])
    recipe = Recipe(search=PromptSearch(candidates=1), lora=LoraTuning(min_traces=2), prompt="raw")
    experiment = Experiment("t", "m", 0, Ask(), splits, exact_match("answer"), engine, recipe)
    result = run_seed(experiment, Strategy.parse("pw"))
    assert result.score == 1.0
    assert all(prompt.text and not prompt.messages and prompt.stop == STOP for prompt in engine.prompts)
    ((rows, _),) = engine.trained
    assert all(row.messages == () and row.text.count("Question: number") == 1 for row in rows)  # no demos
    assert {row.completion.rpartition(": ")[2] for row in rows} == {"even", "odd"}
    assert any(prompt.text.count("Question: number") > 1 for prompt in engine.prompts)  # candidates had some


def test_both_forms_show_the_same_values():
    values = {"context": ["one"], "question": "two"}
    chat, text = (FORMS[name].ask(HOP, (), values, 7) for name in ("chat", "raw"))
    assert chat.noise == text.noise == 7
    shown = "".join(message.content for message in chat.messages)
    assert all(each in shown and each in text.text for each in ("one", "two", "Find what is missing."))


@pytest.mark.parametrize(
    ("completion", "answer"),
    [
        (" Paris\nQuestion: next?\nAnswer: London", "Paris"),
        (" Paris\nAnswer: London", "Paris"),  # the prompt ended with the output's name: what comes first is its value
        ("\nAnswer: Paris\nAnswer: London", "Paris"),  # the name said again
    ],
)
def test_the_value_that_the_prompt_began_counts(completion, answer):
    assert RAW.parse(Predict("question -> answer").signature, completion) == {"answer": answer}


GOLDEN = json.loads((Path(__file__).parent / "golden" / "forms.json").read_text())
SIGNATURES = {
    "qa": ChainOfThought(
        "context, question -> answer",
        "Answer the question.",
        {"context": "may hold facts", "answer": "a few\n words"},
    ).signature,
    "hop": ChainOfThought("context, question -> search_query").signature,
    "tr": Signature.parse("metin -> isim, tur"),
}


@pytest.mark.parametrize("case", GOLDEN, ids=range(len(GOLDEN)))
def test_version_1_of_both_forms_is_frozen_to_the_byte(case):
    signature = SIGNATURES[case["signature"]]
    names = signature.inputs[-1].name, signature.outputs[-1].name
    partial = Demo({names[0]: "Labelled?"}, {names[1]: case["partial"]})
    demos = [Demo(case["inputs"], case["outputs"], True), partial] if case["demos"] else []
    chat, raw = FORMS["chat"], FORMS["raw"]
    turns, answer = case["chat"]
    assert [list(turn) for turn in chat.turns(signature, demos, case["inputs"])] == turns
    assert chat.answer(signature, case["outputs"]) == answer
    assert [raw.ask(signature, demos, case["inputs"]).text, raw.answer(signature, case["outputs"])] == case["raw"]
    row = raw.row(signature, case["inputs"], case["outputs"])
    assert row.text == raw.ask(signature, (), case["inputs"]).text
    assert {chat.id, raw.id} == {"chat 1", "raw 1"}


def test_a_digest_changes_with_whatever_is_written_and_with_nothing_else():
    signatures, demo = {"ask": HOP}, {"ask": (WHOLE,)}
    described = replace(HOP, inputs=(replace(HOP.inputs[0], description="other"), *HOP.inputs[1:]))
    digests = {
        form.digest(written, demos)
        for form in FORMS.values()
        for written, demos in [
            (signatures, {}),
            (signatures, demo),
            ({"tell": HOP}, {}),
            ({"ask": replace(HOP, instruction="Other.")}, {}),
            ({"ask": described}, {}),
        ]
    }
    assert len(digests) == 10
    assert FORMS["raw"].digest(signatures) == FORMS["raw"].digest({"ask": replace(HOP)}, {"unused": (WHOLE,)})
