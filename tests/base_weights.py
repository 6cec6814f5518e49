"""Holds engines to it that no adapter, loaded or trained, alters a weight of the base model."""

import hashlib
import weakref
from contextlib import contextmanager

import pytest
import torch

from pytest_bettertogether.engines.hf.adapters import Adapters


def base_digest(base):
    """A digest of a model's weights, with or without peft's layers around them; LoRA's own are left out."""
    state = hashlib.sha256()
    named = {name.replace(".base_layer", ""): weight for name, weight in base.named_parameters() if "lora_" not in name}
    for name, weight in sorted(named.items()):
        state.update(name.encode() + weight.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return state.hexdigest()


@contextmanager
def base_guarded():
    """Compare the base's digest before and after each adapter that is added or overwritten, and at the end."""
    made = []

    def held(work):
        def guarded(adapters, *args):
            before = base_digest(adapters.base)
            done = work(adapters, *args)
            assert base_digest(adapters.base) == before, f"{work.__name__} has altered the base model's weights"
            return done

        return guarded

    begin = Adapters.__init__

    def noted(adapters, base, folder):
        begin(adapters, base, folder)
        made.append((weakref.ref(base), base_digest(base)))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Adapters, "__init__", noted)
        for name in ("_load", "add", "copy_into"):
            patch.setattr(Adapters, name, held(getattr(Adapters, name)))
        yield
    for reference, digest in made:
        base = reference()
        assert base is None or base_digest(base) == digest, "a base model's weights are not what was loaded"
