"""Steps and strategies: the paper's algorithm, and the known mistakes of DSPy's that we must not share."""

from dataclasses import replace

import pytest
from scripted import Scripted

from pytest_bettertogether import ChainOfThought, Example, Predict, Program, Splits, exact_match
from pytest_bettertogether.optimize.bettertogether import better_together, run_seed
from pytest_bettertogether.optimize.division import divide
from pytest_bettertogether.pipeline.errors import MetricError
from pytest_bettertogether.pipeline.recipe import PromptSearch, Recipe
from pytest_bettertogether.pipeline.state import ProgramState
from pytest_bettertogether.pipeline.strategy import PAPER, Strategy
from pytest_bettertogether.results.cell_results import DecidedEarly
from pytest_bettertogether.running.evaluate import Experiment, evaluate

COLOURS = ["red", "green", "blue"]


class Name(Program):
    def __init__(self):
        self.name = ChainOfThought("number -> colour")

    def forward(self, number):
        return self.name(number=number)


def rows(first, count):
    # Sorted by class, as Iris is: a split that only cuts heads off would see one colour.
    numbers = sorted(range(first, first + count), key=lambda n: n % 3)
    return [{"id": n, "number": n, "colour": COLOURS[n % 3]} for n in numbers]


SPLITS = Splits.of(rows(0, 30), rows(100, 6), rows(200, 9))


def number_asked(messages):
    return int(messages[-1].content.removeprefix("number: "))


def shows_demos(messages):
    return len(messages) > 2


def capable(messages, adapter):
    """Right on everything once it is tuned or sees demos; else right for red alone."""
    colour = COLOURS[number_asked(messages) % 3] if adapter or shows_demos(messages) else "red"
    return f"reasoning: by heart\ncolour: {colour}"


def experiment(answer=capable, **changes):
    return Experiment(
        **{
            "task": "colours",
            "model": "scripted",
            "seed": 0,
            "program": Name(),
            "splits": SPLITS,
            "metric": exact_match("colour"),
            "backend": Scripted(answer),
            "recipe": Recipe(),
            **changes,
        }
    )


def optimized(strategy, **changes):
    mine = experiment(**changes)
    return mine, better_together(mine, Strategy.parse(strategy))


def remembering(experiment):
    """A `Remember` that does a step once, and the paths that it did."""
    outcomes = {}

    def remember(path, work):
        if path not in outcomes:
            outcomes[path] = work()
        return outcomes[path]

    return remember, outcomes


def test_zero_is_the_program_as_written():
    mine, found = optimized("zero")
    assert (found.state, found.steps, mine.backend.calls) == (ProgramState(), (), [])


def test_p_finds_demos_and_keeps_the_weights():
    _, found = optimized("p")
    (record,) = found.steps
    demos = found.state.demos["name"]
    assert found.state.adapter is None
    assert 1 <= len(demos) <= 3
    assert record.chosen == "labelled"  # the first of several perfect candidates
    assert record.valid_scores == {"zero": pytest.approx(1 / 3, abs=0.2), "labelled": 1.0}
    # As nobody can beat 100 %, those behind it are asked nothing.
    assert record.decided_early == {
        name: DecidedEarly(0, 0.0, 1.0) for name in ("unshuffled", *(f"sampled-{i}" for i in range(6)))
    }
    everything = Recipe().override({"search.block": 0})
    assert optimized("p", recipe=everything)[1].state == found.state


@pytest.mark.parametrize("path", ["p", "wp"])
def test_p_never_shows_a_candidate_the_rows_it_is_scored_on(path):
    mine, _ = optimized(path, recipe=Recipe().override({"search.fixed_arms": False}))
    scoring = [messages for messages, _, _ in mine.backend.calls if shows_demos(messages)]
    shown = {message.content for messages in scoring for message in messages[1:-1] if message.role == "user"}
    asked = {messages[-1].content for messages in scoring}
    assert 3 <= len(shown) <= 9
    assert len(asked) == 21
    assert not shown & asked


@pytest.mark.parametrize("block", [1, 5, 0])
def test_a_candidate_that_cannot_win_is_asked_no_more_and_has_no_score(block):
    def by_demos(messages, adapter):
        """Right on a share of the numbers that depends on which demos it sees."""
        n, shown = number_asked(messages), sum(map(len, (message.content for message in messages[1:-1])))
        return f"colour: {COLOURS[n % 3] if (n * 7 + shown) % 10 < shown % 8 + 2 else 'none'}"

    def searched(block):
        mine, found = optimized("p", answer=by_demos, recipe=Recipe().override({"search.block": block}))
        return mine, found.steps[0], found.state

    mine, record, state = searched(block)
    plain, full, its_state = searched(21)
    assert (record.chosen, state) == (full.chosen, its_state)
    assert record.valid_scores[record.chosen] == full.valid_scores[record.chosen]
    assert record.usage.lm_calls == record.runs == len(mine.backend.calls) <= len(plain.backend.calls)
    assert not record.valid_scores.keys() & record.decided_early.keys()
    assert len(record.valid_scores) + len(record.decided_early) == 9
    for name, early in record.decided_early.items():
        assert early.scored < 21
        assert early.points <= early.scored
        assert early.at_most <= record.valid_scores[record.chosen]
        assert name not in full.valid_scores or full.valid_scores[name] <= early.at_most
    if block == 1:
        assert record.runs < full.runs
        assert any(early.scored for early in record.decided_early.values())


