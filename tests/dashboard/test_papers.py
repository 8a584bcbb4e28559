"""The tables of papers in the dashboard: ours beside printed, as `mer table` has them; nothing is trained."""

from pathlib import Path

import pytest

from mer import dashboard, runs
from mer.dashboard import sizes
from mer.dashboard.papers import read_tables
from mer.dashboard.run_data import read_all
from mer.dashboard.stored_sheet import read_sheet
from mer.errors import MerError
from mer.table_formats import Grid, Sheet, to_markdown
from tests.dashboard.make import experiments, run_of, score
from tests.dashboard.page import Reader, page_data


def test_tables_beside_printed(tmp_path: Path) -> None:
    run = run_of(tmp_path / "runs", "laenet")
    folder = experiments(tmp_path / "experiments")
    found = read_all(tmp_path / "runs")
    tables = {table.name: table for table in read_tables(folder, found, tmp_path / "runs")}
    sheet = tables["table4"].sheet
    assert sheet is not None
    uf1 = score(runs.read_predictions(run), "all", "uf1")
    assert sheet.grid.lines[:3] == [
        ["LAENet (a)", "paper", "0.5000"],
        ["", "ours", f"{uf1:.4f}"],
        ["", "difference", f"{uf1 - 0.5:+.4f}"],
    ]
    assert tables["table1"].problem.startswith("not rendered yet: mer table")
    assert not list(folder.glob("laenet/table4*/*"))  # nothing is stored

    out = tmp_path / "out"
    dashboard.main(["--runs", str(tmp_path / "runs"), "--experiments", str(folder), "--out", str(out)])
    page = Reader(out / "papers" / "laenet.html")
    assert "Ours beside <b>printed</b>" in page.text
    assert f"{uf1 - 0.5:+.4f}" in page.text
    assert "Because." in page.text
    (printed,) = page_data(out / "complexity.html")["printed"]
    assert (printed["text"], printed["parameters"]) == ("0.000843 (table), 0.001 (text)", pytest.approx(843))


def test_a_table_that_is_wrong_does_not_hide_the_others(tmp_path: Path) -> None:
    folder = experiments(tmp_path / "experiments")
    (folder / "laenet" / "a.yaml").write_text("title: [", encoding="utf-8")
    (folder / "laenet" / "b.yaml").write_text("title: b\ndata: 3\n", encoding="utf-8")
    tables = {table.name: table for table in read_tables(folder, [], tmp_path / "runs")}
    assert "cannot be read" in tables["a"].problem
    assert tables["b"].problem
    assert tables["table4"].sheet is not None


def test_a_stored_table_is_read_as_it_was_written(tmp_path: Path) -> None:
    sheet = Sheet(
        title="LEAK (last): a | b",
        caption="A caption.",
        grid=Grid(["network", "line", "size"], [["A (a)", "paper", "1|2"], ["", "ours", "3"]], left=2),
        footnotes=[("a", "First - `code`."), ("ab", "Second.")],
        how=["- a line", "Another."],
        data=Grid(["database", "clips"], [["smic", "164"]]),
        command="mer table x.yaml",
    )
    path = tmp_path / "table.md"
    path.write_text(to_markdown(sheet), encoding="utf-8")
    assert read_sheet(path) == sheet
    path.write_text("# Only a title\n", encoding="utf-8")
    with pytest.raises(MerError, match="not a table that `mer table` wrote"):
        read_sheet(path)


def test_every_stored_table_can_be_read() -> None:
    paths = sorted(Path(__file__).parents[2].glob("experiments/*/[!pR]*.md"))
    assert paths
    for path in paths:
        assert (
            to_markdown(read_sheet(path)).splitlines()[0] == path.read_text(encoding="utf-8").splitlines()[0]
        )


def test_parameters_of_a_run(tmp_path: Path) -> None:
    plan = runs.read_plan(run_of(tmp_path, "laenet"))
    assert sizes.parameters(plan, 3) == 843  # LAENet's table 1
    assert "channels are not known" in str(sizes.parameters(plan, None))
    plan.config["network"] = {"_target_": "mer.errors.MerError"}
    assert "not a torch.nn.modules.module.Module" in str(sizes.parameters(plan, 3))
