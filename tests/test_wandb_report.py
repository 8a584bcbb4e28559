"""The W&B report is built, not sent: what it holds is the tables that there are."""

from pathlib import Path

import pytest

from mer.errors import MerError
from mer.table_file import load_table
from mer.wandb_report import build, main, outline, score_tables

pytest.importorskip("wandb_workspaces")
ROOT = Path(__file__).parents[1]
TABLE4 = ROOT / "experiments/laenet/table4.yaml"


def test_it_has_a_section_a_table_and_a_bar_chart_a_column() -> None:
    tables = score_tables(ROOT / "experiments")
    assert {"laenet/table4.yaml", "affectivenet/table1.yaml", "timecontrast/table2.yaml"} & {
        f"{table.path.parent.name}/{table.path.name}" for table in tables
    }
    report = build(tables, project="mer", entity="lab")
    headings = [block.text for block in report.blocks if type(block).__name__ == "H2"]
    drawn = [table.data == "synthetic" for table in tables]
    assert headings == [
        f"{'SYNTHETIC DATA: ' if synthetic else ''}{table.title}"
        for table, synthetic in zip(tables, drawn, strict=True)
    ]
    bars = [line for line in outline(report) if "BarPlot" in line]
    assert len(bars) == sum(len(table.columns) for table in tables)


def test_its_panels_show_ours_beside_the_paper_s_and_find_the_rows() -> None:
    table = load_table(TABLE4)
    report = build([table], project="mer", entity="lab")
    rows, behind = [block for block in report.blocks if type(block).__name__ == "PanelGrid"]
    names = [panel.metrics for panel in rows.panels]
    assert names == [[f"ours/{column.key}", f"paper/{column.key}"] for column in table.columns]
    assert [runset.filters for runset in rows.runsets] == ["Config(\"table\") == 'laenet/table4'"]
    (groups,) = [runset.filters for runset in behind.runsets]
    for row in table.rows:
        assert row.variant is None or f"'{row.variant}'" in groups


def test_without_an_account_saving_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("WANDB_API_KEY", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(MerError, match=r"the report was not saved: .*wandb login"):
        main([str(TABLE4), "--entity", "lab", "--save"])
    assert "BarPlot: UF1" in capsys.readouterr().out


def test_no_table_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MerError, match="no table of scores here"):
        main([])
