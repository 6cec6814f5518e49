"""The steps of the paper; others come from a hook or from packages."""

from ..pipeline.fixed import Fixed
from .prompts import PromptStep
from .step import Further, Steps
from .weights import WeightStep


def steps_with(further: Further) -> Steps:
    """The built-in steps and further ones, by letter."""
    steps: Further = (PromptStep(), WeightStep(), *further)
    return Fixed({step.kind.letter: step for step in steps})


BUILT_IN: Steps = steps_with(())
"""p and w."""
