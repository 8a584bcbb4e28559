"""`mer table` over several databases, and where this machine lacks one."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from mer import table
from mer.errors import MerError
from tests.test_table import CLASSES, expected_scores, lines_of, render, run_table, write_run, write_table

COLUMNS: dict[str, Any] = {
    "faces": {"subset": "all", "metric": "uf1", "header": "Faces"},
    "others": {"subset": "all", "metric": "uf1", "header": "Others", "data": "others"},
}
ROWS: list[dict[str, Any]] = [
    {"label": "Majority", "kind": "majority"},
    {"label": "Net", "variant": "net/base", "paper": {"faces": "0.2500", "others": "0.3000"}},
]


def write_homes(folder: Path, columns: dict[str, Any] = COLUMNS, **changes: Any) -> Path:
    return write_table(folder, columns=columns, **{"rows": ROWS, "footnotes": {}, **changes})


def licensed(folder: Path, data: str = "casme2") -> Path:
    """A table whose second column needs data that this machine lacks."""
    return write_homes(folder, COLUMNS | {"others": COLUMNS["others"] | {"data": data}})


@pytest.fixture(autouse=True)
def no_roots_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_each_column_shows_its_own_run(tmp_path: Path) -> None:
    faces = expected_scores(write_run(tmp_path))[2]
    # Other classes than those of the first data: each column has its own.
    classes = ["anger", "happy", "disgust"]
    predictions = write_run(tmp_path, data="others", classes=classes, content="0" * 64)
    renamed = dict(zip(classes, CLASSES, strict=True))
    columns = {f"p_{name}": f"p_{other}" for name, other in renamed.items()}
    others = expected_scores(predictions.replace({"label": renamed}).rename(columns=columns))[2]
    assert faces != others
    markdown = render(write_homes(tmp_path))
    grid = lines_of(markdown)
    assert grid[4] == ["", "ours", f"{faces:.4f}", f"{others:.4f}"]
    assert grid[5] == ["", "difference", f"{faces - 0.25:+.4f}", f"{others - 0.3:+.4f}"]
    assert "the most frequent class, negative of `faces` (loso), anger of `others` (loso)." in markdown
    assert "Faces: data `faces`, protocol `loso`; Others: data `others`, protocol `loso`; seed 0." in markdown
    assert ["others", "loso", "samm", "anger 8, happy 6, disgust 4", "18", "2", "2"] in grid
    assert ["net/base", "others", "loso", "0", "4/4"] in [line[:5] for line in grid]
    # Which folder is meant by data.root= would be open.
    assert "data.root" not in markdown


def test_stored_predictions_of_other_data_have_it_in_their_name(tmp_path: Path) -> None:
    write_run(tmp_path), write_run(tmp_path, data="others", content="0" * 64)
    path = write_homes(tmp_path)
    first = render(path)
    assert sorted(file.name for file in (path.parent / "table4").glob("*.parquet")) == [
        "net.base.others.loso.seed-0.parquet",
        "net.base.seed-0.parquet",
    ]
    (tmp_path / "runs").rename(tmp_path / "gone")
    assert render(path) == first


def test_results_of_one_data_still_have_to_fit(tmp_path: Path) -> None:
    for variant, data, content in [
        ("base", "faces", "0"), ("base", "others", "1"), ("narrow", "faces", "0"), ("narrow", "others", "2")
    ]:  # fmt: skip
        write_run(tmp_path, variant, data=data, content=content * 64)
    path = write_homes(tmp_path, rows=[*ROWS, {"label": "Narrow", "variant": "net/narrow"}])
    with pytest.raises(MerError, match=r"base/others.*narrow/others.*other data"):
        render(path)


def test_data_that_is_lacking_is_named_and_the_rest_rendered(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ours = expected_scores(write_run(tmp_path))[2]
    markdown = render(licensed(tmp_path))
    assert "MER_ROOT_CASME2" in capsys.readouterr().err
    assert markdown.startswith("# A small table\n")  # not partial: it holds all that can be run here
    grid = lines_of(markdown)
    assert grid[2] == ["Majority (a)", "ours", "0.2051", "not run (b)"]
    assert grid[3:6] == [
        ["Net", "paper", "0.2500", "0.3000"],
        ["", "ours", f"{ours:.4f}", "not run (b)"],
        ["", "difference", f"{ours - 0.25:+.4f}", ""],
    ]
    assert "- (b) not run: needs CASME II under data.root\n" in markdown


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("casme2_own", "CASME II"),
        ("megc2019", "CASME II, SAMM, SMIC"),
        ("composite", "CASME II, SAMM"),
        ("pair", "CASME, CAS(ME)^2"),
    ],
)
def test_what_a_data_config_needs(tmp_path: Path, data: str, words: str) -> None:
    own = tmp_path / "conf" / "data"
    own.mkdir(parents=True)
    (own / "casme2_own.yaml").write_text("defaults: [casme2, _self_]\nlabels: 4class\n")
    (own / "pair.yaml").write_text(
        "# @package _global_\ndefaults: [composite@data, {override /protocol: cross_dataset}, _self_]\n"
        "data: {clips: {databases: [casme, casme_sq]}}\n"
    )
    write_run(tmp_path)
    assert f"not run: needs {words} under data.root\n" in render(licensed(tmp_path, data))


def test_only_the_missing_part_of_a_composite_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MER_ROOT_SAMM", str(tmp_path))
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "roots.yaml").write_text(f"smic: {tmp_path}\n")
    write_run(tmp_path)
    assert "not run: needs CASME II under data.root\n" in render(licensed(tmp_path, "megc2019"))


def test_a_table_without_any_data_holds_the_paper(tmp_path: Path) -> None:
    path = write_homes(
        tmp_path,
        {"faces": COLUMNS["faces"]},
        data="samm",
        rows=[ROWS[0], ROWS[1] | {"paper": {"faces": "0.2500"}}],
    )
    done = run_table(tmp_path, path)
    assert done.returncode == 0, done.stderr
    grid = lines_of(done.stdout)
    assert grid[2:5] == [
        ["Majority", "ours", "not run (a)"],
        ["Net", "paper", "0.2500"],
        ["", "ours", "not run (a)"],
    ]
    assert "(a) not run: needs SAMM under data.root" in done.stdout


def test_fresh_does_not_lose_what_cannot_be_made_again(tmp_path: Path) -> None:
    write_run(tmp_path), write_run(tmp_path, data="casme2")
    path = licensed(tmp_path)
    first = render(path)
    (tmp_path / "runs" / "net" / "base" / "casme2").rename(tmp_path / "gone")
    assert render(path) == first
    with pytest.raises(MerError, match=r"casme2\.loso\.seed-0\.parquet: --fresh cannot.* without CASME II"):
        render(path, "--fresh")
    assert path.with_suffix(".md").read_text() == first


def test_one_root_for_several_data_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MerError, match=r"data\.root= names one folder, and .* shows faces, others"):
        render(write_homes(tmp_path), f"data.root={tmp_path}")


def test_a_stand_in_takes_the_place_of_all_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path, data="synthetic", databases=("drawn", "drawn"))
    path = licensed(tmp_path)
    table.main([str(path), "data=synthetic", f"runs_dir={tmp_path / 'runs'}"])
    grid = lines_of(capsys.readouterr().out)
    assert grid[4][2] == grid[4][3] != "not run"


def test_partial_tells_of_each_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path, folds=3), write_run(tmp_path, data="others", content="0" * 64)
    path = write_homes(tmp_path)
    table.main([str(path), "--partial", f"runs_dir={tmp_path / 'runs'}"])
    markdown = capsys.readouterr().out
    assert markdown.startswith("# PARTIAL (faces loso: 3 of 4 folds): A small table\n")
    grid = lines_of(markdown)
    assert grid[4][1] == "ours, PARTIAL (faces loso: 3 of 4 folds)"
    # Only the complete column is compared with the paper.
    assert grid[5][1:3] == ["difference", ""]
    assert float(grid[5][3]) == pytest.approx(float(grid[4][3]) - 0.3, abs=1e-4)


def test_a_data_config_that_is_no_yaml(tmp_path: Path) -> None:
    (tmp_path / "conf" / "data").mkdir(parents=True)
    (tmp_path / "conf" / "data" / "own.yaml").write_text("a: [")
    with pytest.raises(MerError, match=r"conf/data/own\.yaml: cannot be read"):
        render(licensed(tmp_path, "own"))


def test_a_row_that_reads_other_data_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ours = expected_scores(write_run(tmp_path))[2]
    more = {"label": "Pretrained", "variant": "net/pretrained", "needs": ["ckplus_3class"]}
    path = write_homes(
        tmp_path,
        {"faces": COLUMNS["faces"]},
        rows=[{"label": "Net", "variant": "net/base"}, more],
    )
    markdown = render(path)
    assert "MER_ROOT_CKPLUS" in capsys.readouterr().err
    assert lines_of(markdown)[2:4] == [
        ["Net", "ours", f"{ours:.4f}"],
        ["Pretrained", "ours", "not run (a)"],
    ]
    assert "- (a) not run: needs CK+ under data.root\n" in markdown
    with pytest.raises(MerError, match=r"rows\[1\] \(Net\)\.needs: names of data"):
        render(write_homes(tmp_path, rows=[{"label": "Net", "not_run": "no", "needs": ["ckplus"]}]))


def test_stored_records_say_which_rule_chose(tmp_path: Path) -> None:
    write_run(tmp_path), write_run(tmp_path, data="others", content="0" * 64)
    path = write_homes(tmp_path)
    render(path)
    record = yaml.safe_load((path.parent / "table4" / "net.base.others.loso.seed-0.yaml").read_text())
    assert (record["data"], record["select"]) == ("others", "last")
