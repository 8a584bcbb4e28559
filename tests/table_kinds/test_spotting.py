"""Tables of spotting: ours from runs, the paper's beside, intervals by each row's rule."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from mer import runs
from mer.errors import MerError
from mer.runs import RunKey
from mer.spotting_scores import SpotOptions, scores
from mer.table import main
from mer.table_file import read_document
from mer.table_kinds.spotting import figures
from tests.run_folder import seal_again
from tests.spotting_run import make_spotting_run
from tests.table_kinds.sheets import cells, example, sheet_of, write_table

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
TABLE = """
    kind: spotting
    title: Spotting
    paper: {name: Nobody, table: 1, caption: Spotting}
    data: faces
    protocol: loso
    seeds: [0, 1]
    spot: {smoothing: 0}
    columns:
      auc: {metric: auc, header: AUC}
      f1: {metric: interval_f1, header: F1}
      smic: {metric: interval_recall, header: SMIC recall, subset: smic}
      alarms: {metric: false_alarms, header: Alarms}
    rows:
      - label: LBP
        variant: lbp/base
        spot: {relative: true, threshold: 0.9}
        paper: {auc: 92.98%, alarms: 3.5}
        notes: [unit]
      - label: Net
        variant: net/base
        paper: {auc: 0.90}
      - {label: Other, not_run: not implemented, quote: true, paper: {auc: 81%}}
    footnotes: {unit: The unit is not printed.}
