"""Shared prefixes: the same completions and likelihoods as without them, and the same bits whatever is kept."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="engine tests need the hf extra")

from transformers import DynamicCache  # noqa: E402

from pytest_bettertogether import Predict  # noqa: E402
from pytest_bettertogether.engines.hf import sampling as noise  # noqa: E402
from pytest_bettertogether.engines.hf.prefixes import CUT_MULTIPLE, MIN_TOKENS_SAVED, Prefixes, common, cut_texts  # noqa: E402
from pytest_bettertogether.engines.protocol import Continuation, Likelihood, Prompt, TrainingRow  # noqa: E402
from pytest_bettertogether.engines.registry import TINY, load  # noqa: E402
from pytest_bettertogether.pipeline.forms import FORMS  # noqa: E402
from pytest_bettertogether.pipeline.program import Demo  # noqa: E402
from pytest_bettertogether.pipeline.recipe import LoraTuning, Sampling  # noqa: E402

pytestmark = pytest.mark.usefixtures("base_guarded")

KIND = Predict("length, width -> answer", "Tell the kind from its size.", {"answer": "tolu, berim or sako"}).signature
QUERY = Predict("question -> search_query", "Write what to search for.").signature
GREEDY = Sampling(temperature=0.0, max_tokens=9)
WARM = Sampling(temperature=1.0, top_p=0.95, max_tokens=9)


def demo(n):
    return Demo({"length": f"{n}.2", "width": f"0.{n}"}, {"answer": ("tolu", "berim", "sako")[n % 3]})


def chat(n, demos):
    inputs = {"length": f"{n % 9}.{n % 7}", "width": "1" * (n % 5 + 1)}
    return FORMS["chat"].ask(KIND, [demo(i) for i in range(demos)], inputs, n)


# A wave as programs make it: two predictors, with and without demos, one question twice, long and short ones.
WAVE = [chat(n, demos=(0, 8, 8, 3)[n % 4]) for n in range(12)]
WAVE += [FORMS["chat"].ask(QUERY, (), {"question": "who " * (n + 1)}, 100 + n) for n in range(3)]
WAVE += [replace(WAVE[1], noise=1000), WAVE[2]]
# The same as plain texts, where nothing but the neighbours says what is shared.
HEADER = "".join(f"length: {n}.5 width: 0.{n} answer: tolu\n" for n in range(12))
TEXTS = [Prompt(text=f"{HEADER}length: {n}.1 width: {n % 3}.0 answer:", noise=n, stop=("\n", "wi")) for n in range(8)]
CHOICES = [
    Continuation(f"{HEADER}length: {n}.1 answer:", f" {word}")
    for n in range(5)
    for word in ("tolu", "berim", "sako", "a word of several tokens")
]


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    return load(TINY, tmp_path_factory.mktemp("adapters"))


@pytest.fixture(scope="module")
def adapter(engine):
    rows = [TrainingRow(each.messages, "answer: berim") for each in WAVE[:12]]
    recipe = LoraTuning(rank=4, alpha=8, targets="all-linear", epochs=2, learning_rate=5e-3, clip=1.0)
    return engine.finetune(rows, recipe, seed=1).adapter


def plainly(engine, prompt, sampling, adapter):
    """The tokens of one prompt by itself: no batch, no prefix, transformers' own cache."""
    ids = engine.encode_text(prompt.text) if prompt.text else engine.encode(prompt.messages)
    new, cache, tokens = [], DynamicCache(), torch.tensor([ids])
    with torch.inference_mode(), engine.adapters.active(adapter) as model:
        for position in range(sampling.max_tokens):
            logits = model(input_ids=tokens, past_key_values=cache, use_cache=True).logits[:, -1]
            keys, places = torch.tensor([prompt.noise]), torch.tensor([position])
            tokens = noise.sample_tokens(logits, keys, places, sampling)[:, None]
            new.append(int(tokens))
            said = engine.tokenizer.decode(new, skip_special_tokens=True)
            if new[-1] in engine.ends or any(stop in said for stop in prompt.stop):
                break
    text = engine.tokenizer.decode([each for each in new if each not in engine.ends], skip_special_tokens=True)
    ends = [text.find(stop) for stop in prompt.stop if stop in text]
    return text[: min(ends)] if ends else text, len(new)


