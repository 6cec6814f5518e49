"""The chat form, version 1: what is sent, and what is read out of what comes back."""

import re
import sys
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_bettertogether import ChainOfThought, Predict, Signature, Unparsable
from pytest_bettertogether.pipeline import reading
from pytest_bettertogether.pipeline.forms import FORMS
from pytest_bettertogether.pipeline.program import Demo
from pytest_bettertogether.pipeline.prompt import Unshowable

CHAT = FORMS["chat"]
QA = ChainOfThought(
    "context, question -> answer",
    instruction="Answer the question.",
    describe={"context": "may hold facts", "answer": "a few words"},
).signature
SOLE = Predict("question -> answer").signature

HEADERS = [
    "answer:",
    "Answer :",
    "**answer:**",
    "context:",
    "> question: x",
    "\\answer:",
    "\\\\reasoning: a",
    "- Reasoning:",
    "Final answer: 7",
    "<think>",
    "</think>",
]
TEXT = st.text() | st.lists(
    st.sampled_from([*HEADERS, "", " ", "plain", "\r", "\u2028", "`", "\\"]) | st.text(), max_size=6
).map("\n".join)
NAMES = ["isim", "search_query", "answer", "answer_type", "K", "kids", "s_s", "x1"]
SIGNATURES = st.permutations(NAMES).map(
    lambda names: Signature.parse(f"{', '.join(names[:2])} -> {', '.join(names[2:5])}")
)


def canonical(text):
    return text.strip().replace("\r\n", "\n").replace("\r", "\n")


def test_a_chat_is_a_system_turn_the_demos_and_the_question():
    demos = [
        Demo(
            {"context": ["One | first.", "Two | second\nline."], "question": "Who?"},
            {"reasoning": "Because.", "answer": "Ann"},
        ),
        Demo({"question": "Labelled?"}, {"answer": "yes"}),
    ]
    asked = CHAT.ask(QA, demos, {"context": [], "question": "Where?\ncontext: none"}, noise=3)
    assert (CHAT.id, asked.noise, asked.text, asked.stop) == ("chat 1", 3, "", ())
    assert [(turn.role, turn.content) for turn in asked.messages] == [
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
    assert CHAT.parse(QA, CHAT.answer(QA, values)) == {name: canonical(text) for name, text in values.items()}


@given(signature=SIGNATURES, texts=st.lists(TEXT, min_size=3, max_size=3))
def test_what_is_rendered_for_any_fields_is_parsed_back(signature, texts):
    values = dict(zip([field.name for field in signature.outputs], texts))
    read = CHAT.parse(signature, CHAT.answer(signature, values))
    assert read == {name: canonical(text) for name, text in values.items()}


@given(first=TEXT, second=TEXT, other=TEXT)
def test_different_inputs_never_render_alike(first, second, other):
    mine, theirs = {"context": first, "question": second}, {"context": second, "question": other}
    same = all(canonical(mine[name]) == canonical(theirs[name]) for name in mine)
    assert (CHAT.ask(QA, (), mine) == CHAT.ask(QA, (), theirs)) == same


ANYTHING = st.text(st.characters() | st.characters(categories=["Cs"])) | TEXT


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@settings(max_examples=500)
@given(text=ANYTHING)
def test_parsing_anything_gives_the_outputs_or_says_what_is_missing(form, text):
    for signature in (QA, SOLE):
        try:
            values = form.parse(signature, text)
        except Unparsable:
            continue
        assert list(values) == [field.name for field in signature.outputs]
        assert all(value.encode() is not None for value in values.values())  # an engine can be sent them


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
        ("answer:\nanswer: 43", "", "43"),
        ("answer: 42\nquestion: and now?\nanswer: 43", "", "42"),
        ("reasoning: so\nanswer: 42\n\nreasoning: again", "so", "42"),
        ("reasoning: \\[ x \\]\n\\frac\nanswer: 42", "\\[ x \\]\n\\frac", "42"),
        ("answer:", "", ""),
        ("answer: one\ntwo", "", "one\ntwo"),
        ("2 + 3 is 5.\nFinal answer: 5", "2 + 3 is 5.", "5"),
        ("Final answer: 5", "", "5"),
        ("reasoning: so\n**The final answer is:** 5", "so", "5"),
        ("Result: 2 apples, then 3.\n\nThe answer is: 5", "Result: 2 apples, then 3.", "5"),
        ("reasoning: so\nanswer: 42\nFinal answer: 43", "so", "42\nFinal answer: 43"),
        ("<think>\nanswer: 7? no.\n</think>\nreasoning: so\nanswer: 5", "so", "5"),
        ("Is it 7?\nanswer: 7\n</think>\n\nanswer: 5", "", "5"),
        ("reasoning: the tag </think>\nends it\nanswer: 5", "the tag </think>\nends it", "5"),
    ],
)
def test_small_models_are_understood(completion, reasoning, answer):
    assert CHAT.parse(QA, completion) == {"reasoning": reasoning, "answer": answer}


