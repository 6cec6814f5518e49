"""The steps of the paper; others come from a hook or from packages."""

from ..pipeline.fixed import Fixed
from .prompts import PromptStep
from .step import Steps, with_step
from .weights import WeightStep

BUILT_IN: Steps = with_step(with_step(Fixed(), PromptStep()), WeightStep())
"""p and w."""
