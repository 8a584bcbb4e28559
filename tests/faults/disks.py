"""Disks that are full or read only, and a user who may not write."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

NOBODY = 65534


@contextlib.contextmanager
def small_disk(place: Path, *, size: str = "2m") -> Iterator[Path]:
    """A disk of its own, mounted in an empty folder; skips where that is not permitted."""
    place.mkdir()
    _mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place))
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


@contextlib.contextmanager
def read_only(place: Path) -> Iterator[None]:
    """A folder as on a disk that is mounted read only; skips where that is not permitted."""
    _mount("--bind", str(place), str(place))
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", str(place)], check=True)
        yield
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


@contextlib.contextmanager
def another_user() -> Iterator[None]:
    """Permission bits mean nothing to root, who becomes nobody for a while."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


def fill(disk: Path, *, leave: int = 0) -> Path:
    """Fill a disk but for so many bytes; returns the file that fills it."""
    path = disk / "filling"
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    if leave:
        os.truncate(path, path.stat().st_size - leave)
    return path


def _mount(*arguments: str) -> None:
    try:
        done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("no `mount` here")
    if done.returncode:
        pytest.skip(f"may not mount here: {done.stderr.strip()}")
