"""The words of the package: loop variables are nouns, docstrings lead to what a stranger can look up."""

import ast

import pytest
from structure import ROOT

MODULES = sorted(ROOT.rglob("*.py"))
PRONOUNS = {"each", "it", "told"}


def pronouns(source):
    """The line and name of each loop variable that is a pronoun."""
    loops = [
        node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.For | ast.AsyncFor | ast.comprehension)
    ]
    names = [name for loop in loops for name in ast.walk(loop.target) if isinstance(name, ast.Name)]
    return [(name.lineno, name.id) for name in names if name.id in PRONOUNS]


def uncited(source):
    """The docstrings that cite notes which nobody has."""
    kinds = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    texts = [ast.get_docstring(node) or "" for node in ast.walk(ast.parse(source)) if isinstance(node, kinds)]
    return [text for text in texts if "of the notes" in text or "(notes on" in text]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_loop_variable_is_the_noun_and_a_source_can_be_found(path):
    source = path.read_text(encoding="utf-8")
    assert pronouns(source) == []
    assert uncited(source) == []


def test_a_pronoun_is_found_wherever_it_is_bound():
    source = "for each in x: pass\ny = {told for i, told in x}\nz = [it for it in x]\nfor cell in x: each = cell\n"
    assert pronouns(source) == [(1, "each"), (2, "told"), (3, "it")]
    assert uncited('"""As section 3.2 of the notes."""\n\n\ndef f():\n    """Of arXiv 2407.10930."""') == [
        "As section 3.2 of the notes."
    ]
