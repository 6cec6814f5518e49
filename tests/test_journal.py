"""The journal: nothing is paid for twice, and nothing damaged is believed."""

import errno
import importlib
import linecache
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass, field, fields, replace

import pytest
from scripted import Scripted

from pytest_bettertogether.engines.model import Model
from pytest_bettertogether.engines.protocol import Continuation, Likelihood, Prompt, Training, TrainingRow
from pytest_bettertogether.engines.registry import engine_key, load
from pytest_bettertogether.journal.budget import Budget
from pytest_bettertogether.journal.replay import Journaled
from pytest_bettertogether.journal.store import Journal, damage_line
from pytest_bettertogether.pipeline.adapter import ADAPTER_FILES, Adapter, adapter_digest
from pytest_bettertogether.pipeline.errors import BackendError, JournalError
from pytest_bettertogether.pipeline.prompt import Message
from pytest_bettertogether.pipeline.recipe import LoraTuning, Sampling
from pytest_bettertogether.results.cell_results import Usage

PROMPTS = [Prompt((Message("user", f"question {n} \ud800"),), noise=n) for n in range(3)]
WARM, GREEDY = Sampling(temperature=0.5), Sampling(temperature=0.0)
ROWS = [TrainingRow(prompt.messages, "answer") for prompt in PROMPTS]
ADAPTER, START = Adapter("here", "d1"), Adapter("there", "d2")
NAMES = "model revision weights backend loops device dtype threads rows torch transformers peft"
IDENTITY = dict.fromkeys(NAMES.split(), "one")
"""What the Hugging Face engine says of itself (test_huggingface.py holds it to that)."""
IDENTITIES = [
    *(({"engine": {**IDENTITY, name: "other"}}, False) for name in IDENTITY),
    ({"engine": {**IDENTITY, "added": "fact"}}, False),
    ({"engine": dict(reversed(IDENTITY.items()))}, True),
]
"""What another engine says, and whether it replays."""


class Engine(Scripted):
    """Writes real adapter folders, so that their digests can be checked."""

    def __init__(self, journal, identity=IDENTITY):
        super().__init__(lambda messages, adapter: f"to {messages[-1].content} by {adapter}")
        self.folder, self.identity = journal.adapters, identity

    def describe(self):
        return self.identity

    def finetune(self, rows, recipe, seed, start=None, checkpoint=None):
        super().finetune(rows, recipe, seed, start)
        aside = self.folder / f"new{len(self.trained)}"
        aside.mkdir()
        for name in ADAPTER_FILES:
            (aside / name).write_text(f"{name} {len(rows)} {recipe} {seed} {start}")
        digest = adapter_digest(aside)
        if (self.folder / digest).exists():
            for name in ADAPTER_FILES:
                (aside / name).replace(self.folder / digest / name)
        else:
            aside.rename(self.folder / digest)
        return Training(Adapter(str(self.folder / digest), digest), (2.0, 1.0), 7)


@pytest.fixture
def journal(tmp_path):
    journal = Journal(tmp_path / "journal")
    yield journal
    journal.close()


def test_a_batch_is_computed_once_and_replayed_to_later_sessions(journal, tmp_path):
    first = Journaled(Engine(journal), journal)
    completions = first.generate(PROMPTS, WARM)
    assert first.paid == Usage(3, 3, 3)
    again = Journal(tmp_path / "journal")
    second = Journaled(Engine(again), again)
    assert second.generate(PROMPTS, WARM) == completions
    assert second.engine.calls == []
    assert second.paid == Usage()
    again.close()


@pytest.mark.parametrize(
    ("changed", "replayed"),
    [
        ({}, True),
        ({"sampling": replace(WARM, top_p=0.5)}, False),
        ({"sampling": replace(WARM, max_tokens=5)}, False),
        ({"sampling": replace(WARM, temperature=0.6)}, False),
        ({"adapter": None}, False),
        ({"prompts": PROMPTS[:2]}, False),
        ({"prompts": PROMPTS[::-1]}, False),
        ({"prompts": [replace(PROMPTS[0], noise=9), *PROMPTS[1:]]}, False),
        ({"prompts": [Prompt((Message("system", "question 0 \ud800"),)), *PROMPTS[1:]]}, False),
        ({"prompts": [replace(PROMPTS[0], text="question 0"), *PROMPTS[1:]]}, False),
        ({"prompts": [replace(PROMPTS[0], stop=("\n",)), *PROMPTS[1:]]}, False),
        ({"adapter": START}, False),
        ({"adapter": replace(ADAPTER, path="moved")}, True),
        *IDENTITIES,
    ],
    ids=ascii,
)
def test_whatever_could_change_a_completion_is_in_its_key_and_nothing_else(journal, changed, replayed):
    Journaled(Engine(journal), journal).generate(PROMPTS, WARM, ADAPTER)
    changed = dict(changed)
    later = Journaled(Engine(journal, changed.pop("engine", IDENTITY)), journal)
    later.generate(**{"prompts": PROMPTS, "sampling": WARM, "adapter": ADAPTER, **changed})
    assert (later.engine.calls == []) == replayed


