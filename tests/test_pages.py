"""The docs name what there is: paths, dotted names, links, options, packages, words."""

import re
from importlib import import_module

import pytest
from structure import NAME, ROOT, arrows, circles
from test_layers import LAYERS

import pytest_bettertogether as public
from pytest_bettertogether.engines.registry import PAPER, TINY
from pytest_bettertogether.results.statuses import STATUSES

HOME = ROOT.parent
PAGES = sorted(
    [*HOME.glob("*.md"), *HOME.glob("docs/*.md"), *HOME.glob("suites/*.md")], key=lambda page: page.as_posix()
)
ROOTS = (HOME, ROOT, HOME / "tests", HOME / "docs")
"""Where a path that a page names may begin."""
FILE = re.compile(
    r"(?<![\w/.:<>*-])((?:[\w.-]+/)*[\w-]+\.(?:py|md|jsonl?|toml|ini|yml|yaml|txt)|(?:[\w-]+/)+)(?![\w*<{/])"
)
DOTTED = re.compile(rf"\b{NAME}(?:\.\w+)+")
ENTRY_POINTS = {f"{NAME}.steps"}
"""Groups of entry points, which look like modules."""
LINK = re.compile(r"\[[^\]\n]*\]\(([^)\s]+)\)")
THE_READERS_OWN = re.compile(
    r"^(?:frozen|gsm8k|hotpotqa|suites/(?:answer|replication)|qa|path|organisation|forgetting|openai|site|adapter|baselines)/"
    r"|^(?:conftest|test_\w*|report|before|after|run|again|all|mine|train|corpus|my_\w+|program|their_step)\.(?:py|jsonl?|md|yaml)$"
    r"|^suites/(?:test_answer\.py|baselines/answer\.json)|test_<name>"
)
"""Names in examples, which a reader's own project has, or a run makes."""


def prose(page):
    """A page without its blocks of code, which show sessions and projects of others."""
    return re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.S | re.M)


def anchors(page):
    """The anchors of a page's headings, as GitHub makes them: lower case, words alone, dashes for spaces."""
    titles = re.findall(r"^#+ (.*)$", prose(page), flags=re.M)
    return [re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles]


def missing_paths(text):
    """The paths in backticks that name a file or folder of this repository and do not exist."""
    spans = re.findall(r"`([^`\n]+)`", text)
    named = {
        path
        for span in spans
        if " " not in span and "=" not in span and "://" not in span
        for path in FILE.findall(span)
    }
    return sorted(
        path for path in named if not THE_READERS_OWN.search(path) and not any((root / path).exists() for root in ROOTS)
    )


def broken_links(page, text):
    """The relative links of a page that lead nowhere, their anchors included."""
    found = []
    for link in LINK.findall(text):
        if link.startswith(("http://", "https://")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            found.append(link)
    return found


def dotted(name):
    """The module, class or function of that name. Raises ImportError or AttributeError."""
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        try:
            found = import_module(".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        for part in parts[end:]:
            found = getattr(found, part)
        return found
    raise ImportError(name)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(HOME)))
def test_a_page_names_paths_modules_and_links_that_exist(page):
    assert missing_paths(prose(page)) == []
    assert broken_links(page, prose(page)) == []
    for name in set(DOTTED.findall(page.read_text(encoding="utf-8"))) - ENTRY_POINTS:
        dotted(name)


def test_what_does_not_exist_is_noticed(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "# One: `two`\n\n[a](#one-two) [b](#two) [c](page.md#one-two) [d](other.md) [e](https://x.org/y.md)\n"
    )
    assert broken_links(page, prose(page)) == ["#two", "other.md"]
    text = "`gate/judge.py` `gate/jugde.py` `test_iris.py` `tests/nothing.py` `engines/hf/` `engines/jax/` `a x.py`"
    assert missing_paths(text) == ["engines/jax/", "gate/jugde.py", "tests/nothing.py"]
    with pytest.raises(AttributeError):
        dotted("pytest_bettertogether.gate.judge.jugde")


def walks():
    """By title, the paths in the first column of the tables of walks in docs/architecture.md."""
    text = (HOME / "docs" / "architecture.md").read_text(encoding="utf-8")
    sections = re.split(r"^## ", text, flags=re.M)
    return {
        section.partition("\n")[0]: re.findall(r"^\| `([^`]+)` \|", section, flags=re.M)
        for section in sections
        if section.startswith("A walk: ")
    }


