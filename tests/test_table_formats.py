"""A sheet as Markdown, LaTeX and CSV."""

import csv
import io
import re
from pathlib import Path

import pytest
import yaml

from mer import table
from mer.errors import MerError
from mer.table_formats import Grid, Sheet, to_csv, to_latex, to_markdown
from tests.test_table import CLASSES, expected_scores, write_run, write_table

SHEET = Sheet(
    title="Odd & even",
    caption="100 % of_it",
    grid=Grid(["method", "F1"], [["[1] Net #2 (a)", "-0.0200"], ["A\\B {x} ~ ^2 <$>|", "0.5 ± 0.1"]]),
    footnotes=[("a", "Needs `mer_table`.")],
    how=["The difference is ours - the paper's."],
    command="mer table x.yaml",
)


def csv_lines(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def render(path: Path, suffix: str, *arguments: str) -> str:
    table.main([str(path), "--format", suffix, f"runs_dir={path.parents[2] / 'runs'}", *arguments])
    return path.with_suffix(f".{suffix}").read_text(encoding="utf-8")


def test_latex_escapes_what_it_would_read_as_its_own() -> None:
    text = to_latex(SHEET)
    assert r"\caption{Odd \& even. 100 \% of\_it}" in text
    # A line that begins with [ would be an argument of the \\ before it.
    assert r"    {[}1] Net \#2 (a) & $-0.0200$ \\" in text
    assert (
        r"    A\textbackslash{}B \{x\} \textasciitilde{} \textasciicircum{}2 "
        r"\textless{}\$\textgreater{}\textbar{} & 0.5 $\pm$ 0.1 \\"
    ) in text
    assert r"    (a) Needs \texttt{mer\_table}.\par" in text
    assert r"    The difference is ours - the paper's.\par" in text


def test_latex_is_one_whole_table() -> None:
    text = to_latex(SHEET)
    opened = re.findall(r"\\begin\{(\w+)\}", text)
    assert opened == ["table", "tabular", "flushleft"]
    assert sorted(re.findall(r"\\end\{(\w+)\}", text)) == sorted(opened)
    assert r"\begin{tabular}{lr}" in text
    rules = [text.index(rule) for rule in (r"\toprule", r"\midrule", r"\bottomrule")]
    assert rules == sorted(rules)
    lines = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert [len(re.findall(r"(?<!\\)&", line)) for line in lines] == [1, 1, 1]
    assert text.isascii()


def test_a_sheet_without_extras_is_a_title_and_a_grid() -> None:
    sheet = Sheet("Counts", "", Grid(["class", "clips"], [["negative", "88"]]))
    assert to_markdown(sheet) == (
        "# Counts\n\n| class    | clips |\n| -------- | ----: |\n| negative |    88 |\n"
    )
    assert "flushleft" not in to_latex(sheet)
    assert to_csv(sheet) == "table,class,clips\nCounts,negative,88\n"


def test_csv_has_a_line_a_method(tmp_path: Path) -> None:
    ours = expected_scores(write_run(tmp_path))
    write_run(tmp_path, "narrow")
    majority, net, narrow, other = csv_lines(render(write_table(tmp_path), "csv"))
    assert list(net)[:7] == [
        "table", "method", "quoted", "partial", "Acc ours", "Acc paper", "Acc difference"
    ]  # fmt: skip
    assert (net["table"], net["method"], net["quoted"]) == ("A small table", "Net [1]", "")
    assert [net[f"Acc {part}"] for part in ("ours", "paper", "difference")] == [
        f"{ours[0]:.4f}", "0.5280", f"{ours[0] - 0.528:+.4f}"
    ]  # fmt: skip
    assert (net["F1 paper"], net["F1 difference"]) == ("", "")
    assert majority["UAR ours"] == "0.3333"
    assert narrow["Acc paper"] == ""
    assert (other["quoted"], other["Acc paper"], other["Acc ours"]) == (
        "quoted", "74.43%", "not run: not implemented yet"
    )  # fmt: skip


def test_csv_of_several_seeds_has_their_spread(tmp_path: Path) -> None:
    for seed in (0, 1):
        write_run(tmp_path, seed=seed), write_run(tmp_path, "narrow", seed=seed)
    path = write_table(tmp_path, seeds=[0, 1])
    _, net, *_ = csv_lines(render(path, "csv"))
    cells = f"{net['Acc ours']} ± {net['Acc ours sd']}"
    assert cells in render(path, "md")


@pytest.mark.parametrize("suffix", ["md", "tex", "csv"])
def test_only_the_format_that_was_asked_for_is_written(
    tmp_path: Path, suffix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path), write_run(tmp_path, "narrow")
    path = write_table(tmp_path)
    text = render(path, suffix)
    assert capsys.readouterr().out == text
    assert {file.name for file in path.parent.glob("table4.*")} == {f"table4.{suffix}", "table4.yaml"}


@pytest.mark.parametrize("suffix", ["md", "tex", "csv"])
def test_every_format_says_what_the_numbers_are_worth(
    tmp_path: Path, suffix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path, data="synthetic", databases=("drawn", "drawn"), folds=2)
    path = write_table(tmp_path)
    arguments = [
        str(path),
        "data=synthetic",
        "--partial",
        "--format",
        suffix,
        f"runs_dir={tmp_path / 'runs'}",
    ]
    table.main(arguments)
    text = capsys.readouterr().out
    assert "SYNTHETIC DATA: PARTIAL (2 of 8 folds): A small table" in text
    assert "quoted" in text
    assert not path.with_suffix(f".{suffix}").exists()


def test_a_kind_that_there_is_not(tmp_path: Path) -> None:
    path = tmp_path / "experiments" / "paper" / "table1.yaml"
    path.parent.mkdir(parents=True)
    path.write_text("title: Clips\nkind: nonsense\n")
    with pytest.raises(MerError, match=r"table1\.yaml: kind=nonsense: choose scores"):
        table.main([str(path)])


def write_confusion(folder: Path) -> Path:
    """A table of another kind, which reads the runs of the table of scores beside it."""
    scores = write_table(folder)
    path = scores.with_name("table6.yaml")
    classes = {name: name for name in CLASSES}
    matrix = {"label": "All clips", "variant": "net/base", "share": "row", "classes": classes}
    document = {"kind": "confusion", "title": "Matrices", "predictions": "table4", "matrices": [matrix]}
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    return path


def test_a_table_of_another_kind_is_written_with_its_figures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path)
    path = write_confusion(tmp_path)
    text = render(path, "csv")
    assert capsys.readouterr().out == text
    assert [line["clips"] for line in csv_lines(text)] == ["16", "12", "8"]
    assert {file.name for file in path.parent.glob("table6*")} == {
        "table6.yaml", "table6.csv", "table6.all-clips.png"
    }  # fmt: skip


