"""Two processes at once, and clocks that go back."""

import os
import time
from pathlib import Path

import pytest

from mer import runs
from mer.data.encoded import encode
from mer.data.megc2019_uvos import read_clips
from tests import trust
from tests.faults.child import FOLDS, TRAIN, error_lines, finish, run_of, start, write_experiment
from tests.faults.kills import results, scratches
from tests.run_folder import FOLDS as SOME_FOLDS
from tests.run_folder import make_fold, make_plan, make_run
from tests.trees import write_megc2019_uvos

# A clock that goes back an hour each time that somebody looks at it.
BACKWARDS = """
import time
real, looked = time.time, 0
def back():
    global looked
    looked += 1
    return real() - 3600 * looked
time.time = back
time.time_ns = lambda: int(back() * 1e9)
"""


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_processes_share_a_run_folder(tmp_path: Path) -> None:
    """Each fold is trained by one of them; who finds a fold taken says so, and the result is whole."""
    folder = write_experiment(tmp_path / "shared")
    other = write_experiment(tmp_path / "other", epochs=30)
    (folder / "runs").mkdir()
    (other / "runs").symlink_to(folder / "runs")
    surroundings = {"MER_CACHE": str(tmp_path / "cache")}  # and one encoded set
    children = [start(place, *TRAIN, "workers=1", surroundings=surroundings) for place in (folder, other)]
    codes = [child.wait() for child in children]
    for place, code in zip((folder, other), codes, strict=True):
        said = error_lines(place)
        assert "Traceback" not in "\n".join(said)
        assert code == 0 or "another process is training this fold" in said[-1], said
    run = run_of(folder)
    assert all(runs.state(run, fold) == "done" for fold in FOLDS)
    assert len(list((tmp_path / "cache" / "encoded").glob("[0-9a-f]*"))) == 1
    assert not scratches(folder)
    alone = write_experiment(tmp_path / "alone")
    finish(alone, *TRAIN, "workers=1")
    assert results(run) == results(run_of(alone))
    trust.record("faults", "two processes on one run folder", "survived", amount=len(FOLDS))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_clock_that_runs_backwards_changes_no_byte(tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(BACKWARDS)
    path = os.pathsep.join([str(tmp_path / "site"), str(Path(__file__).parents[2])])
    back, straight = (
        write_experiment(tmp_path / "back", epochs=2),
        write_experiment(tmp_path / "straight", epochs=2),
    )
    for fold in ("fold='#0'", "fold=all"):  # what is finished is known to be, whatever the time
        child = start(back, *TRAIN, "workers=1", fold, surroundings={"PYTHONPATH": path})
        assert child.wait() == 0, error_lines(back)
    assert "1 of 6 folds are finished already" in "\n".join(error_lines(back))
    finish(straight, *TRAIN, "workers=1")
    assert results(run_of(back)) == results(run_of(straight))
    trust.record("faults", "a clock that goes back", "survived")


@pytest.mark.parametrize("shift", [-(10**9), 10**9])
def test_times_of_files_decide_nothing_in_a_run_folder(tmp_path: Path, shift: int) -> None:
    """A folder that was copied, or written before the clock was set right."""
    run = make_run(tmp_path, folds=SOME_FOLDS[:2])
    expected = runs.read_predictions(run, partial=True)
    then = time.time() + shift
    for path in run.rglob("*"):
        os.utime(path, (then, then))
    assert [runs.state(run, fold) for fold in SOME_FOLDS] == ["done", "done", "missing"]
    make_fold(run, SOME_FOLDS[2], make_plan())
    assert runs.read_predictions(run)[: len(expected)].equals(expected)
    trust.record("faults", "a clock that goes back", "survived")


def test_a_set_from_the_future_is_read_and_a_changed_file_noticed(tmp_path: Path) -> None:
    """A frame's time is part of the key, compared for equality: an older time is another file too."""
    clips = read_clips(write_megc2019_uvos(tmp_path / "images", {"006": ("0", "1"), "s01": ("2",)}))
    first = encode(clips, progress=False)
    then = time.time() + 10**9
    for path in first.folder.iterdir():
        os.utime(path, (then, then))
    written = (first.folder / "images.npy").stat().st_mtime_ns
    assert encode(clips, progress=False).folder == first.folder
    assert (first.folder / "images.npy").stat().st_mtime_ns == written
    image = Path(clips["image"].iloc[0])
    os.utime(image, (0, 0))
    assert encode(clips, progress=False).folder != first.folder
    trust.record("faults", "a clock that goes back", "survived")