@pytest.mark.parametrize("title", ["a task to its verdict", "a prompt to its tokens", "an adapter to the report"])
def test_a_walk_is_a_list_of_files_that_exist(title):
    files = walks()[f"A walk: {title}"]
    assert len(files) > 10
    assert len(set(files)) == len(files)
    for file in files:
        assert (ROOT / file).is_file() or (HOME / file).is_file(), file


def test_the_picture_is_the_one_that_is_held():
    text = (HOME / "docs" / "architecture.md").read_text(encoding="utf-8")
    picture = text.split("```text\n")[1].split("```")[0]
    rows = [re.split(r" {3,}", line)[0].split() for line in picture.splitlines()]
    assert rows == LAYERS
    for name in arrows():
        assert f"| `{name}/` |" in text
    graph = arrows()
    (rooms, most) = re.findall(r"^\| now \| (\d+) \| at most (\d+) \| 0 \| 2: ", text, flags=re.M)[0]
    assert (len(graph), circles(graph)) == (int(rooms), set())
    assert {path.name for path in ROOT.glob("*.py")} == {"__init__.py", "__main__.py"}
    assert sum(map(len, graph.values())) <= int(most)


def configuration():
    return (HOME / "docs" / "configuration.md").read_text(encoding="utf-8")


def test_every_option_is_in_the_help_and_on_its_page(pytester):
    said = pytester.runpytest("--help").stdout.str()
    in_help = set(re.findall(r"--bt-[a-z-]+", said))
    rows = re.findall(r"^\| `(--bt-[a-z-]+)", configuration(), flags=re.M)
    assert len(rows) == len(set(rows)), "each option has one row"
    assert set(rows) == in_help
    twins = {name for name in rows if re.search(rf"^\s*bt_{name[5:].replace('-', '_')} \(", said, flags=re.M)}
    table = configuration().replace(r"\|", "/")
    without = {name for name in rows if re.search(rf"^\| `{name}[^|]*` • \|", table, flags=re.M)}
    assert twins == set(rows) - without, "• marks the options that have no ini twin"


def test_every_page_names_only_options_that_there_are(pytester):
    known = set(re.findall(r"--bt-[a-z-]+", pytester.runpytest("--help").stdout.str()))
    for page in PAGES:
        named = set(re.findall(r"--bt-[a-z-]*[a-z]", page.read_text(encoding="utf-8")))
        assert named - known - {"--bt-name", "--bt-max"} == set(), page.name


def test_every_value_of_the_recipe_is_on_its_page_with_the_defaults():
    section = configuration().split("## Recipe values")[1].split("\n## ")[0]
    shown = {}
    for names, tiny, paper in re.findall(r"^\| (`[^|]*`) \| ([^|]*) \| ([^|]*) \|", section, flags=re.M):
        keys = re.findall(r"`([^`]+)`", names)
        values = [[text.strip() for text in (cell.split(", ") if len(keys) > 1 else [cell])] for cell in (tiny, paper)]
        shown |= {key: (values[0][place], values[1][place]) for place, key in enumerate(keys)}

    def written(value):
        return str(value).lower() if isinstance(value, bool) else f"{value:.5f}" if value == 1e-05 else str(value)

    tiny, paper = TINY.recipe.flat(), PAPER.flat()
    assert shown == {key: (written(tiny[key]), written(paper[key])) for key in tiny}


def test_every_public_name_and_every_status_is_in_the_glossary():
    text = (HOME / "docs" / "glossary.md").read_text(encoding="utf-8")
    assert [name for name in public.__all__ if not re.search(rf"`{name}\b", text)] == []
    table = dict(re.findall(r"^\| `(\w+)` \| `(.)` \|", text, flags=re.M))
    assert table == {name: facts.letter for name, facts in STATUSES.items()}


def test_the_readme_is_a_first_page():
    lines = (HOME / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) < 200
    assert sum(line.startswith("python3 -m venv .venv && ") for line in lines[:30]) == 2
    linked = {link.partition("#")[0] for link in LINK.findall("\n".join(lines))}
    pages = {str(page.relative_to(HOME)) for page in PAGES} - {"README.md"}
    assert pages <= linked, "each page is linked from the first one"
