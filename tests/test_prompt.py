"""The prompt format, version 1: what is sent, and what is read out of what comes back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_bettertogether import ChainOfThought, Predict, Signature
from pytest_bettertogether.pipeline.program import Demo
from pytest_bettertogether.pipeline.prompt import (
    PROMPT_FORMAT,
    Unparsable,
    parse,
    render,
    render_inputs,
    render_outputs,
)

QA = ChainOfThought(
    "context, question -> answer",
    instruction="Answer the question.",
    describe={"context": "may hold facts", "answer": "a few words"},
).signature

HEADERS = [
    "answer:",
    "Answer :",
    "**answer:**",
    "context:",
    "> question: x",
    "\\answer:",
    "\\\\reasoning: a",
    "- Reasoning:",
]
TEXT = st.text() | st.lists(
    st.sampled_from([*HEADERS, "", " ", "plain", "\r", "\u2028", "`", "\\"]) | st.text(), max_size=6
).map("\n".join)


def canonical(text):
    return text.strip().replace("\r\n", "\n").replace("\r", "\n")


def test_version_1_is_frozen():
    demos = [
        Demo(
            {"context": ["One | first.", "Two | second\nline."], "question": "Who?"},
            {"reasoning": "Because.", "answer": "Ann"},
        ),
        Demo({"question": "Labelled?"}, {"answer": "yes"}),
    ]
    messages = render(QA, demos, {"context": [], "question": "Where?\ncontext: none"})
    assert PROMPT_FORMAT == 1
    assert [(each.role, each.content) for each in messages] == [
        (
            "system",
            "Answer the question.\n"
            "Inputs: context (may hold facts), question\n"
            "Outputs: reasoning (think step by step), answer (a few words)\n"
            "Reply with the outputs in order, each starting with its name and a colon.",
        ),
        ("user", "question: Labelled?"),
        ("assistant", "answer: yes"),
        ("user", "context: [1] One | first.\n[2] Two | second line.\nquestion: Who?"),
        ("assistant", "reasoning: Because.\nanswer: Ann"),
        ("user", "context: N/A\nquestion: Where?\n\\context: none"),
    ]


@given(reasoning=TEXT, answer=TEXT)
def test_what_is_rendered_is_parsed_back(reasoning, answer):
    values = {"reasoning": reasoning, "answer": answer}
    assert parse(QA, render_outputs(QA, values)) == {name: canonical(text) for name, text in values.items()}


@given(first=TEXT, second=TEXT, other=TEXT)
def test_different_inputs_never_render_alike(first, second, other):
    mine, theirs = {"context": first, "question": second}, {"context": second, "question": other}
    same = all(canonical(mine[name]) == canonical(theirs[name]) for name in mine)
    assert (render_inputs(QA, mine) == render_inputs(QA, theirs)) == same


@given(st.text())
def test_parsing_anything_gives_the_outputs_or_says_what_is_missing(text):
    try:
        values = parse(QA, text)
    except Unparsable:
        return
    assert set(values) == {"reasoning", "answer"}


@pytest.mark.parametrize(
    ("completion", "reasoning", "answer"),
    [
        ("reasoning: so\nanswer: 42", "so", "42"),
        ("answer: 42", "", "42"),
        ("It is so.\nTherefore\nanswer: 42", "It is so.\nTherefore", "42"),
        ("Reasoning: so\n\nAnswer: 42", "so", "42"),
        ("**Reasoning:** so\n**Answer:** 42", "so", "42"),
        ("**Reasoning**: so\n## Answer: 42", "so", "42"),
        ("answer: 42\nanswer: 43", "", "42"),
        ("answer: 42\nquestion: and now?\nanswer: 43", "", "42"),
        ("reasoning: so\nanswer: 42\n\nreasoning: again", "so", "42"),
        ("reasoning: \\[ x \\]\n\\frac\nanswer: 42", "\\[ x \\]\n\\frac", "42"),
        ("answer:", "", ""),
        ("answer: one\ntwo", "", "one\ntwo"),
    ],
)
def test_small_models_are_understood(completion, reasoning, answer):
    assert parse(QA, completion) == {"reasoning": reasoning, "answer": answer}


def test_a_sole_output_needs_no_header():
    assert parse(Predict("question -> answer").signature, " Paris\n") == {"answer": "Paris"}


@pytest.mark.parametrize(
    "completion", ["Answer: high", "**The answer is:** high", "output : high", "level: high", "high"]
)
def test_a_sole_output_may_have_another_label(completion):
    assert parse(Predict("heat -> level").signature, completion) == {"level": "high"}


def test_spaces_pass_for_underscores():
    assert parse(Predict("question -> search_query").signature, "Search Query: red fox") == {"search_query": "red fox"}


@pytest.mark.parametrize("completion", ["", "I do not know", "reasoning: so"])
def test_a_missing_answer_is_unparsable(completion):
    with pytest.raises(Unparsable, match="no answer"):
        parse(QA, completion)


def test_names_that_begin_alike_are_told_apart():
    signature = Signature.parse("question -> answer, answer_type")
    values = {"answer": "a", "answer_type": "b"}
    assert parse(signature, render_outputs(signature, values)) == values


def test_an_empty_reasoning_is_not_shown():
    assert render_outputs(QA, {"reasoning": "", "answer": "42"}) == "answer: 42"


def test_a_value_that_is_no_text_is_refused():
    with pytest.raises(TypeError, match="question"):
        render_inputs(QA, {"question": {"a": 1}})