@pytest.mark.parametrize(
    "completion",
    [
        "",
        "I do not know",
        "reasoning: so",
        "reasoning: 3 + 2\nquestion: what is 2 + 2?\nreasoning: two\nanswer: 4",  # the answer to another question
        "3 + 2\ncontext: none\nquestion: what is 2 + 2?\nFinal answer: 4",
        "<think>\nanswer: 7? no.\nanswer: 5",  # cut off before it answered
    ],
)
def test_a_missing_answer_is_unparsable(completion):
    with pytest.raises(Unparsable, match="no answer"):
        CHAT.parse(QA, completion)


@pytest.mark.parametrize(
    ("completion", "answer"),
    [
        (" Paris\n", "Paris"),
        ("5\nquestion: what is 2 + 2?\nanswer: 4", "5"),
        ("Let us see.\nanswer: 4", "4"),
        ("Final answer: 5", "5"),
        ("answer: 4\nanswer: 5", "4"),
    ],
)
def test_a_sole_output_needs_no_header(completion, answer):
    assert CHAT.parse(SOLE, completion) == {"answer": answer}


@pytest.mark.parametrize(
    "completion", ["Answer: high", "**The answer is:** high", "output : high", "level: high", "high"]
)
def test_a_sole_output_may_have_another_label(completion):
    assert CHAT.parse(Predict("heat -> level").signature, completion) == {"level": "high"}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize(
    ("signature", "completion", "found"),
    [
        ("metin -> isim", "\u0130sim: Ali", {"isim": "Ali"}),  # the right capital of the field's own name in Turkish
        ("text -> title", "T\u0130TLE: x", {"title": "x"}),
        ("text -> sum, kind", "\u017fum: 3\n\u212aind: odd", {"sum": "3", "kind": "odd"}),
        ("text -> kind", "k\u0131nd: odd", {"kind": "odd"}),
        ("question -> search_query", "Search Query: red fox", {"search_query": "red fox"}),
    ],
)
def test_a_header_is_known_in_any_case_and_with_spaces(form, signature, completion, found):
    assert form.parse(Signature.parse(signature), completion) == found


def test_names_that_begin_alike_are_told_apart():
    signature = Signature.parse("question -> answer, answer_type")
    values = {"answer": "a", "answer_type": "b"}
    assert CHAT.parse(signature, CHAT.answer(signature, values)) == values


def test_an_empty_reasoning_is_not_shown():
    assert CHAT.answer(QA, {"reasoning": "", "answer": "42"}) == "answer: 42"


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize(
    ("value", "kind"),
    [({"a": 1}, "a dict"), (None, "None"), (b"x", "a bytes"), ({"x"}, "a set"), (["x", 1], "a list that holds other")],
)
def test_a_value_that_is_no_text_is_refused(form, value, kind):
    with pytest.raises(Unshowable, match=f"field 'question' is {kind}.*: a prompt shows texts, numbers and lists"):
        form.ask(QA, (), {"question": value})


def steps(read, text):
    """How often the lines of our reader run, and the characters that its regular expressions and methods are given."""
    counted = Counter()

    def trace(frame, event, _argument):
        if frame.f_code.co_filename != reading.__file__:
            return None
        counted["lines"] += event == "line"
        return trace

    sys.settrace(trace)
    try:
        read(text)
    except Unparsable:
        pass
    finally:
        sys.settrace(None)
    return counted["lines"]


LONG = {
    "blanks": " ",
    "tabs": "\t",
    "brackets": ">",
    "stars": "*",
    "colons": ":",
    "backslashes": "\\",
    "blank lines": " \n",
    "headers": "answer:\n",
    "empty headers": "answer:\nreasoning:\n",
    "labels": "Final answer:\n",
    "names": "answer ",
    "drafts": "<think>\n",
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("kind", LONG)
def test_reading_takes_steps_in_proportion_to_the_length(form, kind):
    for before in ("", "x\n"):
        short, long = (steps(lambda text: form.parse(QA, text), before + LONG[kind] * n + "x") for n in (500, 1000))
        assert long <= 2 * short + 10


REPEATS = re.compile(r"(?:\[[^]]*\]|\\.|[^\\])([*+])(\+?)")


@pytest.mark.parametrize("pattern", [reading.headers(QA), reading._LABEL], ids=["headers", "label"])
def test_no_run_of_characters_is_tried_twice(pattern):
    """Each unbounded repeat gives nothing back, so that matching at one place looks at each character once."""
    repeats = REPEATS.findall(pattern.pattern)
    assert len(repeats) >= 4
    assert all(possessive for _, possessive in repeats)
    assert pattern.match(" " * 10**6 + "x") is None  # of a quadratic pattern, hours
    assert pattern.match("*" * 10**6 + " " * 10**6) is None
