"""A metric of your own: how near a number comes to the label, as a share of the label."""

import re
from dataclasses import dataclass

NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


@dataclass(frozen=True)
class Near:
    field: str
    tolerance: float = 0.1  # part of what the metric is known by: with another one, baselines are stale

    def __call__(self, example, prediction):
        found = NUMBER.findall(prediction[self.field])
        if not found:
            return 0.0
        wanted = float(example[self.field])
        error = abs(float(found[-1]) - wanted) / max(abs(wanted), 1.0)
        return max(0.0, 1.0 - error / self.tolerance)
