"""Every row of every table runs on drawn faces for one epoch of one fold, and every table renders from that.

`make tables-smoke` runs it; `make test` does not, by its name. Each database has its stand-in, in its own
layout, so the tables keep their data, label maps and protocols. A batch is half of a stand-in's training
images, so an epoch has two or three; networks of the zoo start from random weights, on the smallest images
that they take. What a confusion matrix, the leakage table or a table of spotting shows runs all its folds:
they show whole runs only. What is rendered lies in `tables/` of pytest's --basetemp.
"""

import csv
import io
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock

from mer.data import standins
from mer.plots import save_figure
from mer.table_file import SCORES, load_table, read_document
from mer.table_kinds.confusion import figures
from tests.synthetic_tables import (
    OF_FACES,
    PUBLISHED_FLOW,
    TABLES,
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
RUNS = Path("runs")


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that all workers share: stand-ins, what is encoded, the tables."""
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
def stand_ins(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The stand-ins in place of the databases, and work in a folder that holds nothing else."""
    for name, root in roots(shared / "standins").items():
        monkeypatch.setenv(name, root)
    monkeypatch.setenv("MER_CACHE", str(shared / "cache"))
    monkeypatch.chdir(tmp_path)
    yield
    shutil.rmtree(RUNS, ignore_errors=True)  # some keep their weights


def check_rows(path: Path, text: str) -> None:
    """Each row with a variant has a score in each data and protocol of the table."""
    asked = load_table(path)
    shown = {line["method"]: line for line in csv.DictReader(io.StringIO(text))}
    for row in asked.rows:
        for home in asked.homes if row.variant else ():
            columns = [column for column in asked.columns if column.home == home]
            cells = [shown[row.label][f"{column.header} ours"] for column in columns]
            assert any(cell.replace(".", "", 1).isdigit() for cell in cells), (
                f"{row.label} on {home}: {cells}"
            )


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", TABLES)
def test_every_row_runs_and_the_table_renders(name: str, shared: Path) -> None:
    path, kind = TABLES[name], kind_of(TABLES[name])
    more = ["fold='#0'" if kind == SCORES else "fold=all"]
    more += ["store=every_epoch"] if kind == "leakage" else []
    for run in runs_of(path):
        train_run(run, SEED, TAG, RUNS, more=more, small=True)
    arguments = of_runs(path, TAG, [SEED], RUNS)
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
