"""Confusion matrices: ours from predictions, the paper's beside, the same classes in its order."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mer import runs
from mer.errors import MerError
from mer.plots import save_figure
from mer.table_file import read_document
from mer.table_kinds.confusion import figures
from tests.run_folder import FOLDS, make_metrics, make_plan, make_predictions, make_record
from tests.table_kinds.sheets import example, sheet_of, write_table

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
SCORES = """
    title: Scores
    data: synthetic
    protocol: loso
    seeds: [0]
    columns:
      acc: {subset: all, metric: accuracy, header: Acc}
    rows:
      - {label: LAENet, variant: laenet/base}
"""
TABLE = """
    kind: confusion
    title: Matrices
    predictions: scores
    matrices:
      - label: All of them
        variant: laenet/base
        share: all
        classes: {positive: Pos, negative: Neg}
        paper:
          - ["0.30", 0.20]
          - [0.10, {figure: "0.40", text: "0.41"}]
      - {label: SMIC, variant: laenet/base, subset: smic, share: row, classes: {negative: N, positive: P}}
"""


def make_run(runs_dir: Path, seed: int = 0) -> None:
    """A finished run of three folds."""
    run = runs.RunKey("laenet", "base", "synthetic", "loso", seed).folder(runs_dir)
    plan = make_plan()
    runs.start(run, plan)
    record = make_record(plan, seconds=1.5, mer="0.1.0", versions={"torch": "2.9.0"}, date="2026-01-02")
    for fold in FOLDS:
        with runs.claim(run, fold) as folder:
            runs.finish(folder, make_predictions(fold).assign(seed=seed), make_metrics(fold), record)


def our_counts(database: str | None = None) -> dict[tuple[str, str], int]:
    """Clips by (true, predicted) class, counted one by one."""
    clips = pd.concat([make_predictions(fold) for fold in FOLDS])
    clips = clips if database is None else clips[clips["database"] == database]
    predicted = np.where(clips["p_negative"] >= clips["p_positive"], "negative", "positive")
    pairs = list(zip(clips["label"], predicted.tolist(), strict=True))
    names = ("negative", "positive")
    return {(true, guess): pairs.count((true, guess)) for true in names for guess in names}


@pytest.fixture
def table(tmp_path: Path) -> Path:
    write_table(tmp_path, SCORES, "scores.yaml")
    return write_table(tmp_path, TABLE)


def test_ours_are_the_predictions_in_the_papers_order(table: Path, tmp_path: Path) -> None:
    make_run(tmp_path / "runs")
    sheet = sheet_of(table, [f"runs_dir={tmp_path / 'runs'}"])
    assert sheet.flat is not None
    shown = {tuple(line[:3]): line for line in sheet.flat.lines}
    counts = our_counts()
    whole = sum(counts.values())
    for true, name in (("positive", "Pos"), ("negative", "Neg")):
        line = dict(zip(sheet.flat.header, shown["All of them", name, "ours"], strict=True))
        for predicted, header in (("positive", "Pos"), ("negative", "Neg")):
            assert line[header] == f"{counts[true, predicted] / whole:.4f}"
        assert (line["clips"], line["N"]) == (str(counts[true, "negative"] + counts[true, "positive"]), "")
    smic = our_counts("smic")
    line = dict(zip(sheet.flat.header, shown["SMIC", "P", "ours"], strict=True))
    positives = smic["positive", "negative"] + smic["positive", "positive"]
    assert line["N"] == f"{100 * smic['positive', 'negative'] / positives:.2f}"
    assert sheet.title == "SYNTHETIC DATA: Matrices"
    assert sheet.runs.lines[0][:4] == ["laenet/base", "synthetic", "loso", "0"]
    assert len(sheet.runs.lines) == 1


def test_the_papers_cells_stay_as_printed(table: Path, tmp_path: Path) -> None:
    make_run(tmp_path / "runs")
    sheet = sheet_of(table, [f"runs_dir={tmp_path / 'runs'}"])
    assert [line[3:5] for line in sheet.grid.lines if line[2] == "paper"] == [
        ["0.30", "0.20"],
        ["0.10", "0.40 (text: 0.41)"],
    ]
    counts = our_counts()
    ours = counts["negative", "negative"] / sum(counts.values())
    difference = [line for line in sheet.grid.lines if line[2] == "difference"][1]
    assert difference[4] == f"{ours - 0.40:+.4f}"


def test_seeds_are_added_up(table: Path, tmp_path: Path) -> None:
    make_run(tmp_path / "runs")
    overrides = [f"runs_dir={tmp_path / 'runs'}", "seeds=0,1"]
    once = sheet_of(table, overrides)
    make_run(tmp_path / "runs", seed=1)  # the same predictions: shares and clips stay
    twice = sheet_of(table, overrides)
    assert twice.grid == once.grid
    assert [line[3] for line in twice.runs.lines] == ["0", "1"]
    drawn = figures(read_document(table), table, overrides)["table.smic"]
    assert drawn.axes[0].texts[0].get_text() == str(2 * our_counts("smic")["negative", "negative"])
    assert "seeds 0, 1" in drawn.texts[0].get_text().replace("\n", " ")
    with pytest.raises(MerError, match="seeds=one: whole numbers"):
        sheet_of(table, ["seeds=one"])


def test_what_has_not_run_says_so(table: Path, tmp_path: Path) -> None:
    sheet = sheet_of(table, [f"runs_dir={tmp_path / 'runs'}"])
    assert sheet.footnotes == [("a", "not run: `mer table` on scores.yaml makes its predictions")]
    assert sheet.grid.lines[0] == ["All of them (a)", "Pos", "paper", "0.30", "0.20", "", "", ""]
    assert sheet.grid.lines[2] == ["SMIC (a)", "N", "ours", "", "", "not run", "not run", ""]
    write_table(tmp_path, SCORES.replace("data: synthetic", "data: casme2"), "scores.yaml")
    assert sheet_of(table).footnotes == [("a", "not run: needs CASME II under data.root")]
    # What a run starts from is read too.
    row = "variant: laenet/base, needs: [ckplus_3class]"
    write_table(tmp_path, SCORES.replace("variant: laenet/base", row), "scores.yaml")
    assert sheet_of(table).footnotes == [("a", "not run: needs CK+ under data.root")]


def test_the_docstrings_example_shows_the_stored_predictions(tmp_path: Path) -> None:
    shutil.copytree(EXPERIMENTS / "laenet", tmp_path / "laenet")
    path = write_table(tmp_path / "laenet", example("confusion"), "table6.yaml")
    sheet = sheet_of(path, [f"runs_dir={tmp_path / 'runs'}"])
    stored = pd.concat(
        map(pd.read_parquet, (EXPERIMENTS / "laenet/table4").glob("laenet.base.seed-*.parquet"))
    )
    smic = stored[stored["database"] == "smic"]
    classes = ["negative", "positive", "surprise"]
    predicted = np.array(classes)[smic[[f"p_{name}" for name in classes]].to_numpy().argmax(axis=1)]
    shares = 100 * pd.crosstab(smic["label"].to_numpy(), predicted, normalize="index")
    ours = [line[3:6] for line in sheet.grid.lines if line[2] == "ours"]
    assert ours == [[f"{share:.2f}" for share in shares.loc[name, classes]] for name in classes]
    assert stored["seed"].nunique() > 1
    assert [line[6] for line in sheet.grid.lines if line[2] == "ours"] == ["70", "51", "43"]
    assert "Counted at the last epoch." in sheet.how


def test_figures_of_what_has_run(table: Path, tmp_path: Path) -> None:
    document = read_document(table)
    overrides = [f"runs_dir={tmp_path / 'runs'}"]
    assert figures(document, table, overrides) == {}
    make_run(tmp_path / "runs")
    drawn = figures(document, table, overrides)
    assert list(drawn) == ["table.all-of-them", "table.smic"]
    texts = [text.get_text() for text in drawn["table.smic"].axes[0].texts]
    assert texts[0] == str(our_counts("smic")["negative", "negative"])
    assert drawn["table.smic"].texts[0].get_text().startswith("SYNTHETIC DATA: SMIC: laenet/base")
    save_figure(drawn["table.smic"], tmp_path / "smic.png")
    assert (tmp_path / "smic.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("predictions: scores", "", r"matrices\[1\] \(All of them\)\.predictions: missing"),
        ("predictions: scores", "predictions: table9", "table9.yaml: no such table file"),
        ("share: all", "share: column", r"share=column: choose row, all"),
        ("laenet/base\n", "laenet/wide\n", r"scores.yaml shows no laenet/wide on synthetic"),
        ("share: all", "share: all\n        data: casme2", r"shows no laenet/base on casme2 \(loso\)"),
        ('["0.30", 0.20]', "[0.30]", "paper: 2 lines of 2 cells"),
        ("positive: Pos, negative: Neg", "positive: Pos, negative: Pos", "a different name for each class"),
        ("subset: smic", "subset: samm", "subset=samm: .*holds no clip of it"),
        ("negative: N, positive: P", "negative: N, surprise: S", "has the classes negative, positive"),
        ("label: SMIC", "name: SMIC", r"matrices\[2\]\.name: unknown key"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in TABLE
    write_table(tmp_path, SCORES, "scores.yaml")
    make_run(tmp_path / "runs")
    with pytest.raises(MerError, match=message):
        sheet_of(write_table(tmp_path, TABLE.replace(old, new)), [f"runs_dir={tmp_path / 'runs'}"])


def test_two_matrices_of_one_file_name(tmp_path: Path) -> None:
    write_table(tmp_path, SCORES, "scores.yaml")
    path = write_table(tmp_path, TABLE.replace("label: SMIC", "label: all of them"))
    with pytest.raises(MerError, match="change the label"):
        figures(read_document(path), path, [])
