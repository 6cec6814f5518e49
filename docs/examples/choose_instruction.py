"""Step i: each predictor asks with that of some given instructions which scores best on V, the part of train for it."""

from dataclasses import dataclass, replace

from pytest_bettertogether.optimize.bound import bound_of_runs
from pytest_bettertogether.optimize.division import divide
from pytest_bettertogether.optimize.outcome import Outcome
from pytest_bettertogether.pipeline.steps import StepKind
from pytest_bettertogether.results.cell_results import StepRecord, Usage
from pytest_bettertogether.running.evaluate import evaluate


@dataclass(frozen=True)
class Choice:
    texts: str = "Answer in one word.|Think first, then answer."  # --bt-set="instructions.texts=...|..."


class ChooseInstruction:
    kind = StepKind(letter="i", name="instructions", noun="instruction step", plural="instruction steps",
                    does="chooses among given instructions by their scores on V", changes=("instructions",),
                    colours=("#8e3f8e", "#d59bd5"), mark="cross")  # fmt: skip
    defaults = Choice()

    def bound(self, experiment, before):
        valid = divide(experiment.splits.train, experiment.recipe.search, seed=0)[1]
        arms = len(experiment.recipe.own["instructions"].texts.split("|")) + 1
        return bound_of_runs(experiment, arms * len(valid), experiment.recipe.evaluate, before)

    def run(self, experiment, state, path):
        valid = divide(experiment.splits.train, experiment.recipe.search, experiment.derive(*path, "divide"))[1]
        arms = {"as before": state}  # it wins ties, so that the step never makes things worse on V
        for text in experiment.recipe.own["instructions"].texts.split("|"):
            arms[text] = replace(state, instructions=dict.fromkeys(experiment.program.predictors(), text))
        seed = experiment.derive(*path, "valid")
        found = {name: evaluate(experiment, arm, valid, seed) for name, arm in arms.items()}
        scores = {name: evaluation.mean for name, evaluation in found.items()}
        best = max(scores, key=scores.__getitem__)
        usage = sum((evaluation.usage for evaluation in found.values()), Usage())
        return Outcome(arms[best], StepRecord("".join(path), usage, len(arms) * len(valid), chosen=best,
                                              valid_scores=scores, valid_n=len(valid)))  # fmt: skip
