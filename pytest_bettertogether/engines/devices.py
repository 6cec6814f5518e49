"""The GPUs that this process may use, told without torch, and one of them for each process that asks."""

import os
import shutil
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

VISIBLE = "CUDA_VISIBLE_DEVICES"


def usable() -> tuple[str, ...]:
    """The GPUs inside the caller's CUDA_VISIBLE_DEVICES, as that names them; none where there is no NVIDIA driver."""
    installed = _installed()
    if not installed or VISIBLE not in os.environ:
        return tuple(map(str, range(installed)))
    found: list[str] = []
    for name in map(str.strip, os.environ[VISIBLE].split(",")):
        if not name or (name.lstrip("-").isdecimal() and not 0 <= int(name) < installed):
            break  # CUDA takes what stands before the first name that is none
        found.append(name)
    return tuple(found)


def _installed() -> int:
    command = shutil.which("nvidia-smi")
    if command is None:
        return 0
    done = subprocess.run([command, "-L"], capture_output=True, text=True, check=False)  # noqa: S603
    return sum(line.startswith("GPU ") for line in done.stdout.splitlines())


class Claim:
    """One GPU for this process, among those that meet in `folder`; free again when the process ends, by whatever."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock: FileLock | None = None

    def take(self, devices: Sequence[str]) -> str | None:
        """The first that nobody has, and from now on all that this process sees; None if all are taken."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for device in devices:
            lock = FileLock(self.folder / f"{device.replace('/', '-')}.lock")
            try:
                lock.acquire(timeout=0)
            except Timeout:
                continue
            self._lock = lock
            os.environ[VISIBLE] = device
            return device
        return None

    def release(self) -> None:
        """Let go of it."""
        if self._lock:
            with suppress(OSError):  # Windows keeps a file that is open
                Path(self._lock.lock_file).unlink()  # before it is free: else it could be somebody else's
            self._lock.release()
            with suppress(OSError):  # whoever still holds a GPU needs the folder
                self.folder.rmdir()
