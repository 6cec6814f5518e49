"""A model's folder may come from anybody: its code is never run, and one that is not whole is one sentence."""

import io
import json
import os
import shutil
import sys
from dataclasses import replace

import pytest

torch = pytest.importorskip("torch", reason="engine tests need the hf extra")

from safetensors.torch import load_file, save_file  # noqa: E402

from pytest_bettertogether.engines.hf.encoding import Encoder  # noqa: E402
from pytest_bettertogether.engines.registry import TINY, load  # noqa: E402
from pytest_bettertogether.pipeline.errors import BackendError  # noqa: E402

CODE = """
open(MARK, "w").write("ran")
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast


class Config(LlamaConfig):
    pass


class Model(LlamaForCausalLM):
    config_class = Config


class Tokenizer(PreTrainedTokenizerFast):
    pass
"""


@pytest.fixture
def folder(tmp_path):
    shutil.copytree(TINY.path, tmp_path / "model")
    return tmp_path / "model"


def change(path, **values):
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def with_code(folder, mark):
    (folder / "evil.py").write_text(CODE.replace("MARK", repr(str(mark))))
    classes = {"AutoConfig": "evil.Config", "AutoModelForCausalLM": "evil.Model"}
    change(folder / "config.json", auto_map=classes)
    change(folder / "tokenizer_config.json", auto_map={"AutoTokenizer": [None, "evil.Tokenizer"]})
    change(folder / "generation_config.json", custom_generate="evil")


class Yes(io.StringIO):
    def readline(self, *_):
        raise AssertionError("standard input was asked")


@pytest.mark.parametrize("kind", ["llama", "unheard-of"])
def test_code_of_a_models_is_never_run_and_nobody_is_asked(folder, tmp_path, monkeypatch, kind):
    monkeypatch.setattr(sys, "stdin", Yes("y\ny\n"))
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path / "modules"))
    with_code(folder, tmp_path / "mark")
    change(folder / "config.json", model_type=kind)
    model = replace(TINY, path=str(folder))
    if kind == "llama":  # transformers has its own class
        load(model, tmp_path)
        Encoder.of(model, True)
    else:
        for read in (lambda: load(model, tmp_path), lambda: Encoder.of(model, True)):
            with pytest.raises(BackendError, match="brings code of its own, which is never run: use a model that"):
                read()
    assert not (tmp_path / "mark").exists()


def lose_a_tensor(folder):
    tensors = load_file(folder / "model.safetensors")
    tensors.pop("model.norm.weight")
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize(
    "spoil",
    [
        lambda folder: os.truncate(folder / "model.safetensors", 100_000),
        lambda folder: os.truncate(folder / "model.safetensors", 0),
        lambda folder: (folder / "model.safetensors").unlink(),
        lambda folder: (folder / "model.safetensors").write_bytes(b"\xff" * 64),
        lambda folder: (folder / "config.json").unlink(),
        lambda folder: (folder / "config.json").write_text("{"),
        lambda folder: (folder / "config.json").write_text("[]"),
        lambda folder: (folder / "config.json").write_text("[" * 100_000),
        lambda folder: (folder / "config.json").write_bytes(b"\xff\xfe"),
        lambda folder: change(folder / "config.json", hidden_size="many"),
        lambda folder: change(folder / "config.json", hidden_size=16),
        lambda folder: change(folder / "config.json", num_attention_heads=0),
        lambda folder: [(folder / name).unlink() for name in ("tokenizer.json", "tokenizer_config.json")],
        lambda folder: (folder / "tokenizer.json").write_text("{}"),
        lambda folder: (folder / "tokenizer.json").write_text("{"),
        lambda folder: (folder / "tokenizer_config.json").write_text("[1]"),
        lose_a_tensor,
    ],
)
def test_a_folder_that_is_not_whole_is_one_sentence(folder, tmp_path, spoil):
    spoil(folder)
    with pytest.raises(BackendError) as caught:
        load(replace(TINY, path=str(folder)), tmp_path, True)
    said = str(caught.value)
    assert str(folder) in said
    assert "\n" not in said
    assert any(words in said for words in ("again", "name a", "chat template", "use a")), said