def test_greedy_completions_are_shared_by_all_seeds(journal):
    engine = Journaled(Engine(journal), journal)
    engine.generate(PROMPTS, GREEDY)
    engine.generate([replace(prompt, noise=prompt.noise + 1) for prompt in PROMPTS], GREEDY)
    assert len(engine.engine.calls) == 3


class Scorer(Engine):
    """Says of every text that it is as likely as it is short."""

    def loglikelihood(self, items, adapter=None):
        self.calls.append(items)
        return [Likelihood(-0.1 * len(each.text), bool(adapter), len(each.text)) for each in items]


def test_log_likelihoods_are_computed_once(journal):
    items = [Continuation("q:", " yes"), Continuation("q:", " no")]
    first = Journaled(Scorer(journal), journal)
    found = first.loglikelihood(items, ADAPTER)
    assert found == [Likelihood(-0.4, True, 4), Likelihood(-0.30000000000000004, True, 3)]
    assert first.paid.lm_calls == 2
    second = Journaled(Scorer(journal), journal)
    assert second.loglikelihood(items, ADAPTER) == found
    assert second.engine.calls == []
    for other in (items[:1], items[::-1], [replace(items[0], context=""), items[1]]):
        second.loglikelihood(other, ADAPTER)
    second.loglikelihood(items)
    assert len(second.engine.calls) == 4


def test_an_engine_without_log_likelihoods_says_so(journal):
    with pytest.raises(BackendError, match="one engine cannot tell how likely a given text is: use --bt-backend=hf"):
        Journaled(Engine(journal), journal).loglikelihood([Continuation("a", "b")])


def test_an_adapter_is_trained_once(journal):
    first = Journaled(Engine(journal), journal)
    training = first.finetune(ROWS, LoraTuning(), 1)
    later = Journaled(Engine(journal), journal)
    assert later.finetune(ROWS, LoraTuning(), 1) == training
    assert later.finetune(ROWS, LoraTuning(attempts=9, min_traces=1), 1) == training  # neither changes the training
    assert (later.engine.trained, later.train_steps, first.train_steps) == ([], 0, 7)


@pytest.mark.parametrize(
    ("changed", "replayed"),
    [
        ({}, True),
        ({"rows": ROWS[:2]}, False),
        ({"rows": ROWS[::-1]}, False),
        ({"rows": [replace(ROWS[0], completion="other"), *ROWS[1:]]}, False),
        ({"rows": [replace(ROWS[0], messages=PROMPTS[1].messages), *ROWS[1:]]}, False),
        *(
            ({"recipe": replace(LoraTuning(), **{name: value})}, name in ("attempts", "min_traces"))
            for name, value in {
                **{each.name: 9 for each in fields(LoraTuning)},
                "dropout": 0.9,
                "warmup": 0.9,
                "targets": "v_proj",
                "schedule": "linear",
                "gradient_checkpointing": True,
            }.items()
        ),
        ({"seed": 2}, False),
        ({"start": None}, False),
        ({"start": ADAPTER}, False),
        ({"start": replace(START, path="moved")}, True),
        *IDENTITIES,
    ],
    ids=ascii,
)
def test_whatever_could_change_an_adapter_is_in_its_key_and_nothing_else(journal, changed, replayed):
    Journaled(Engine(journal), journal).finetune(ROWS, LoraTuning(), 1, START)
    changed = dict(changed)
    later = Journaled(Engine(journal, changed.pop("engine", IDENTITY)), journal)
    later.finetune(**{"rows": ROWS, "recipe": LoraTuning(), "seed": 1, "start": START, **changed})
    assert (later.engine.trained == []) == replayed


def test_neither_fresh_objects_nor_another_place_change_a_key(journal, tmp_path):
    Journaled(Engine(journal), journal).generate(PROMPTS, WARM)
    journal.close()
    moved = Journal(journal.folder.rename(tmp_path / "moved"))
    later = Journaled(Engine(moved), moved)
    later.generate([replace(prompt) for prompt in PROMPTS], replace(WARM))
    assert later.engine.calls == []
    moved.close()


def flip(file, where=-10):
    content = bytearray(file.read_bytes())
    content[where] ^= 1
    file.write_bytes(content)


