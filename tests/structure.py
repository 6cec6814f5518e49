"""The package's structure, counted: `python tests/structure.py [FOLDER]`.

A room is a package folder of `pytest_bettertogether/`, or a module that lies flat at its top; an arrow is an import of
one room by another; a room's level is one more than the highest of the rooms that it imports.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

NAME = "pytest_bettertogether"
ROOT = Path(__file__).parent.parent / NAME


def imports(path: Path, root: Path = ROOT, at_load: bool = False) -> Iterator[str]:
    """The absolute dotted name of each import in a module; with `at_load` only of those run when it is imported."""
    package = [NAME, *path.relative_to(root).parts[:-1]]
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in tree.body if at_load else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            name = ".".join([*base, *([node.module] if node.module else [])])
            yield name
            if node.level and not node.module:
                yield from (f"{name}.{alias.name}" for alias in node.names)


def room(dotted: str) -> str | None:
    """The room of our package that a dotted name lies in; None for a name of somebody else's."""
    parts = dotted.split(".")
    return parts[1] if parts[0] == NAME and len(parts) > 1 else None


def arrows(root: Path = ROOT) -> dict[str, set[str]]:
    """The rooms that each room imports."""
    modules = {*root.rglob("*.py")} - {root / "__init__.py", root / "__main__.py"}
    found: dict[str, set[str]] = {path.relative_to(root).parts[0].removesuffix(".py"): set() for path in modules}
    for path in modules:
        own = path.relative_to(root).parts[0].removesuffix(".py")
        used = {room(name) for name in imports(path, root)}
        found[own] |= {name for name in used if name in found and name != own}
    return found


def circles(graph: dict[str, set[str]]) -> set[str]:
    """The rooms that import themselves by way of others, or are imported only by such: empty where nothing is round."""
    left = {name: set(used) for name, used in graph.items()}
    while leaves := {name for name, used in left.items() if not used & set(left)}:
        left = {name: used for name, used in left.items() if name not in leaves}
    return set(left)


def levels(graph: dict[str, set[str]]) -> dict[str, int]:
    """The level of each room that is in no circle, from 1."""
    found: dict[str, int] = {}
    while ready := {name for name, used in graph.items() if name not in found and used <= set(found)}:
        found.update({name: 1 + max((found[used] for used in graph[name]), default=0) for name in ready})
    return found


def main(root: Path) -> None:
    """Print the figures, then the rooms from the top level down."""
    graph = arrows(root)
    lines = sum(len(path.read_text(encoding="utf-8").splitlines()) for path in root.rglob("*.py"))
    floors = levels(graph)
    flat = sum(path.suffix == ".py" for path in root.iterdir())
    print(
        f"{len(graph)} rooms, {max(floors.values())} levels, {sum(map(len, graph.values()))} arrows, "
        f"{len(circles(graph))} rooms in circles, {flat} files flat at the top, {lines} lines of Python"
    )
    for level in range(max(floors.values()), 0, -1):
        print(f"{level:3} ", " ".join(sorted(name for name, floor in floors.items() if floor == level)))


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else ROOT)
