"""Files that are written whole or not at all."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mer.atomic import remove_unfinished, write_atomically, write_text


def test_write_that_fails_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    write_text(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_text(path, "new \ud800")
    assert [(entry.name, entry.read_bytes()) for entry in tmp_path.iterdir()] == [("run.yaml", b"old")]


def test_written_files_are_readable_by_others(tmp_path: Path) -> None:
    write_text(tmp_path / "a", "")
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o644


def test_what_a_killed_process_left_is_removed_by_the_next_that_writes_there(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path; from mer.atomic import write_atomically\n"
        "def killed(path): path.write_text('half'); os.kill(os.getpid(), signal.SIGKILL)\n"
        "write_atomically(Path(sys.argv[1]), killed)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "plan.yaml")], check=False)
    assert done.returncode == -signal.SIGKILL
    [left] = tmp_path.iterdir()
    assert left.name.startswith(".plan.yaml.")
    assert left.name.endswith(".unfinished")
    assert left.read_text() == "half"
    (tmp_path / ".mine").write_text("a hidden file of the user's")
    write_text(tmp_path / "metrics.csv", "whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".mine", "metrics.csv"]


def test_what_a_live_process_writes_stays(tmp_path: Path) -> None:
    def write(scratch: Path) -> None:
        scratch.write_text("half")
        remove_unfinished(tmp_path)
        assert scratch.exists()
        with scratch.open("a") as file:
            file.write(", whole")

    write_atomically(tmp_path / "a", write)
    assert (tmp_path / "a").read_text() == "half, whole"


def test_the_content_is_on_the_disk_before_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a power cut can leave the name without the content."""
    happened = []
    sync, rename = os.fsync, os.replace

    def note_sync(handle: int) -> None:
        happened.append(f"sync {os.fstat(handle).st_size}")
        sync(handle)

    def note_rename(*names: Path) -> None:
        happened.append("rename")
        rename(*names)

    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(os, "replace", note_rename)
    write_text(tmp_path / "a", "content")
    assert happened == ["sync 7", "rename"]
