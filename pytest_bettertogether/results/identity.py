"""What must be equal for two results to be compared, as files of earlier versions tell it."""

from collections.abc import Mapping
from typing import Any

UNNAMED = "prompt_format"
"""Under this key the version alone of the prompt form was recorded, before forms had names."""


def current_identity(provenance: Mapping[str, Any], identity: Mapping[str, Any]) -> dict[str, Any]:
    """An identity as this version writes it: with the prompt form's name and version.

    Args:
        provenance: What was recorded beside it; its recipe tells the form that was asked in.
        identity: What a baseline or report recorded, in this version or an earlier one.
    """
    current = dict(identity)
    if UNNAMED in current:
        name = provenance.get("recipe", {}).get("prompt", "chat")
        current["prompt_form"] = f"{name} {current.pop(UNNAMED)}"
    return current
