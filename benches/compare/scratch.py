"""A place for large files."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from environment import ROOT


@contextmanager
def folder(size: int) -> Iterator[Path]:
    """A folder for files of `size` bytes: in memory if there is room, otherwise under `target`."""
    memory = Path("/dev/shm")
    room = shutil.disk_usage(memory).free if memory.is_dir() else 0
    place = memory if room > size * 1.1 else ROOT / "target"
    place.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="atalaya-", dir=place) as name:
        yield Path(name)
