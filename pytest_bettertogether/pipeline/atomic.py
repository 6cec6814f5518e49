"""Writing a file so that no reader ever meets half of it."""

import os
import tempfile
from pathlib import Path


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 aside and rename; folders on the way are made. The old file stays whole if anything fails."""
    write_bytes(path, text.encode("utf-8", errors="backslashreplace"))


def write_bytes(path: Path, content: bytes) -> None:
    """As `write_text`, for what is no text."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, aside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with open(handle, "wb") as stream:
            stream.write(content)
        os.chmod(aside, 0o644)  # mkstemp's 0600 would keep colleagues from reading it
        os.replace(aside, path)
    except BaseException:  # Ctrl-C included: nothing half written is left behind, and what was raised goes on
        Path(aside).unlink(missing_ok=True)
        raise