DAMAGE = {
    "flipped byte": lambda folder: flip(folder / ADAPTER_FILES[0]),
    "truncated file": lambda folder: (folder / ADAPTER_FILES[0]).write_bytes(b"x"),
    "altered configuration": lambda folder: flip(folder / ADAPTER_FILES[1]),
    "missing file": lambda folder: (folder / ADAPTER_FILES[1]).unlink(),
    "missing folder": shutil.rmtree,
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_adapter_is_trained_again_and_counted(journal, damage):
    engine = Journaled(Engine(journal), journal)
    training = engine.finetune(ROWS, LoraTuning(), 1)
    DAMAGE[damage](journal.adapters / training.adapter.digest)
    again = Journaled(Engine(journal), journal)
    assert again.finetune(ROWS, LoraTuning(), 1) == training
    assert (len(again.engine.trained), journal.damaged) == (1, {"adapter": 1})
    assert again.finetune(ROWS, LoraTuning(), 1) == training
    assert (len(again.engine.trained), journal.damaged) == (1, {"adapter": 1})  # it is whole again


@pytest.mark.parametrize(
    "damage",
    [
        "value = replace(value, 'question 1', 'question 7')",
        "value = substr(value, 1, length(value) / 2)",
        "value = ''",
        "value = NULL",
        "value = CAST(x'ff00ff' AS TEXT)",
        "checksum = NULL",
        "checksum = '0000000000000000'",
    ],
)
def test_a_damaged_completion_is_computed_again_and_counted(journal, damage):
    engine = Journaled(Engine(journal), journal)
    completions = engine.generate(PROMPTS, WARM)
    journal._connection.execute(f"UPDATE entry SET {damage}")  # noqa: S608
    assert engine.generate(PROMPTS, WARM) == completions
    assert engine.generate(PROMPTS, WARM) == completions
    assert (len(engine.engine.calls), journal.damaged) == (6, {"completion entry": 1})


def test_one_line_says_what_was_damaged():
    found = {"completion entry": 1, "adapter": 1}
    assert damage_line(found) == "journal: 1 damaged completion entry and 1 damaged adapter were computed again"
    assert damage_line({"completion entry": 2}) == "journal: 2 damaged completion entries were computed again"
    assert damage_line({"adapter": 1}) == "journal: 1 damaged adapter was computed again"


def test_a_flipped_byte_in_the_file_is_found_wherever_it_is(journal, tmp_path):
    """Every 97th byte of the data base in turn: a replay is right, is computed again, or is refused; never wrong."""
    engine = Journaled(Engine(journal), journal)
    completions = engine.generate(PROMPTS, WARM)
    journal.close()
    file = journal.folder / "journal.sqlite"
    whole, ends = file.read_bytes(), Counter()
    for where in range(0, len(whole), 97):
        file.write_bytes(whole)
        flip(file, where)
        try:
            damaged = Journal(journal.folder)
        except JournalError:
            ends["refused"] += 1
            continue
        try:
            found = Journaled(Engine(damaged), damaged)
            assert found.generate(PROMPTS, WARM) == completions
            ends["replayed" if not found.engine.calls else "computed again"] += 1
        except JournalError:
            ends["refused"] += 1
        damaged.close()
    assert all(ends[each] for each in ("replayed", "computed again", "refused")), ends


def test_fresh_ignores_what_is_there_and_replaces_it(journal, tmp_path):
    Journaled(Engine(journal), journal).generate(PROMPTS, WARM)
    fresh = Journal(tmp_path / "journal", fresh=True)
    engine = Journaled(Engine(fresh), fresh)
    engine.generate(PROMPTS, WARM)
    assert len(engine.engine.calls) == 3
    fresh.close()


def test_it_keeps_itself_out_of_version_control(journal):
    assert (journal.folder / ".gitignore").read_text() == "*\n"


def test_what_a_full_disk_left_empty_is_written_again(journal):
    ignore = journal.folder / ".gitignore"
    for before, after in (("", "*\n"), ("adapters\n", "adapters\n")):
        ignore.write_text(before)
        Journal(journal.folder).close()
        assert ignore.read_text() == after


def test_a_row_to_which_a_damaged_index_leads_is_not_taken_for_the_key_that_was_asked_for(journal):
    journal.put("key-one", "of one")
    journal.close()
    file = journal.folder / "journal.sqlite"
    content = file.read_bytes()
    place = content.rindex(b"key-one")
    assert place > content.index(b"key-one")  # the first is the table's, and the index lies behind it
    file.write_bytes(content[:place] + b"key-two" + content[place + 7 :])
    damaged = Journal(journal.folder)
    assert damaged.get("key-two") is None
    assert damaged.damaged == {"entry": 1}
    damaged.close()


class Miscounting(Scorer):
    """Says that it needed fewer tokens than none."""

    def generate(self, prompts, sampling, adapter=None):
        return [replace(each, completion_tokens=-5) for each in super().generate(prompts, sampling, adapter)]

    def loglikelihood(self, items, adapter=None):
        return [replace(each, tokens=-5) for each in super().loglikelihood(items, adapter)]


@pytest.mark.parametrize(
    ("call", "given"), [("generate", (PROMPTS, WARM)), ("loglikelihood", ([Continuation("a", "b")],))]
)
def test_an_engine_that_counts_fewer_tokens_than_none_earns_no_budget(journal, call, given):
    budget = Budget(tokens=100)
    engine = Journaled(Miscounting(journal), journal, budget=budget)
    with pytest.raises(BackendError, match=r"the one engine says that a batch took .*-.* tokens: no count is below 0"):
        getattr(engine, call)(*given)
    assert (budget.spent, engine.paid) == (Usage(), Usage())
    assert list(journal.entries()) == []


def test_a_newer_journal_is_refused_politely(journal, tmp_path):
    journal._connection.execute("PRAGMA user_version = 3")
    with pytest.raises(JournalError, match="schema 3, this version reads 2: name another folder with --bt-journal"):
        Journal(tmp_path / "journal")


def test_a_damaged_data_base_is_one_clear_error(tmp_path):
    (tmp_path / "journal.sqlite").write_text("not a data base, but long enough to be taken for one" * 50)
    with pytest.raises(JournalError, match=r"damaged: file is not a database: save what is whole with .* repair`"):
        Journal(tmp_path)


def test_a_journal_that_cannot_be_made_is_one_clear_error(tmp_path):
    (tmp_path / "journal").write_text("in the way")
    with pytest.raises(JournalError, match=r"cannot be used: .*: name another folder with --bt-journal"):
        Journal(tmp_path / "journal")


FILLING = """
import errno, resource, sys
from pathlib import Path
from pytest_bettertogether.pipeline.errors import JournalError
from pytest_bettertogether.journal.store import Journal

folder, limit = Path(sys.argv[1]), int(sys.argv[2])
journal = Journal(folder)
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
for n in range(10_000):
    try:
        journal.put(str(n), ["x" * 1000, n])
    except JournalError as error:
        print(n, error)
        break
assert all(journal.get(str(k)) == ["x" * 1000, k] for k in range(n))
"""


def fill(folder, limit=0):
    """Write entries until the disk is full, in a process of its own; how many it could, and what it was told."""
    done = subprocess.run(
        [sys.executable, "-c", FILLING, folder, str(limit)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    number, _, words = done.stdout.partition(" ")
    journal = Journal(folder)
    assert all(journal.get(str(n)) for n in range(int(number)))
    assert not journal.damaged
    journal.close()
    return int(number), words


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 300 KB."""
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=300k", "none", folder]
    if not shutil.which("mount") or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("a small file system cannot be mounted here")
    yield folder
    subprocess.run(["umount", folder], check=True)  # noqa: S607


def test_a_full_disk_is_one_clear_error_and_harms_nothing(small_disk):
    number, words = fill(small_disk)
    assert number > 10
    assert "cannot be written, the disk is full (database or disk is full): free some space" in words
    assert "what it holds already is unharmed" in words


def test_a_file_that_may_grow_no_further_harms_nothing(tmp_path):
    number, words = fill(tmp_path, 100_000)
    assert number > 5
    assert "cannot be" in words
    assert "journal" in words


def test_a_full_disk_under_an_adapter_is_the_same_error(journal):
    class Full(Engine):
        def finetune(self, *args):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(JournalError, match=r"the disk is full .*No space left on device.*unharmed"):
        Journaled(Full(journal), journal).finetune(ROWS, LoraTuning(), 1)


OPENING = """
import sys
import time
from pathlib import Path
from pytest_bettertogether.journal.store import Journal

folder, began, who = Path(sys.argv[1]), float(sys.argv[2]), sys.argv[3]
for n in range(30):
    while time.time() < began + n * 0.06:  # both open each new journal in the same instant
        pass
    journal = Journal(folder / str(n))
    journal.put(who, n)
    journal.close()
"""


def test_several_processes_may_open_a_new_one_at_once(tmp_path):
    began = str(time.time() + 1.5)
    both = [subprocess.Popen([sys.executable, "-c", OPENING, tmp_path, began, who]) for who in ("one", "two")]
    assert [process.wait() for process in both] == [0, 0]
    for n in range(30):
        journal = Journal(tmp_path / str(n))
        assert journal.get("one") == journal.get("two") == n
        journal.close()


class Arriving(Engine):
    """Completes one by one, backwards, until it breaks."""

    def __init__(self, journal, breaks=99, **told):
        super().__init__(journal, {**IDENTITY, "rows": "apart", **told})
        self.breaks = breaks

    def generate_each(self, prompts, sampling, adapter, arrived):
        for i in reversed(range(len(prompts))):
            if self.breaks == 0:
                raise BackendError("gone")
            self.breaks -= 1
            arrived(i, self.generate([prompts[i]], sampling, adapter)[0])


def test_what_arrives_one_by_one_is_kept_one_by_one(journal):
    first = Journaled(Arriving(journal, breaks=2), journal)
    with pytest.raises(BackendError, match="gone"):
        first.generate(PROMPTS, WARM)
    assert first.paid == Usage(2, 2, 2)
    second = Journaled(Arriving(journal), journal)
    assert [each.text for each in second.generate(PROMPTS, WARM)] == [f"to question {n} \ud800 by " for n in range(3)]
    assert second.paid == Usage(1, 1, 1)
    assert second.generate(PROMPTS[::-1], WARM)[0].text == "to question 2 \ud800 by "
    assert second.paid == Usage(1, 1, 1)


@pytest.mark.parametrize(
    ("told", "shared"),
    [({"weights": "", "revision": ""}, False), ({"weights": ""}, True), ({"revision": ""}, True), ({}, True)],
)
def test_a_test_of_unknown_weights_replays_within_its_run_alone(journal, told, shared):
    engine = Journaled(Arriving(journal, **told), journal)
    asked = []
    for run in ("one", "one", "two"):
        before = engine.paid.lm_calls
        engine.on_test(run).generate(PROMPTS, WARM)
        asked.append(engine.paid.lm_calls - before)
    assert asked == [3, 0, 0 if shared else 3]
    engine.generate(PROMPTS, WARM)  # what optimisation asks is its own
    assert engine.paid.lm_calls == (3 if shared else 9)


@dataclass(frozen=True)
class Longer(Sampling):
    """Sampling as a later version may have it; its default need not be the value that changes nothing."""

    top_k: int = field(default=0, metadata={"neutral": 0})
    penalty: float = field(default=0.5, metadata={"neutral": 0.0})


@dataclass(frozen=True)
class Finer(LoraTuning):
    decay: float = field(default=0.0, metadata={"neutral": 0.0})


@pytest.mark.parametrize(
    ("added", "replayed"),
    [
        ({"penalty": 0.0}, True),
        ({"penalty": 0.0, "top_k": 7}, False),
        ({}, False),  # the new default is not what earlier versions did
    ],
)
def test_a_field_that_is_added_and_changes_nothing_leaves_completions_valid(journal, added, replayed):
    Journaled(Engine(journal), journal).generate(PROMPTS, WARM)
    later = Journaled(Engine(journal), journal)
    later.generate(PROMPTS, Longer(**asdict(WARM), **added))
    assert (later.engine.calls == []) == replayed


@pytest.mark.parametrize(("decay", "replayed"), [(0.0, True), (0.1, False)])
def test_a_field_that_is_added_and_changes_nothing_leaves_adapters_valid(journal, decay, replayed):
    Journaled(Engine(journal), journal).finetune(ROWS, LoraTuning(), 1)
    later = Journaled(Engine(journal), journal)
    later.finetune(ROWS, Finer(decay=decay), 1)
    assert (later.engine.trained == []) == replayed


OWN = """
from scripted import Scripted

class Mine(Scripted):
    def __init__(self, *model):
        super().__init__(lambda messages, adapter: answer())

def answer():
    return "one"
"""


def test_an_engine_of_the_users_own_replays_nothing_that_other_code_said(journal, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    model, keys, said = Model("mine", "", backend="own_engine:Mine"), [], []
    for code in (OWN, OWN, OWN.replace('"one"', '"three"')):
        (tmp_path / "own_engine.py").write_text(code)
        linecache.clearcache()
        importlib.invalidate_caches()
        sys.modules.pop("own_engine", None)
        keys.append(engine_key(model))
        engine = Journaled(load(model, journal.adapters), journal)
        said.append((engine.generate(PROMPTS, GREEDY)[0].text, len(engine.engine.calls)))
    assert said == [("one", 3), ("one", 0), ("three", 3)]
    assert keys[0] == keys[1] != keys[2]
    assert "own_engine:" in engine.describe()["code"]