def test_drawn_faces_of_another_kind_go_among_the_runs(tmp_path: Path) -> None:
    write_run(tmp_path, data="synthetic", databases=("drawn", "drawn"))
    path = write_confusion(tmp_path)
    table.main([str(path), "data=synthetic", f"runs_dir={tmp_path / 'runs'}"])
    tables = tmp_path / "runs" / "tables"
    assert {file.name for file in tables.iterdir()} == {
        "paper-table6-synthetic.md", "paper-table6-synthetic.all-clips.png"
    }  # fmt: skip
    assert (tables / "paper-table6-synthetic.md").read_text().startswith("# SYNTHETIC DATA: Matrices\n")
    assert not list(path.parent.glob("table6*.md"))


def test_partial_of_another_kind_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path)
    path = write_confusion(tmp_path)
    table.main([str(path), "--partial", f"runs_dir={tmp_path / 'runs'}"])
    assert capsys.readouterr().out.startswith("# Matrices\n")
    assert {file.name for file in path.parent.glob("table6*")} == {"table6.yaml"}


def test_fresh_means_nothing_to_another_kind(tmp_path: Path) -> None:
    with pytest.raises(MerError, match="--fresh: a table of kind confusion trains nothing"):
        table.main([str(write_confusion(tmp_path)), "--fresh"])