def test_p_takes_t_and_v_from_all_over_a_sorted_train():
    """DSPy's defect 6: a validation split cut off the head of a class-sorted list, the same at every step."""
    mine = experiment()
    halves = [divide(SPLITS.train, mine.recipe.search, mine.derive(*path, "divide")) for path in ("p", "pp", "wp")]
    for for_traces, for_scores in halves:
        assert {e["colour"] for e in for_traces} == {e["colour"] for e in for_scores} == set(COLOURS)
    assert len({tuple(e.id for e in for_traces) for for_traces, _ in halves}) == 3


def test_large_trains_are_cut_to_the_papers_sizes():
    train = [Example.of({"n": n}) for n in range(1000)]
    for_traces, for_scores = divide(train, PromptSearch(), seed=0)
    assert (len(for_traces), len(for_scores)) == (100, 250)


def test_w_trains_one_adapter_and_restores_the_prompts():
    _, found = optimized("w")
    assert found.state.adapter.digest == "adapter1"
    assert found.state.demos == {}
    (record,) = found.steps
    assert (record.traces_passed, record.train_rows, record.adapter) == (10, 10, "adapter1")
    assert record.distinct_outputs == 1  # it only ever said red: what the report warns of


def test_after_w_every_call_runs_on_the_tuned_weights():
    """DSPy's defect 1: after a weight step its prompt search runs on the global model."""
    mine, _ = optimized("wp")
    before_w = len(SPLITS.train)
    assert {adapter for _, adapter, _ in mine.backend.calls[:before_w]} == {""}
    assert {adapter for _, adapter, _ in mine.backend.calls[before_w:]} == {"adapter1"}
    run_seed(mine, Strategy.parse("wp"))
    assert {adapter for _, adapter, _ in mine.backend.calls[-len(SPLITS.test) :]} == {"adapter2"}


def test_training_rows_hold_the_vanilla_prompt_although_demos_made_them():
    """DSPy's defect 2: by default its training rows contain the demos."""
    mine, found = optimized("pw")
    bootstrapping = mine.backend.calls[-len(SPLITS.train) :]
    assert all(shows_demos(messages) for messages, _, _ in bootstrapping)
    ((trained, _),) = mine.backend.trained
    assert len(trained) == len(SPLITS.train)
    for row in trained:
        assert [each.role for each in row.messages] == ["system", "user"]
        colour = COLOURS[number_asked(row.messages) % 3]
        assert row.completion == f"reasoning: by heart\ncolour: {colour}"
    assert found.state.demos == {}


def test_an_unparsable_answer_neither_stops_w_nor_is_trained_on():
    """DSPy's defect 3: one unparsable output kills the weight step."""

    def sometimes_silent(messages, adapter):
        return "hm" if number_asked(messages) % 4 == 0 else f"colour: {COLOURS[number_asked(messages) % 3]}"

    mine, found = optimized("w", answer=sometimes_silent)
    ((trained, _),) = mine.backend.trained
    assert len(trained) == sum(e["number"] % 4 != 0 for e in SPLITS.train)
    assert not any("hm" in row.completion for row in trained)
    assert found.refused == ""


@pytest.mark.parametrize("right", [0, 7])
def test_w_on_too_few_traces_is_refused_and_trains_nothing(right):
    """DSPy's defect 4: zero passing traces still start a training job."""

    def rarely(messages, adapter):
        n = number_asked(messages)
        return f"colour: {COLOURS[n % 3] if n < right else 'none'}"

    mine, found = optimized("wp", answer=rarely)
    assert f"{right} of 30 program runs passed" in found.refused
    assert "at least 8" in found.refused
    assert mine.backend.trained == []
    assert len(mine.backend.calls) == 30  # the p after it did not run
    assert run_seed(mine, Strategy.parse("wp")).examples == ()


def test_a_partial_score_does_not_pass():
    """DSPy's defect 5: any score above zero counts as passing."""
    _, found = optimized("w", metric=lambda example, prediction: 0.5)
    assert "0 of 30" in found.refused
    _, found = optimized("w", metric=lambda example, prediction: 0.5, recipe=replace(Recipe(), threshold=0.5))
    assert found.steps[0].traces_passed == 30


def test_ww_goes_on_from_the_first_adapter():
    mine, _ = optimized("ww")
    assert [start for _, start in mine.backend.trained] == ["", "adapter1"]


def test_a_later_p_starts_from_the_original_prompts():
    """Line 3 of Algorithm 1 takes the original templates: the candidate without demos competes again."""
    _, found = optimized("pwp")
    _, _, last = found.steps
    assert last.valid_scores["zero"] == 1.0
    assert last.chosen == "zero"  # tuned, it needs no demos, and the first best candidate wins ties
    assert found.state.demos == {}
    assert found.state.adapter is not None