@pytest.mark.parametrize("tuned", [False, True])
@pytest.mark.parametrize("sampling", [GREEDY, WARM])
@pytest.mark.parametrize("wave", [WAVE, TEXTS])
def test_completions_are_those_of_each_prompt_by_itself(engine, adapter, wave, sampling, tuned):
    used = adapter if tuned else None
    engine.prefixes.clear()
    for _ in range(2):  # cold, then warm
        found = [(each.text, each.completion_tokens) for each in engine.generate(wave, sampling, used)]
        assert found == [plainly(engine, prompt, sampling, used) for prompt in wave]


def bits(engine, used, monkeypatch):
    """Everything a call computes, to the last bit: logits of each step, likelihoods, completions."""
    seen, choose = [], noise.sample_tokens

    def watched(logits, *args):
        seen.append(logits.clone())
        return choose(logits, *args)

    with monkeypatch.context() as patch:
        patch.setattr(noise, "sample_tokens", watched)
        completions = [engine.generate(wave, WARM, used) for wave in (WAVE, TEXTS)]
    return seen, completions, engine.loglikelihood(CHOICES, used)


def same(first, second):
    return first[1:] == second[1:] and all(torch.equal(a, b) for a, b in zip(first[0], second[0], strict=True))


def test_what_is_kept_changes_no_bit(engine, adapter, tmp_path, monkeypatch):
    engine.prefixes = Prefixes()
    cold = bits(engine, adapter, monkeypatch)
    computed = engine.prefixes.computed
    assert same(bits(engine, adapter, monkeypatch), cold)
    assert engine.prefixes.computed == computed  # all of it was found
    assert engine.prefixes.reused > 0
    half = max(sum(t.nbytes for layer in piece for t in layer) for piece in engine.prefixes._kept.values())
    for limit in (0, half):  # nothing fits; a part of what a call needs fits
        engine.prefixes = Prefixes(limit)
        for _ in range(2):
            assert same(bits(engine, adapter, monkeypatch), cold)
            assert engine.prefixes.bytes <= limit
        assert engine.prefixes.computed > computed
    engine.prefixes = Prefixes()
    engine.generate(WAVE[:5], GREEDY, adapter)  # other calls came before, on these weights and on others
    base = bits(engine, None, monkeypatch)
    assert not same(base, cold)
    assert same(bits(engine, adapter, monkeypatch), cold)
    fresh = load(TINY, tmp_path)  # as after an interruption
    assert same(bits(fresh, adapter, monkeypatch), cold)
    assert same(bits(fresh, None, monkeypatch), base)


def test_a_call_that_was_broken_off_leaves_nothing_wrong_behind(engine, monkeypatch):
    engine.prefixes = Prefixes()
    whole = bits(engine, None, monkeypatch)
    engine.prefixes, calls, choose = Prefixes(), [], noise.sample_tokens

    def breaks(*args):
        calls.append(args)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return choose(*args)

    with monkeypatch.context() as patch:
        patch.setattr(noise, "sample_tokens", breaks)
        with pytest.raises(KeyboardInterrupt):
            engine.generate(WAVE, WARM)
    assert same(bits(engine, None, monkeypatch), whole)


def test_the_order_of_a_call_changes_no_completion(engine):
    found = engine.generate(WAVE, WARM)
    assert engine.generate(WAVE[::-1], WARM)[::-1] == found
    asked = engine.loglikelihood(CHOICES)
    turned = engine.loglikelihood(CHOICES[::-1])[::-1]
    assert [each.logprob for each in turned] == pytest.approx([each.logprob for each in asked], abs=1e-4)


