"""Files that are written whole or not at all."""

from pathlib import Path

import pytest

from mer.atomic import write_text


def test_write_that_fails_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    write_text(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_text(path, "new \ud800")
    assert [(entry.name, entry.read_bytes()) for entry in tmp_path.iterdir()] == [("run.yaml", b"old")]


def test_written_files_are_readable_by_others(tmp_path: Path) -> None:
    write_text(tmp_path / "a", "")
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o644
