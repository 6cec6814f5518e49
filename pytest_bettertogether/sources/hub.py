"""Data sets of the Hugging Face hub, at a pinned revision, through `datasets`."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from ..pipeline.data import Splits
from ..pipeline.data_folder import Where
from ..pipeline.errors import DataError
from ..pipeline.extras import missing
from .files import Files
from .tables import Layout, Part, Row, Source


def hub_dataset(
    repo: str,
    config: str | None = None,
    *,
    revision: str,
    train: str | Part = "train",
    dev: str | Part = "validation",
    test: str | Part = "test",
    shuffle: int | None = None,
    keep: Callable[[Row], bool] | None = None,
    row: Callable[[Row], Row] | None = None,
    only: tuple[str, ...] = (),
    local: Source | str | None = None,
) -> "HubDataset":
    """Splits out of a data set of the hub; `revision` is a commit, so that the rows stay what they were.

    `only` are patterns of the repository's files to fetch (default: all). `local` is taken instead where its files
    are there: `files(...)`, or a path if they are cut as the hub's tables are. Nothing is fetched before a cell needs
    it, and each revision once.
    """
    layout = Layout(train, dev, test, shuffle, keep, row)
    return HubDataset(
        layout, repo, config, revision, only, Files(layout, (local,)) if isinstance(local, str) else local
    )


@dataclass(frozen=True)
class HubDataset(Source):
    """See `hub_dataset`."""

    repo: str = ""
    config: str | None = None
    revision: str = ""
    only: tuple[str, ...] = ()
    local: Source | None = None

    def raw(self, where: Where) -> dict[str, list[Row]]:
        """The local rows where there are any, else the hub's."""
        return self.local.raw(where) if self.here(where) and self.local else super().raw(where)

    def __call__(self, where: Where) -> Splits:
        """The splits, of the local rows where there are any."""
        return self.local(where) if self.here(where) and self.local else super().__call__(where)

    def here(self, where: Where) -> bool:
        """Whether the local files are taken."""
        return isinstance(self.local, Files) and bool(self.local.found(where))

    def tables(self, where: Where) -> dict[str, list[Row]]:
        """The hub's rows by split. Raises DataError that says how else to get them."""
        folder = fetched(self.repo, self.revision, where, self.only, self._else())
        import datasets

        try:
            with _quiet(datasets):
                # Of a folder, so that a revision is what was asked for and no network is touched.
                loaded = datasets.load_dataset(str(folder), self.config)
                return {str(name): list(table) for name, table in loaded.items()}
        except (OSError, ValueError, RuntimeError) as error:
            first = str(error).partition("\n")[0]
            raise DataError(f"data set {self.repo}, {self.config or 'default'}: cannot be read: {first}") from error

    def _else(self) -> str:
        named = " and ".join(self.local.paths) if isinstance(self.local, Files) else ""
        return f"put {named} into a folder and name that with --bt-data-dir" if named else ""


def fetched(repo: str, revision: str, where: Where, only: tuple[str, ...] = (), otherwise: str = "") -> Path:
    """The folder with a data set's files, fetched unless they are there. Raises DataError that says what to do."""
    remedy = f", or {otherwise}" if otherwise else ""
    if lacking := missing(f"data set {repo} needs", "data", "huggingface_hub", "datasets"):
        raise DataError(f"{lacking}{remedy}")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(
            snapshot_download(
                repo,
                repo_type="dataset",
                revision=revision,
                local_files_only=where.offline,
                allow_patterns=[*only, "README.md"] if only else None,
            )
        )
    except GatedRepoError as error:
        raise DataError(
            f"data set {repo} is gated: accept its terms on its page at the hub, then `hf auth login`{remedy}"
        ) from error
    except LocalEntryNotFoundError as error:
        why = "this machine does not have it, and --bt-offline forbids to fetch it" if where.offline else "no network"
        raise DataError(
            f"data set {repo} at {revision[:12]}: {why}. Run once with a network{remedy}, which needs none"
            if remedy
            else f"data set {repo} at {revision[:12]}: {why}. Run once with a network and without --bt-offline"
        ) from error
    except (HfHubHTTPError, OSError) as error:
        first = str(error).partition("\n")[0]
        raise DataError(f"data set {repo} at {revision[:12]} cannot be fetched: {first}{remedy}") from error


@contextmanager
def _quiet(datasets: ModuleType) -> Iterator[None]:
    """No progress bars: pytest's terminal is the user's."""
    bars = datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        if not bars:
            datasets.enable_progress_bars()
