"""Files that are written whole or not at all, also when the process is killed or the power fails.

A file is written under another name beside its own, brought to the disk and renamed: a reader finds the old
file, the new one or none. Without the fsync a file system may keep the rename and lose the content in a power
cut (ext4, XFS: an empty file); it costs some milliseconds a file. The folder itself is not synced: what that
can lose is the rename, which is as if the file had not been written yet.

What a killed process leaves is called ``.<name>.<random>.unfinished``. No reader opens such a name, and the
next process that writes into the folder removes it.
"""

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

SUFFIX = ".unfinished"
_swept: set[Path] = set()  # folders that this process has written into


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` fill a temporary file beside ``path`` and rename it: no half file is ever read."""
    if (folder := path.parent.absolute()) not in _swept:
        _swept.add(folder)
        remove_unfinished(folder)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=SUFFIX, dir=path.parent)
    scratch = Path(name)
    try:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)  # says that its process lives
        write(scratch)
        scratch.chmod(0o644)  # mkstemp makes it private
        _sync(scratch)
        scratch.replace(path)
    finally:
        os.close(handle)
        scratch.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text as :func:`write_atomically` does."""
    write_atomically(path, lambda scratch: scratch.write_text(text, encoding="utf-8"))


def remove_unfinished(folder: Path) -> None:
    """Remove what killed processes left in a folder; a file whose process lives is locked and stays."""
    for scratch in folder.glob(f".*{SUFFIX}"):
        with contextlib.suppress(OSError):  # locked, another user's, or gone meanwhile
            handle = os.open(scratch, os.O_RDONLY)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                scratch.unlink()
            finally:
                os.close(handle)


def _sync(path: Path) -> None:
    # Opened anew: a writer may have put another file in the place of the one that was made for it.
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
