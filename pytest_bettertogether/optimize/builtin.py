"""The steps of the paper; others come from a hook or from packages."""

from types import MappingProxyType

from .prompts import PromptStep
from .step import Steps, with_step
from .weights import WeightStep

NO_STEPS: Steps = MappingProxyType({})
BUILT_IN: Steps = with_step(with_step(NO_STEPS, PromptStep()), WeightStep())
"""p and w."""
