"""No network for what lm-eval stands on, where none is wanted."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

SWITCHES = {
    "HF_HUB_OFFLINE": (("huggingface_hub.constants", "HF_HUB_OFFLINE"), ("datasets.config", "HF_HUB_OFFLINE")),
    "HF_DATASETS_OFFLINE": (("datasets.config", "HF_DATASETS_OFFLINE"),),
    "HF_EVALUATE_OFFLINE": (("evaluate.config", "HF_EVALUATE_OFFLINE"),),
}
"""Environment variables, and where libraries keep what they read there when they were imported."""


@contextmanager
def offline_mode(on: bool) -> Iterator[None]:
    """With `on`, Hugging Face's libraries look at this machine only; afterwards all is as it was."""
    if not on:
        yield
        return
    before = {name: os.environ.get(name) for name in SWITCHES}
    loaded = {place: getattr(sys.modules[place[0]], place[1], None) for place in _places() if place[0] in sys.modules}
    os.environ.update(dict.fromkeys(SWITCHES, "1"))
    _switch(dict.fromkeys(loaded, True))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
        # What was imported meanwhile has read our values.
        was = {place: value for name, value in before.items() for place in SWITCHES[name]}
        _switch(
            {place: loaded.get(place, str(was[place]).upper() in ("1", "TRUE", "YES", "ON")) for place in _places()}
        )


def is_offline() -> bool:
    """Whether the network is not to be used: within `offline_mode`, or by Hugging Face's own variables."""
    return any(os.environ.get(name, "").upper() in ("1", "TRUE", "YES", "ON") for name in SWITCHES)


def _places() -> list[tuple[str, str]]:
    return [place for places in SWITCHES.values() for place in places]


def _switch(values: dict[tuple[str, str], object]) -> None:
    for (module, name), value in values.items():
        if hasattr(sys.modules.get(module), name):
            setattr(sys.modules[module], name, value)