def test_a_wave_runs_its_prefix_once_and_later_waves_not_at_all(engine, monkeypatch):
    engine.prefixes = Prefixes()
    engine.generate([chat(n, demos=8) for n in range(10)], GREEDY)
    ids = engine.encode(chat(0, demos=8).messages)
    assert 0.7 * len(ids) < engine.prefixes.computed < len(ids)
    before = engine.prefixes.computed
    engine.generate([chat(99, demos=8)], GREEDY)
    assert engine.prefixes.computed == before
    engine.generate([chat(99, demos=0)], GREEDY)  # the instruction was run for those with demos
    assert engine.prefixes.computed == before


def test_no_line_is_computed_for_a_row_that_is_finished(engine, monkeypatch):
    steps, choose = [], noise.sample_tokens

    def watched(logits, *args):
        steps.append(len(logits))
        return choose(logits, *args)

    monkeypatch.setattr(noise, "sample_tokens", watched)
    before = replace(engine.counts)
    for prompts in (WAVE, TEXTS):
        steps.clear()
        completions = engine.generate(prompts, replace(WARM, max_tokens=40))
        assert sum(steps) == sum(each.completion_tokens for each in completions)
        assert len(set(steps)) > 1
    assert engine.counts.drawn - before.drawn == engine.counts.kept - before.kept > 0


def test_likelihoods_are_those_of_each_text_by_itself(engine, adapter):
    for used in (None, adapter):
        alone = [engine.loglikelihood([item], used)[0] for item in CHOICES]
        together = engine.loglikelihood(CHOICES, used)
        assert [each.logprob for each in together] == pytest.approx([each.logprob for each in alone], abs=1e-4)
        assert [(e.greedy, e.tokens) for e in together] == [(e.greedy, e.tokens) for e in alone]
    assert engine.loglikelihood([Continuation("the kind is", ""), CHOICES[0]])[0] == Likelihood(0.0, True, 0)
    many = [Continuation("the kind is", f" {n}") for n in range(150)]  # of one context more than a batch holds
    alone = [engine.loglikelihood([item])[0].logprob for item in many]
    assert [each.logprob for each in engine.loglikelihood(many)] == pytest.approx(alone, abs=1e-4)


def test_training_makes_room_first(engine, adapter):
    engine.generate(WAVE, GREEDY)
    assert engine.prefixes.bytes > 0
    rows = [TrainingRow(each.messages, "answer: sako") for each in WAVE[:8]]
    engine.finetune(rows, LoraTuning(rank=2, alpha=4, epochs=1), seed=2)
    assert engine.prefixes.bytes == 0


HEAD = list(range(MIN_TOKENS_SAVED))


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 40), st.integers(1, 9)), min_size=1, max_size=12), st.randoms()
)
def test_texts_are_cut_where_they_are_equal_and_by_their_set_alone(parts, random):
    texts = [HEAD * use + [7] * some + [1000 + last] for use, some, last in parts]
    cuts = cut_texts(texts)
    for text, mine in zip(texts, cuts, strict=True):
        assert list(mine) == sorted({cut for cut in mine if 0 < cut < len(text) and cut % CUT_MULTIPLE == 0})
        for n, cut in enumerate(mine):
            others = [
                o
                for other, o in zip(texts, cuts, strict=True)
                if other[:cut] == text[:cut] and o[: n + 1] == mine[: n + 1]
            ]
            assert len(others) >= 2
    turned = list(range(len(texts)))
    random.shuffle(turned)
    again = cut_texts([texts[i] for i in turned])
    assert [again[turned.index(i)] for i in range(len(texts))] == cuts


def test_the_cuts_of_texts_that_share_a_header_and_of_those_that_do_not():
    ids = [[*HEAD, *HEAD, n, n, n] for n in range(5)]
    assert cut_texts(ids) == [(2 * MIN_TOKENS_SAVED,)] * 5
    assert cut_texts([[n, *HEAD] for n in range(5)]) == [()] * 5
    assert cut_texts([]) == []
    nested = cut_texts([[*HEAD, *range(n)] for n in range(1500)])  # each begins as the one before it
    assert max(map(len, nested)) > 2
    assert common([1, 2, 3], [1, 2]) == 2
