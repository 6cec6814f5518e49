"""The vLLM engine, in process and behind its own server: what the contract (test_contract.py) does not say."""

import json
import random
from dataclasses import replace

import pytest

pytest.importorskip("vllm", reason="vLLM is not installed: tox -e vllm")

import psutil
import torch
from faults import KINDS, before
from parrot import QUICK
from test_server import COMMON, SUITE, outcome

from pytest_bettertogether.engines.protocol import Prompt, TrainingRow
from pytest_bettertogether.engines.registry import TINY, load
from pytest_bettertogether.engines.vllm import start as vllm_start
from pytest_bettertogether.pipeline.errors import BackendError
from pytest_bettertogether.pipeline.prompt import Message
from pytest_bettertogether.pipeline.recipe import LoraTuning, Sampling

GREEDY = Sampling(temperature=0.0, max_tokens=4)
PROMPTS = [Prompt((Message("user", f"one {n}"),)) for n in range(10)]
ROWS = [TrainingRow(each.messages, "answer: sako") for each in PROMPTS]
LORA = LoraTuning(rank=4, alpha=8, targets="all-linear", epochs=4, learning_rate=5e-3, clip=1.0)


@pytest.fixture
def engines(tmp_path):
    """Start engines, and close them."""
    open_ones = []

    def start(**told):
        told = {"kv_cache_memory_bytes": 64 << 20, **told}
        open_ones.append(load(replace(TINY, backend="vllm", engine=told), tmp_path))
        return open_ones[-1]

    yield start
    for each in open_ones:
        each.close()


def test_one_start_serves_the_base_and_three_adapters_and_a_training_before_it_needs_none(engines):
    engine = engines()
    states = random.getstate(), torch.random.get_rng_state().tolist()
    adapters = [engine.finetune(ROWS, LORA, seed=1).adapter]
    assert engine.starts == 0
    said = engine.generate(PROMPTS, GREEDY)
    adapters += [engine.finetune(ROWS[: 4 + seed], LORA, seed).adapter for seed in (2, 3)]
    own = [engine.generate(PROMPTS, GREEDY, each) for each in adapters]
    assert engine.generate(PROMPTS, GREEDY) == said
    assert [engine.generate(PROMPTS, GREEDY, each) for each in adapters] == own
    many = [Prompt((Message("user", f"one {n} two three" * 4),), noise=n) for n in range(300)]
    warm = replace(GREEDY, temperature=1.0)
    assert len({each.text for each in engine.generate(many, warm)}) > 20  # more tokens than are read at once
    assert engine.starts == 1
    assert (random.getstate(), torch.random.get_rng_state().tolist()) == states
    listening = [each.laddr.ip for each in psutil.Process().net_connections("inet") if each.status == "LISTEN"]
    assert set(listening) <= {"127.0.0.1", "::1"}


@pytest.mark.skipif(vllm_start.installed() != "0.32.0", reason="the fault is that version's")
def test_the_probe_finds_adapters_that_answer_for_the_base_model(engines, monkeypatch):
    monkeypatch.setattr(vllm_start, "SLOTS", 2)  # none to spare
    engine = engines()
    for _ in range(2):
        with pytest.raises(BackendError, match=r"mixes up base model and adapters: .* the base model answered as some"):
            engine.generate(PROMPTS, GREEDY)


def test_an_adapter_that_would_not_fit_is_refused_before_it_is_trained(engines):
    with pytest.raises(BackendError, match=r"rank 16, and lora.rank is 40: add --bt-engine=max_lora_rank=64"):
        engines().finetune(ROWS, replace(LORA, rank=40), seed=1)


def test_an_argument_that_vllm_does_not_take_is_one_error(engines):
    engine = engines(max_model_length=512)
    with pytest.raises(BackendError, match=r"vLLM [\d.]+ does not start: .*max_model_length"):
        engine.generate(PROMPTS, GREEDY)


def cells(pytester, *options):
    done = pytester.runpytest_subprocess(*COMMON, *options)
    report = json.loads((pytester.path / "report.json").read_text())
    return done, {cell["strategy"]: cell for cell in report["cells"]}


def test_a_grid_runs_on_vllm_in_process(pytester):
    pytester.makepyfile(test_say=SUITE)
    options = ("--bt-backend=vllm", "--bt-engine=kv_cache_memory_bytes=67108864", *QUICK)
    done, first = cells(pytester, *options)
    done.assert_outcomes(passed=3)
    assert {cell["provenance"]["engine"]["backend"] for cell in first.values()} == {"vllm"}
    assert first["pw"]["seeds"][0]["steps"][-1]["adapter"]
    done, again = cells(pytester, *options)
    assert {name: outcome(cell) for name, cell in again.items()} == {
        name: outcome(cell) for name, cell in first.items()
    }
    assert sum(cell["cost"]["paid_now"]["lm_calls"] for cell in again.values()) == 0


def test_a_grid_behind_faults_ends_as_without_them(pytester, vllm_port):
    pytester.makepyfile(test_say=SUITE)
    _, quiet = cells(pytester, "--bt-journal=q", f"--bt-server=http://127.0.0.1:{vllm_port}/v1")
    with before(vllm_port, share=0.2, seed=2, hang=11) as (proxy, url):
        options = ("--bt-journal=f", f"--bt-server={url}", "--bt-engine=timeout=10", "--bt-engine=concurrency=32")
        done, faulty = cells(pytester, *options)
        assert all(proxy.met[kind] for kind in KINDS)
        print(dict(proxy.met))  # noqa: T201 - pytest -s shows the table of faults
        _, again = cells(pytester, *options)
    done.assert_outcomes(passed=3)
    for strategy, cell in quiet.items():
        assert outcome(again[strategy]) == outcome(faulty[strategy])  # completions replay
        assert (faulty[strategy]["status"], faulty[strategy]["n"]) == (cell["status"], cell["n"])
        assert not any(each["unparsable"] for each in faulty[strategy]["seeds"][0]["examples"])