"""


def key(experiment: str, seed: int = 0, data: str = "faces") -> RunKey:
    return RunKey(experiment, "base", data, "loso", seed)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return write_table(tmp_path, TABLE)


@pytest.fixture
def overrides(tmp_path: Path) -> list[str]:
    return [f"runs_dir={tmp_path / 'runs'}"]


def expected(run: Path, options: SpotOptions) -> pd.DataFrame:
    frames, expressions = runs.read_spotting(run)
    return scores(frames, expressions, options)


def test_ours_are_the_scores_of_the_runs(table: Path, overrides: list[str], tmp_path: Path) -> None:
    # In the second seed the expressions are spotted 10 of 40 frames late (IoU 30 / 50), in the first not.
    each = [make_spotting_run(tmp_path / "runs", key("net", seed), shift=10 * seed) for seed in (0, 1)]
    tables = [expected(run, SpotOptions(smoothing=0)) for run in each]
    net = cells(sheet_of(table, overrides), "Net")
    areas = [float(found["auc"]["all"]) for found in tables]
    assert net["AUC"] == f"{np.mean(areas):.4f} ± {np.std(areas, ddof=1):.4f}"
    assert areas[0] > areas[1]
    # 3 hits and 1 false alarm in 3 still videos of 2 seconds: 10 a minute.
    assert net["F1"] == f"{6 / 7:.4f} ± 0.0000"
    assert net["SMIC recall"] == "1.0000 ± 0.0000"
    assert net["Alarms"] == "10.00 ± 0.00"
    difference = cells(sheet_of(table, overrides), "Net", "difference")
    assert difference["AUC"] == f"{np.mean(areas) - 0.90:+.4f}"
    assert difference["F1"] == ""


def test_a_row_has_its_own_rule(table: Path, overrides: list[str], tmp_path: Path) -> None:
    run = make_spotting_run(tmp_path / "runs", key("lbp"))
    rule = SpotOptions(smoothing=0, relative=True, threshold=0.9)
    sheet = sheet_of(table, [*overrides, "seeds=0"])
    found = expected(run, rule)
    lbp = cells(sheet, "LBP (a)")
    assert lbp["F1"] == f"{found['interval_f1']['all']:.4f}"
    assert cells(sheet, "LBP (a)", "paper")["AUC"] == "92.98%"
    assert cells(sheet, "LBP (a)", "difference")["Alarms"] == f"{found['false_alarms']['all'] - 3.5:+.2f}"
    rules = [line for line in sheet.how if line.startswith("Intervals")]
    assert rules == [
        f"Intervals of LBP: {rule.words()}.",
        f"Intervals of Net: {SpotOptions(smoothing=0).words()}.",
    ]


def test_what_was_scored_stands_below(table: Path, overrides: list[str], tmp_path: Path) -> None:
    make_spotting_run(tmp_path / "runs", key("net"))
    sheet = sheet_of(table, [*overrides, "seeds=0"])
    assert sheet.data.lines == [
        ["faces", "loso", "casme2", "4", "800", "80", "2"],
        ["faces", "loso", "smic", "2", "400", "40", "1"],
    ]
    assert sheet.runs.lines == [["net/base", "faces", "loso", "0", "3", "3", "2026-01-02", "abc"]]
    assert sheet.command.endswith("table.yaml seeds=0")
    assert not sheet.synthetic


def test_what_has_not_run_says_so(table: Path, overrides: list[str], tmp_path: Path) -> None:
    sheet = sheet_of(table, overrides)
    assert cells(sheet, "Net (c)")["AUC"] == "not run"
    notes = dict(sheet.footnotes)
    assert notes["a"] == "The unit is not printed."
    assert notes["c"] == ("not run: `mer train -m experiment=net data=faces protocol=loso seed=0,1` makes it")
    assert notes["d"] == "No run of ours: not implemented."
    assert [line[1] for line in sheet.grid.lines if line[0].startswith("Other")] == ["paper, quoted"]
    # Data that this machine lacks.
    sheet = sheet_of(write_table(tmp_path, TABLE.replace("data: faces", "data: casme2")), overrides)
    assert dict(sheet.footnotes)["b"] == "not run: needs CASME II under data.root"


def test_one_of_two_seeds(table: Path, overrides: list[str], tmp_path: Path) -> None:
    make_spotting_run(tmp_path / "runs", key("net"))
    sheet = sheet_of(table, overrides)
    assert "PARTIAL: 1 of 2 seeds" in dict(sheet.footnotes).values()
    assert not [line for line in sheet.grid.lines if line[1] == "difference"]


def test_drawn_faces_are_named(table: Path, overrides: list[str], tmp_path: Path) -> None:
    make_spotting_run(tmp_path / "runs", key("net", data="drawn"), synthetic=True)
    sheet = sheet_of(table, [*overrides, "data=drawn", "seeds=0"])
    assert sheet.title == "SYNTHETIC DATA: Spotting"
    assert any(line.startswith("Drawn faces") for line in sheet.how)


def test_runs_of_other_frames_do_not_stand_together(
    table: Path, overrides: list[str], tmp_path: Path
) -> None:
    make_spotting_run(tmp_path / "runs", key("net"))
    other = make_spotting_run(tmp_path / "runs", key("lbp"))
    path = next(other.glob("fold-smic.s1/frames.parquet"))
    frames = pd.read_parquet(path)
    frames["inside"] = frames["frame"].between(52, 90) & (frames["video"] == "v1")
    frames.to_parquet(path)
    seal_again(path.parent)
    with pytest.raises(MerError, match="do not fit in one table: other frames or expressions"):
        sheet_of(table, [*overrides, "seeds=0"])


def test_roc_curves_of_all_rows_are_one_figure(table: Path, overrides: list[str], tmp_path: Path) -> None:
    document = read_document(table)
    assert figures(document, table, overrides) == {}
    make_spotting_run(tmp_path / "runs", key("net"))
    make_spotting_run(tmp_path / "runs", key("lbp"), shift=20)
    drawn = figures(document, table, [*overrides, "seeds=0"])
    assert list(drawn) == ["table.roc"]
    legend = [text.get_text() for text in drawn["table.roc"].axes[0].get_legend().get_texts()]  # type: ignore[union-attr]
    assert [text.split(":")[0] for text in legend] == ["Net", "LBP", "chance"]
    assert legend[0] == f"Net: {cells(sheet_of(table, [*overrides, 'seeds=0']), 'Net')['AUC']}"


def test_the_verb_writes_the_table_and_its_figure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_table(tmp_path, TABLE)
    make_spotting_run(tmp_path / "runs", key("net"))
    main(["table.yaml", "seeds=0"])
    assert capsys.readouterr().out == (tmp_path / "table.md").read_text(encoding="utf-8")
    assert (tmp_path / "table.roc.png").stat().st_size > 1000


def test_the_docstrings_example_is_a_table(tmp_path: Path, overrides: list[str]) -> None:
    sheet = sheet_of(write_table(tmp_path, example("spotting")), overrides)
    assert sheet.grid.header[2:] == ["AUC", "F1, intervals", "False alarms a minute"]


def test_the_papers_table_1(overrides: list[str]) -> None:
    path = EXPERIMENTS / "timecontrast/table1.yaml"
    sheet = sheet_of(path, overrides)
    printed = [line[2] for line in sheet.grid.lines if line[1] == "paper"]
    assert printed == ["92.98%", "64.99%", "94.24%"]
    variants = [row.get("variant") for row in yaml.safe_load(path.read_text())["rows"]]
    conf = EXPERIMENTS.parent / "conf"
    for variant in variants:
        experiment, name = variant.split("/")
        own = conf / f"experiment/{experiment}.yaml" if name == "base" else conf / f"variant/{variant}.yaml"
        assert own.is_file()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("metric: auc", "metric: area", r"columns\.auc\.metric=area: choose auc, interval_f1"),
        ("header: AUC", "title: AUC", r"columns\.auc\.title: unknown key"),
        ("variant: net/base", "variant: net", r"rows\[2\] \(Net\)\.variant=net: <experiment>/<variant>"),
        ("variant: net/base", "notes: []", r"rows\[2\] \(Net\): exactly one of variant and not_run"),
        ("label: Net", "label: LBP", "the label 'LBP' stands twice"),
        ("{auc: 0.90}", "{auc: high}", r"rows\[2\] \(Net\)\.paper\.auc: 'high' is no number"),
        ("{auc: 0.90}", "{uar: 0.90}", r"rows\[2\] \(Net\)\.paper\.uar: no such column"),
        ("smoothing: 0", "smoothing: -1", r"spot: spot\.smoothing=-1: 0 or more"),
        ("smoothing: 0", "window: 3", r"spot\.window: unknown key"),
        ("threshold: 0.9", "threshold: high", r"rows\[1\] \(LBP\)\.spot: .*numbers are needed"),
        ("seeds: [0, 1]", "seeds: [0, 0]", "seeds: different whole numbers"),
        ("notes: [unit]", "notes: [odd]", "'odd' is no key of footnotes"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in TABLE
    with pytest.raises(MerError, match=message) as caught:
        sheet_of(write_table(tmp_path, TABLE.replace(old, new)))
    assert str(caught.value).startswith(f"{tmp_path / 'table.yaml'}: ")


def test_overrides_that_are_not_of_this_kind(table: Path) -> None:
    with pytest.raises(MerError, match="epochs=3: a table of this kind takes data, seeds"):
        sheet_of(table, ["epochs=3"])
    with pytest.raises(MerError, match="seeds=one: whole numbers"):
        sheet_of(table, ["seeds=one"])
