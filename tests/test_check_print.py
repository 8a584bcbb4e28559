"""The verb: the reader's own row or matrix, and a folder of papers."""

import json
import shutil
from pathlib import Path

import pytest

from mer import check_print
from mer.errors import MerError
from mer.print_notes import read_found

EXPERIMENTS = Path(__file__).parents[1] / "experiments"
ROW = ["accuracy=.7692", "f1=.7389", "uf1=.7353", "uar=.7605"]
MATRIX = "87.6,8.8,3.6;36.7,56.88,6.42;25.3,3.61,71.08"


def out(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    check_print.main(arguments)
    return capsys.readouterr().out


def test_a_row_of_ones_own(capsys: pytest.CaptureFixture[str]) -> None:
    text = out(capsys, "--counts", "250,109,83", *ROW)
    assert text.startswith(
        "consistent only if something is read otherwise: the column UAR holds macro precision"
    )
    assert text.endswith("true UAR 0.7186\n")
    assert text.count("\n") == 1
    told = json.loads(out(capsys, *ROW[:3], "precision=76.05%", "--counts=250,109,83", "--json"))
    assert told["verdict"] == "consistent"
    assert told["readings"][0]["solutions"] == 1
    assert told["readings"][0]["spans"]["uar"][0] == pytest.approx(0.71855, abs=1e-6)


def test_a_matrix_of_ones_own(capsys: pytest.CaptureFixture[str]) -> None:
    alone = out(capsys, "--counts", "250,109,83", "--matrix", MATRIX)
    assert alone == "consistent: in whole clips [[219, 22, 9], [40, 62, 7], [21, 3, 59]]\n"
    with_row = out(capsys, "--counts", "250,109,83", "--matrix", MATRIX, *ROW)
    assert with_row.endswith("its UAR is 0.7186, printed .7605 (which is its macro precision)\n")
    other = out(capsys, "--counts", "250,107,83", "--matrix", MATRIX)
    assert other == "inconsistent: no whole clips of [250, 107, 83] give the row 2\n"


def test_an_accuracy_of_so_many_clips(capsys: pytest.CaptureFixture[str]) -> None:
    assert out(capsys, "--counts", "442", "accuracy=74.43%") == "consistent: 74.43% = 329 of 442\n"
    told = json.loads(out(capsys, "--counts", "186", "accuracy=66.99%", "--json"))
    assert told["verdict"] == "inconsistent"
    assert told["text"] == "accuracy 66.99% is no k/186 (k/N for N around it: no number)"
    assert out(capsys, "--counts", "442", "accuracy=.7") == "consistent: .7 = 288 to 331 of 442\n"


def test_papers_are_reported_and_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MerError, match="none here; run it in a checkout"):
        check_print.main([])
    for paper in ("originet", "timecontrast"):
        (tmp_path / "experiments" / paper).mkdir(parents=True)
        shutil.copy(EXPERIMENTS / paper / "print_check.yaml", tmp_path / "experiments" / paper)
    text = out(capsys)
    assert text.index("# OrigiNet: what") < text.index("# Time-contrasted network: what")
    assert not list(tmp_path.rglob("*.md"))
    one = out(capsys, "experiments/timecontrast", "--write")
    (written,) = tmp_path.rglob("*.md")
    assert written.read_text() + "\n" == one
    assert [finding.about for finding in read_found(written.parent)][:2] == ["CASME II", ""]
    assert "- CASME II: **inconsistent**: 81.46%: 0 are k/247" in one
    told = json.loads(out(capsys, "--json"))
    assert set(told) == {"OrigiNet", "Time-contrasted network"}
    assert told["OrigiNet"][0]["text"].endswith(" = 189")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (ROW, "give the clips a class, as in --counts 250,109,83"),
        (["--matrix", MATRIX], "give the clips a class"),
        (["--counts", "250,x", *ROW], "--counts 250,x: whole numbers"),
        (["--counts", "250,109,83"], "no figure to check"),
        (["--counts", "250,109,83", "uf1"], "uf1: expected figure=value"),
        (["--counts", "250,109,83", "uf1=.7", "uf1=.8"], "uf1 stands twice"),
        (["--counts", "250,109,83", "uf1=73.5"], "write a percentage with its sign"),
        (["--counts", "250,109,83", "--write", *ROW], "--write: a row of your own has no file"),
        (["--counts", "250,109", "--matrix", MATRIX], "K rows with K cells and K counts"),
        (["--counts", "442", "uf1=.7"], "--counts 442: all clips tell of accuracy alone"),
        (["--counts", "1000000", "accuracy=.7"], "1 to 10000 can be checked"),
        (["--counts", "1000000,5", "uf1=.7"], "at most 10000 can be searched"),
        (["--counts", "1000000,5", "--matrix", "50,50;50,50"], "at most 20 classes and 10000 clips"),
        (["--counts", "2,2", "--matrix", "50,50;50,50", "weighted_f1=0"], "no such figure of a matrix"),
        (["nowhere"], "nowhere: no such file"),
    ],
)
def test_bad_input(arguments: list[str], message: str) -> None:
    with pytest.raises(MerError) as caught:
        check_print.main(arguments)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
