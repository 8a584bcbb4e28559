"""Every row of every table runs on drawn faces for one epoch of one fold, and every table renders from that.

CI runs it as `make tables-smoke`; `make test` does not, by its name. Each database has its stand-in, in its
own layout, so the tables keep their data, label maps and protocols: each row runs in the first of its table,
the paper's own network in all. An epoch has two or three batches; networks of the zoo start from random
weights, and all take the smallest images that they can. What a confusion matrix, the leakage table or a table
of spotting shows runs all its folds: they show whole runs only. A run that two tables show runs once. What is
rendered lies in `tables/` of pytest's --basetemp, beside the runs.
"""

import csv
import io
import os
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from mer.data import standins
from mer.plots import save_figure
from mer.runs import BASE_VARIANT
from mer.table_file import SCORES, load_table, read_document
from mer.table_kinds.confusion import figures
from tests.synthetic_tables import (
    OF_FACES,
    PUBLISHED_FLOW,
    TABLES,
    Run,
    kind_of,
    of_runs,
    render,
    roots,
    runs_of,
    train_run,
    write_stand_ins,
)
from tests.trees import write_megc2019_uvos

TAG = "smoke"
SEED = 0
GROUPS = {"leakage": "laenet"}  # they show runs of another folder's tables


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that all workers share: stand-ins, what is encoded, the runs, the tables."""
    base = tmp_path_factory.getbasetemp()
    folder = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    (folder / "tables").mkdir(exist_ok=True)
    with FileLock(folder / ".standins.lock"):
        write_stand_ins(folder / "standins", full=False)
        flow = folder / "standins" / PUBLISHED_FLOW
        if not flow.exists():
            write_megc2019_uvos(flow)
            (flow / standins.MARK).write_text("Random images in the layout of the published ones.\n")
    return folder


@pytest.fixture(autouse=True)
def stand_ins(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stand-ins in place of the databases, and work in a folder that holds nothing else."""
    for name, root in roots(shared / "standins").items():
        monkeypatch.setenv(name, root)
    monkeypatch.setenv("MER_CACHE", str(shared / "cache"))
    monkeypatch.chdir(tmp_path)


def smoke_runs(path: Path) -> list[Run]:
    """Each row in the first data and protocol of its table, and the paper's own network in the others too."""
    runs = runs_of(path)
    if kind_of(path) != SCORES:
        return runs
    rows, (first, *others) = (list(dict.fromkeys(part)) for part in zip(*runs, strict=True))
    own = f"{path.parent.name}/{BASE_VARIANT}"
    return [(row, first) for row in rows] + [(own if own in rows else rows[0], home) for home in others]


def check_rows(path: Path, text: str) -> None:
    """Each row that ran has a score in the data and protocol that it ran in."""
    asked = load_table(path)
    shown = {line["method"]: line for line in csv.DictReader(io.StringIO(text))}
    for variant, home in smoke_runs(path):
        columns = [column for column in asked.columns if column.home == home]
        for label in (row.label for row in asked.rows if row.variant == variant):
            cells = [shown[label][f"{column.header} ours"] for column in columns]
            assert any(cell.replace(".", "", 1).isdigit() for cell in cells), f"{label} on {home}: {cells}"


def in_group(name: str) -> Any:
    """A table among those that show the same runs: one worker does them all (`--dist loadgroup`)."""
    folder = TABLES[name].parent.name
    return pytest.param(name, marks=pytest.mark.xdist_group(GROUPS.get(folder, folder)))


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", [in_group(name) for name in TABLES])
def test_every_row_runs_and_the_table_renders(name: str, shared: Path) -> None:
    path, kind, runs = TABLES[name], kind_of(TABLES[name]), shared / "runs"
    more = ["fold='#0'" if kind == SCORES else "fold=all"]
    for run in smoke_runs(path):
        train_run(run, SEED, TAG, runs, more=more, small=True)
    arguments = of_runs(path, TAG, [SEED], runs)
    text = render(path, *arguments)
    assert text.startswith("# SYNTHETIC DATA: ") == (kind in OF_FACES)
    if kind == SCORES:
        check_rows(path, render(path, *arguments, "--format=csv"))
    if kind in ("confusion", "leakage"):
        assert "not run" not in text
    if kind == "confusion":
        for picture, figure in figures(read_document(path), path, arguments[:-1]).items():
            save_figure(figure, shared / "tables" / f"{path.parent.name}-{picture}.png")
    (shared / "tables" / f"{name}.md").write_text(text, encoding="utf-8")
