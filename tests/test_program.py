"""What a user writes a pipeline with."""

import pytest

from pytest_bettertogether import ChainOfThought, Predict, Prediction, Program, Signature
from pytest_bettertogether.pipeline.program import running


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("question", "question -> answer"),
        ("a -> b -> c", "expected"),
        (" -> answer", "field name ''"),
        ("two words -> answer", "two words"),
        ("answer -> Answer", "occurs twice"),
        ("search_query -> searchquery", "occurs twice"),
    ],
)
def test_a_malformed_signature_is_refused_with_its_form(text, problem):
    with pytest.raises(ValueError, match=problem):
        Signature.parse(text)


def test_describing_an_unknown_field_is_refused():
    with pytest.raises(ValueError, match="no field anwser"):
        Signature.parse("question -> answer", describe={"anwser": "short"})


def test_chain_of_thought_reasons_first_and_may_leave_it_out():
    reasoning, answer = ChainOfThought("question -> answer").signature.outputs
    assert (reasoning.name, reasoning.required, answer.name) == ("reasoning", False, "answer")


def test_a_predictor_checks_its_inputs():
    with pytest.raises(TypeError, match=r"missing question; unknown qestion"):
        Predict("question -> answer")(qestion="?")


def test_a_predictor_outside_a_run_says_so():
    with pytest.raises(RuntimeError, match="no model is running"):
        Predict("question -> answer")(question="?")


def test_a_predictor_asks_whoever_runs_it():
    with running(lambda predictor, inputs: Prediction(answer=inputs["question"] + "!")):
        assert Predict("question -> answer")(question="?").answer == "?!"
    with pytest.raises(RuntimeError):
        Predict("question -> answer")(question="?")


def test_predictors_are_found_in_attributes_lists_and_sub_programs():
    class Inner(Program):
        def __init__(self):
            self.ask = Predict("a -> b")

    class Outer(Program):
        def __init__(self):
            self.hops = [Predict("a -> b"), Predict("a -> b")]
            self.inner = Inner()

    assert list(Outer().predictors()) == ["hops.0", "hops.1", "inner.ask"]


def test_predictions_are_mappings_with_attributes_and_read_only():
    prediction = Prediction(answer="42", items="3")
    assert dict(prediction) == {"answer": "42", "items": "3"}
    assert prediction.answer == "42"
    assert list(prediction.keys()) == ["answer", "items"]
    with pytest.raises(AttributeError, match="it has answer, items"):
        _ = prediction.reasoning
    with pytest.raises(AttributeError, match="read-only"):
        prediction.answer = "43"
