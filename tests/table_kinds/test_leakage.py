"""The leakage table: the score of each rule, its points, and the same again from what is stored."""

from pathlib import Path

import numpy as np
import pytest

from mer import selection, table
from mer.errors import MerError
from mer.table_file import read_document
from mer.table_kinds import leakage
from tests.run_folder import CLASSES
from tests.table_kinds.sheets import example, sheet_of, write_table
from tests.test_epoch_counts import EPOCHS, make_run

TABLE = """
    kind: leakage
    title: The leak
    data: faces
    protocol: loso
    seeds: [0, 1]
    columns:
      uf1: {subset: all, metric: uf1, header: UF1}
      smic: {subset: smic, metric: uar, header: SMIC UAR}
    rows:
      - {label: LAENet, variant: laenet/base, notes: [settings]}
      - {label: Narrow, variant: laenet/narrow}
    footnotes:
      settings: None are printed.
"""


def test_cells_are_the_rules_scores_and_their_points(tmp_path: Path) -> None:
    predictions = [make_run(tmp_path / "runs", seed)[1] for seed in (0, 1)]
    sheet = sheet_of(write_table(tmp_path, TABLE), [f"runs_dir={tmp_path / 'runs'}"])
    leaks = [selection.leak(each, CLASSES, "uf1").to_dict() for each in predictions]
    row = sheet.grid.lines[0]
    assert row[:2] == ["LAENet (a)", "0, 1"]
    expected = []
    for rule in ("last", "best_on_test_per_fold", "best_on_test_epoch"):
        scores = [leak["score"][rule] for leak in leaks]
        expected.append(f"{np.mean(scores):.4f} ± {np.std(scores, ddof=1):.4f}")
        if rule != "last":
            points = [leak["points"][rule] for leak in leaks]
            expected.append(f"{np.mean(points):+.2f} ± {np.std(points, ddof=1):.2f}")
    assert row[2:7] == expected
    assert sheet.grid.header[2:7] == [
        "UF1, last",
        "UF1, LEAK: best on test, each fold",
        "points",
        "UF1, LEAK: best on test, one epoch",
        "points",
    ]
    assert "LEAK" in sheet.caption
    assert [line[3:5] for line in sheet.runs.lines] == [["0", str(EPOCHS)], ["1", str(EPOCHS)]]
    assert sheet.flat is not None
    one = next(line for line in sheet.flat.lines if line[1:4] == ["UF1", "best_on_test_epoch", "1"])
    assert one[4:] == [
        f"{leaks[1]['score']['best_on_test_epoch']:.4f}",
        f"{leaks[1]['points']['best_on_test_epoch']:+.2f}",
    ]


def test_rows_and_seeds_that_have_not_run(tmp_path: Path) -> None:
    make_run(tmp_path / "runs", 1)
    make_run(tmp_path / "runs", 0, keep=[EPOCHS])  # it kept its last epoch only
    sheet = sheet_of(write_table(tmp_path, TABLE), [f"runs_dir={tmp_path / 'runs'}"])
    assert sheet.grid.lines[0][1] == "1"
    assert "±" not in sheet.grid.lines[0][2]
    assert sheet.grid.lines[1][:4] == ["Narrow (b)", "", "not run", "not run"]
    assert sheet.footnotes[1] == (
        "b",
        "not run: `mer train variant=laenet/narrow data=faces protocol=loso store=every_epoch` makes it",
    )


def test_it_renders_again_from_what_it_stored(tmp_path: Path) -> None:
    for seed in (0, 1):
        make_run(tmp_path / "runs", seed)
    path = write_table(tmp_path, TABLE)
    table.main([str(path), "--partial", f"runs_dir={tmp_path / 'runs'}"])
    assert not (tmp_path / "table").exists()
    table.main([str(path), f"runs_dir={tmp_path / 'runs'}"])
    first = path.with_suffix(".md").read_text()
    assert sorted(file.name for file in (tmp_path / "table").iterdir()) == [
        f"laenet.base.seed-{seed}.{suffix}" for seed in (0, 1) for suffix in ("parquet", "yaml")
    ]
    (tmp_path / "runs").rename(tmp_path / "gone")
    table.main([str(path), f"runs_dir={tmp_path / 'runs'}"])
    assert path.with_suffix(".md").read_text() == first


def test_another_data_is_not_stored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_table(tmp_path, TABLE.replace("data: faces", "data: others"))
    make_run(tmp_path / "runs")
    table.main([str(path), "data=faces", f"runs_dir={tmp_path / 'runs'}"])
    assert "| LAENet (a) | 0 " in " ".join(capsys.readouterr().out.split()).replace(" ", " ")
    assert not (tmp_path / "table").exists()
    assert not path.with_suffix(".md").exists()


def test_the_example_is_read(tmp_path: Path) -> None:
    sheet = sheet_of(write_table(tmp_path, example("leakage")), [f"runs_dir={tmp_path}"])
    assert [line[2] for line in sheet.grid.lines] == ["not run", "not run"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("metric: uf1", "metric: auc", "columns.uf1.metric=auc: choose accuracy, f1, uf1, uar"),
        ("laenet/narrow", "narrow", r"rows\[2\] \(Narrow\)\.variant=narrow: <experiment>/<variant>"),
        ("seeds: [0, 1]", "seeds: [0, 0]", "seeds=0,0: different whole numbers"),
        ("seeds: [0, 1]", "seeds: [-1]", "seeds=-1: different whole numbers"),
        ("notes: [settings]", "notes: [other]", "'other' is no key of footnotes"),
        ("    title: The leak\n", "", "title: missing"),
    ],
)
def test_bad_files(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = write_table(tmp_path, TABLE.replace(old, new))
    with pytest.raises(MerError, match=message):
        leakage.lay_out(read_document(path), path, [f"runs_dir={tmp_path}"])