def test_pp_bootstraps_with_the_current_program():
    _, found = optimized("pp")
    assert found.steps[0].traces_passed < found.steps[1].traces_passed == 9


def test_the_eight_strategies_share_four_p_and_three_w():
    mine = experiment()
    remember, outcomes = remembering(mine)
    shared = {each.id: run_seed(mine, each, remember) for each in PAPER}
    assert [sum(path[-1] == step for path in outcomes) for step in "pw"] == [4, 3]
    for each in PAPER:
        alone = run_seed(experiment(), each)
        assert alone.examples == shared[each.id].examples
        assert [step.valid_scores for step in alone.steps] == [step.valid_scores for step in shared[each.id].steps]


def test_the_test_split_is_seen_once_and_last():
    mine = experiment()
    result = run_seed(mine, Strategy.parse("pwp"))
    asked = [number_asked(messages) for messages, _, _ in mine.backend.calls]
    assert sorted(asked[-9:]) == sorted(e["number"] for e in SPLITS.test)
    assert not {n for n in asked[:-9] if n >= 100}  # nor is dev seen without being asked for
    assert (result.score, result.usage.lm_calls) == (1.0, 9)


def test_select_best_tests_the_earliest_best_prefix_by_dev_score():
    def worse_with_weights(messages, adapter):
        return f"colour: {'red' if adapter else COLOURS[number_asked(messages) % 3]}"

    mine = experiment(answer=worse_with_weights)
    result = run_seed(mine, Strategy.parse("pwp"), select="best")
    assert result.dev_scores == {"zero": 1.0, "p": 1.0, "pw": 1 / 3, "pwp": 1 / 3}
    assert (result.selected, result.score) == ("zero", 1.0)
    assert result.usage.lm_calls == 4 * len(SPLITS.dev) + len(SPLITS.test)  # test is seen once all the same
    last = run_seed(experiment(answer=worse_with_weights), Strategy.parse("pwp"))
    assert (last.selected, last.score, last.dev_scores) == ("pwp", 1 / 3, {})


def test_seeds_and_paths_change_what_is_drawn():
    cut = {
        tuple(e.id for e in divide(SPLITS.train, PromptSearch(), experiment(seed=seed).derive(*path, "divide"))[0])
        for seed in range(3)
        for path in ("p", "pp")
    }
    assert len(cut) == 6


def test_the_same_seed_gives_the_same_program():
    (_, first), (_, second) = optimized("pwp", seed=3), optimized("pwp", seed=3)
    assert first.state == second.state
    assert [replace(step, seconds=0.0) for step in first.steps] == [replace(step, seconds=0.0) for step in second.steps]


class TwoHops(Program):
    """One predictor called twice, then another."""

    def __init__(self):
        self.query = Predict("number -> search")
        self.answer = Predict("number, found -> colour")

    def forward(self, number):
        found = [self.query(number=number).search for _ in range(2)]
        return self.answer(number=number, found=found)


def test_programs_of_several_predictors_train_one_adapter_on_all_calls():
    def answer(messages, adapter):
        if "search" in messages[0].content:
            return "search: colours"
        return f"colour: {COLOURS[int(messages[-1].content.splitlines()[0].removeprefix('number: ')) % 3]}"

    mine, found = optimized("pw", answer=answer, program=TwoHops())
    ((trained, _),) = mine.backend.trained
    assert len(trained) == 3 * 30
    assert {row.completion.split(":")[0] for row in trained} == {"search", "colour"}
    best, _ = found.steps
    assert best.chosen == "zero"
    labelled = optimized("p", answer=answer, program=TwoHops(), recipe=Recipe().override({"search.candidates": 0}))
    record = labelled[1].steps[0]
    assert {*record.valid_scores, *record.decided_early} == {"zero", "labelled", "unshuffled"}


@pytest.mark.parametrize("value", [float("nan"), 3.7, -0.1])
def test_a_metric_outside_0_to_1_is_an_error_and_no_score(value):
    with pytest.raises(MetricError, match=r"the metric returned .* on example '\d+'"):
        evaluate(experiment(metric=lambda example, prediction: value), ProgramState(), SPLITS.test, seed=0)


def test_a_metric_that_raises_is_an_error_and_no_score():
    with pytest.raises(MetricError, match="KeyError"):
        evaluate(experiment(metric=exact_match("color")), ProgramState(), SPLITS.test, seed=0)


def test_an_unparsable_answer_scores_0_and_is_counted():
    evaluation = evaluate(experiment(answer=lambda m, a: "hm"), ProgramState(), SPLITS.test, seed=0)
    assert evaluation.mean == 0.0
    assert all(example.unparsable for example in evaluation.examples)
    assert {example.said["completion"] for example in evaluation.examples} == {"hm"}
    parsed = evaluate(experiment(), ProgramState(), SPLITS.test, seed=0)
    assert parsed.examples[0].said == {"reasoning": "by heart", "colour": "red"}
