"""Where a session's data are: handed to whatever reads them, so that nothing depends on global settings."""

from dataclasses import dataclass
from pathlib import Path

POOL, WIKI = "pool", "wiki2017"
"""Named things to search, beside a file and a server's URL."""


@dataclass(frozen=True)
class Where:
    """What the user said of this session's data; the default is a plain call outside pytest."""

    data_dir: Path | None = None
    """Local copies of data sets, looked at before the hub (--bt-data-dir)."""
    root: Path = Path()
    """Relative paths that are not in `data_dir` are taken from here."""
    offline: bool = False
    kept: Path | None = None
    """Folder for what is made of data and may be made again (search indexes); None: made anew in each session."""
    retrieval: str = POOL
    """What retrieving programs search: `pool`, `wiki2017`, a file of passages or a server's URL (--bt-retrieval)."""
