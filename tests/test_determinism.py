"""The same seed gives the same bytes, whatever the process, its surroundings and its workers.

The number of workers, the order of folds and a fold alone within one process: `tests/test_engine.py`; a sweep
of folds: `tests/test_train.py`; all folds in one fit: `tests/test_ensemble_engine.py`.
"""

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from mer import runs, table, train
from tests import trust

pytestmark = pytest.mark.timeout(300)
REPOSITORY = Path(__file__).parents[1]
TABLE = REPOSITORY / "experiments/laenet/table4.yaml"
TINY = ("data.clips.subjects=3", "data.clips.clips_per_class=1", "data.clips.size=48")
RUN = (
    "experiment=demo",
    *TINY,
    "augment=affine",
    "epochs=2",
    "batch_size=4",
    "store=every_epoch",
    "tag=same",
)
CHILD = """
import sys
from pathlib import Path
from mer import table, train
*lines, stored = sys.argv[1:]
for line in lines:
    train.main(line.split(" "))
table.main([stored, "runs_dir=none"])
"""


def lines(*more: str) -> str:
    return " ".join([*RUN, *more])


def train_elsewhere(place: Path, commands: list[str], **environment: str) -> None:
    """Train, and render the stored table, in a process of its own in ``place``, under another environment."""
    place.mkdir(parents=True)
    stored = shutil.copytree(TABLE.parent, place / "laenet") / TABLE.name
    stored.with_suffix(".md").unlink()
    kept = {name: value for name, value in os.environ.items() if name not in ("OMP_NUM_THREADS", "LANG")}
    done = subprocess.run(
        [sys.executable, "-c", CHILD, *commands, str(stored)],
        cwd=place,
        env=kept | {"MER_CACHE": str(place / "cache"), "PYTHONPATH": str(REPOSITORY)} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    assert done.returncode == 0, done.stdout.decode("utf-8", "replace")


def left(place: Path) -> dict[str, bytes]:
    """What a run made: drawn frames, encoded images, what the folds left and the pictures; by name."""
    patterns = (
        *("cache/synthetic/*/**/*.*", "cache/encoded/*/images.npy", "runs/**/plan.yaml", "runs/**/*.parquet"),
        *("runs/**/metrics.csv", "runs/**/*.png"),
    )
    return {
        # The key of an encoded set is no name: it holds the frames' times.
        "images.npy" if path.name == "images.npy" else path.relative_to(place).as_posix(): path.read_bytes()
        for pattern in patterns
        for path in place.glob(pattern)
        if path.is_file() and path.suffix != ".lock"
    }


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the run was made in this process, one fold after another."""
    place = tmp_path_factory.mktemp("first")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.setenv("MER_CACHE", str(place / "cache"))
        train.main([*RUN, "workers=1"])
    return place


OTHER = {
    "PYTHONHASHSEED": "2",
    "OMP_NUM_THREADS": "2",
    "TZ": "Asia/Kathmandu",
    "LC_ALL": "C",
    "COLUMNS": "40",
}


def compare(kind: str, expected: dict[str, bytes], found: dict[str, bytes]) -> None:
    assert found.keys() == expected.keys()
    assert [name for name in expected if found[name] != expected[name]] == []
    trust.record("determinism", kind, "equal", amount=sum(map(len, expected.values())))


def test_another_process_with_other_surroundings_gives_the_same_bytes(first: Path, tmp_path: Path) -> None:
    """Hash seed, locale, time zone, threads, folder and cache; two workers; one fold before the others."""
    other = tmp_path / "ü other"
    train_elsewhere(other, [lines("workers=2", "fold=#1"), lines("workers=2")], **OTHER)
    expected = left(first)
    assert any(name.startswith("cache/synthetic/") and name.endswith(".png") for name in expected)
    for end in ("images.npy", "plan.yaml", "metrics.csv", "confusion.png"):
        assert any(name.endswith(end) for name in expected), end
    assert sum(name.endswith("predictions.parquet") for name in expected) == 3
    compare("other surroundings", expected, left(other))
    compare(
        "a table rendered elsewhere",
        {"table4.md": TABLE.with_suffix(".md").read_bytes()},
        {"table4.md": (other / "laenet/table4.md").read_bytes()},
    )


@pytest.fixture
def used_generators() -> Iterator[None]:
    """Global generators that somebody has drawn from, and more threads than a fold has."""
    threads = torch.get_num_threads()
    random.seed(11)
    np.random.seed(12)  # the old global one, which a library may read
    torch.manual_seed(13)
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("used_generators")
def test_a_process_that_has_drawn_and_trained_before_gives_the_same_bytes(
    first: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MER_CACHE", str(tmp_path / "cache"))
    # Another run, of another seed, comes first in the same process.
    train.main([*RUN, "seed=1", "fold='#0'", "workers=1"])
    other = Path("runs/demo/base.same/synthetic/loso/seed-1")
    predictions = runs.fold_folder(other, "synthetic/s01") / "predictions.parquet"
    beside = first / "runs/demo/base.same/synthetic/loso/seed-0/fold-synthetic.s01/predictions.parquet"
    assert predictions.read_bytes() != beside.read_bytes(), "the seed decides"
    shutil.rmtree(other)
    train.main([*RUN, "workers=1"])
    compare("a process that was used before", left(first), left(tmp_path))


def test_a_table_rendered_twice_is_the_same_bytes(tmp_path: Path) -> None:
    text = []
    for name in ("one", "two"):
        place = shutil.copytree(TABLE.parent, tmp_path / name / "laenet")
        for suffix in ("md", "csv", "tex"):
            table.main([str(place / TABLE.name), f"--format={suffix}", f"runs_dir={tmp_path / 'none'}"])
        text.append({path.name: path.read_bytes() for path in place.glob("table4.*")})
    assert {"table4.md", "table4.csv", "table4.tex"} <= text[0].keys()
    compare("tables rendered twice", *text)
