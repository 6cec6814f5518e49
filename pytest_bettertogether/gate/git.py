"""What git knows: the commit that is checked out, and a file as it was at another."""

import subprocess
from pathlib import Path

from ..pipeline.errors import BaselineError


def commit(root: Path) -> str:
    """The commit that is checked out, with a + if files have changed since; empty outside a repository."""
    try:
        return _git(root, "describe", "--always", "--exclude=*", "--dirty=+").stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def check(root: Path, ref: str) -> None:
    """Raise BaselineError unless `ref` names a commit."""
    try:
        _git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}")
    except subprocess.CalledProcessError:
        raise BaselineError(
            f"git knows no commit {ref!r} in {root}: name a branch, tag or commit; "
            f"a shallow clone may have to fetch it first, as in git fetch origin {ref.removeprefix('origin/')}"
        ) from None
    except (OSError, subprocess.SubprocessError) as error:
        raise BaselineError(f"git could not be asked for {ref!r}: {error}") from None


def show(path: Path, ref: str) -> str | None:
    """A file's text at `ref`, a commit that exists; None if it was not there."""
    try:
        return _git(_existing(path.parent), "show", "--end-of-options", f"{ref}:{_from_root(path)}").stdout
    except subprocess.CalledProcessError:
        return None


def _from_root(path: Path) -> str:
    """The path as the repository has it; its folder need not exist any more."""
    root = _git(_existing(path.parent), "rev-parse", "--show-toplevel").stdout.strip()
    return path.resolve().relative_to(Path(root).resolve()).as_posix()


def _existing(folder: Path) -> Path:
    return next(place for place in (folder, *folder.parents) if place.is_dir())


def _git(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - our words, and a ref behind --end-of-options or a colon
        ["git", *words],  # noqa: S607 - whichever git the user uses
        cwd=folder, capture_output=True, text=True, encoding="utf-8", timeout=30, check=True,
    )  # fmt: skip
