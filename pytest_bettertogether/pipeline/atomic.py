"""Writing a file so that no reader ever meets half of it."""

import errno
import os
import secrets
import stat
from pathlib import Path


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 aside and rename; folders on the way are made. The old file stays whole if anything fails.

    Raises:
        OSError: The file cannot be written, or what is there is no regular file.
    """
    write_bytes(path, text.encode("utf-8", errors="backslashreplace"))


def write_bytes(path: Path, content: bytes) -> None:
    """Write bytes as `write_text` writes text.

    A symbolic link stays, and the file that it points to is replaced. A new file gets the mode that the umask
    leaves; one that is replaced keeps its own.
    """
    home = path.resolve()
    mode = replaced_mode(home)
    home.parent.mkdir(parents=True, exist_ok=True)
    aside = home.parent / f".{home.name}.{secrets.token_hex(4)}"
    handle = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)  # less the umask; tempfile has only 0600
    try:
        with open(handle, "wb") as stream:
            stream.write(content)
        if mode is not None:
            aside.chmod(mode)
        os.replace(aside, home)
    except BaseException:  # Ctrl-C included: nothing half written is left behind, and what was raised goes on
        aside.unlink(missing_ok=True)
        raise


def replaced_mode(path: Path) -> int | None:
    """Return the mode of the regular file that writing to `path` would replace, or None where there is nothing.

    Raises:
        OSError: There is something else: renaming over a device or a pipe deletes it for everybody.
    """
    try:
        found = path.stat().st_mode
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(found):
        raise OSError(errno.EINVAL, "is no regular file, and only regular files are replaced: name another", str(path))
    return stat.S_IMODE(found)
