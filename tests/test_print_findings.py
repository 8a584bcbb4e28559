"""What the print check finds in the five papers, from their printed figures alone."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from mer.check_print import report
from mer.errors import MerError
from mer.print_findings import findings
from mer.print_notes import Finding, read_found

EXPERIMENTS = Path(__file__).parents[1] / "experiments"
FILES = sorted(EXPERIMENTS.glob("*/print_check.yaml"))
PAPERS = ["affectivenet", "laenet", "learnet", "originet", "timecontrast"]


@pytest.fixture(scope="module")
def found() -> dict[str, tuple[str, list[Finding]]]:
    return {path.parent.name: findings(path) for path in FILES}


def of(found: dict[str, tuple[str, list[Finding]]], paper: str, where: str) -> dict[tuple[str, str], Finding]:
    return {(finding.row, finding.subset): finding for finding in found[paper][1] if finding.where == where}


def test_every_paper_has_a_file() -> None:
    assert [path.parent.name for path in FILES] == PAPERS


@pytest.mark.parametrize("paper", PAPERS)
def test_the_stored_report_is_what_the_figures_give(
    found: dict[str, tuple[str, list[Finding]]], paper: str
) -> None:
    assert (EXPERIMENTS / paper / "print_check.md").read_text() == report(*found[paper])
    assert read_found(EXPERIMENTS / paper) == found[paper][1]  # what tables take their footnotes from


@pytest.mark.parametrize(
    ("row", "uar"),
    [
        ("4 AlexNet [42]", "0.6775"),
        ("5 SqueezeNet [43]", "0.5774"),
        ("6 GoogLeNet [44]", "0.5385"),
        ("7 VGG16 [45]", "0.6365"),
        ("11 STSTNet [47]", "0.7186"),
    ],
)
def test_laenet_table4_prints_precision_as_uar(
    found: dict[str, tuple[str, list[Finding]]], row: str, uar: str
) -> None:
    """One diagonal with its column sums is left, and it has this UAR. The harmonic mean of the printed,
    rounded F1 and precision would give .6774, .5775, .5386 and .6364 for the first four.
    """
    finding = of(found, "laenet", "Table 4")[row, "all"]
    assert finding.verdict == "only if"
    assert finding.text.startswith("the column UAR holds macro precision (1 solution; ")
    assert finding.text.endswith(f"; true UAR {uar}")


def test_laenet_own_row_holds_recall(found: dict[str, tuple[str, list[Finding]]]) -> None:
    finding = of(found, "laenet", "Table 4")["12 LAENet", "all"]
    assert finding.verdict == "consistent"
    assert finding.text == "1 solution; no other meaning fits"


def test_laenet_table4_other_rows(found: dict[str, tuple[str, list[Finding]]]) -> None:
    rows = of(found, "laenet", "Table 4")
    assert rows["2 Bi-WOOF [21]", "all"].verdict == "consistent"
    assert rows["3 OFF-ApexNet [41]", "all"].verdict == "inconsistent"
    assert "0.7460 is no k/442" in rows["3 OFF-ApexNet [41]", "all"].text
    assert rows["1 LBP-TOP [32, 23, 15]", "smic"].verdict == "inconsistent"
    assert rows["7 VGG16 [45]", "casme2"].verdict == "only if"
    assert rows["11 STSTNet [47]", "casme2"].text.endswith("true UAR 0.8190")


def test_laenet_tables_5_and_6(found: dict[str, tuple[str, list[Finding]]]) -> None:
    table5 = of(found, "laenet", "Table 5")
    assert "[[219, 22, 9], [40, 62, 7], [21, 3, 59]]" in table5["11 STSTNet [47]", "all"].text
    true = {"all": "0.7186", "smic": "0.6703", "casme2": "0.8190", "samm": "0.6415"}
    for subset, uar in true.items():
        finding = table5["11 STSTNet [47]", subset]
        assert finding.verdict == "only if"
        assert f"its UAR is {uar}, printed " in finding.text
        assert finding.text.endswith("(which is its macro precision)")
    table6 = of(found, "laenet", "Table 6")
    assert {finding.verdict for finding in table6.values()} == {"consistent"}
    for table, row in ((table5, "11 STSTNet [47]"), (table6, "12 LAENet")):
        assert table[row, ""].text == "smic + casme2 + samm is all"


def test_laenet_text(found: dict[str, tuple[str, list[Finding]]]) -> None:
    assert of(found, "laenet", "Table 7")["Full", ""].text == (
        "74.43% = 329, 74.66% = 330, 77.60% = 343, 79.19% = 350 of 442"
    )
    assert "Positive 33, Table 3 32" in of(found, "laenet", "Section 3.1.2")["CASME II", ""].text
    section4 = [finding for finding in found["laenet"][1] if finding.where == "Section 4"]
    assert "Surprise 51, Table 3 43; Positive 43, Table 3 51" in section4[0].text
    assert section4[-1].text.endswith("UAR 76.05%: these are the row 11 STSTNet [47]")
    conclusion = of(found, "laenet", "Section 5")["LAENet", "all"]
    assert conclusion.verdict == "inconsistent"
    assert "79.91% is no k/442" in conclusion.text


def test_affectivenet(found: dict[str, tuple[str, list[Finding]]]) -> None:
    assert of(found, "affectivenet", "Section 4.1.1")["CASME", ""].text == (
        "9 + 50 + 21 + 106 = 186, printed 187"
    )
    assert of(found, "affectivenet", "Section 4.1.2")["CASME II", ""].text == (
        "31 + 72 + 25 + 126 = 254, printed 251"
    )
    cross = of(found, "affectivenet", "Table 2, CDE")
    sizes = {"CASME": 185, "CASME II": 253, "CAS(ME)^2": 344, "SAMM": 159}
    for name, size in sizes.items():
        assert f" are k/N for N = {size};" in cross[name, ""].text
    gains = of(found, "affectivenet", "Section 4.3.2")
    assert gains["AffectiveNet-1 over ResNet-50 [4]", ""].verdict == "consistent"
    assert gains["AffectiveNet-1 over MobileNet [5]", ""].text == (
        "S2CI 22.71, the table has 26.00 - 14.05 = 11.95"
    )
    figure5 = of(found, "affectivenet", "Figure 5")
    assert len(figure5) == 7
    assert figure5["", "f) CII2C2"].verdict == "consistent"


def test_originet(found: dict[str, tuple[str, list[Finding]]]) -> None:
    assert of(found, "originet", "Section IV.C")["CAS(ME)^2", ""].text == (
        "Anger 101, Table II 102; Disgust 89, Table II 88"
    )
    for where in ("Table III", "Table IV", "Table VI"):
        for finding in of(found, "originet", where).values():
            assert finding.verdict == "inconsistent"
            assert ": 0 are k/" in finding.text


def test_learnet_and_timecontrast(found: dict[str, tuple[str, list[Finding]]]) -> None:
    tables = of(found, "learnet", "Tables VIII and IX")
    assert tables["36.59%", ""].text.startswith("stands 4 times: VGG-16 on CASME-I, VGG-16 on SMIC 5-class")
    assert tables["44.29%", ""].text.startswith("stands 3 times: ")
    assert tables["CASME", ""].verdict == "not checked"
    accuracy = of(found, "timecontrast", "Table 2")["CASME II", ""]
    assert accuracy.text.startswith("81.46%: 0 are k/247, 0 are k/246; no N within 10% makes it k/N")


SMALL: dict[str, Any] = {
    "paper": "Ours",
    "classes": [{"where": "Table 1", "set": "a", "parts": {"x": 3, "y": 2}, "total": 5}],
    "accuracies": [
        {"where": "Table 2", "sets": {"a": [5]}, "columns": {"a": "a"}, "rows": {"net": ["60.00%"]}}
    ],
}


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "print_check.yaml"
    path.write_text(yaml.safe_dump(SMALL))
    name, found = findings(path)
    assert name == "Ours"
    assert [(finding.verdict, finding.text) for finding in found] == [
        ("consistent", "3 + 2 = 5"),
        ("consistent", "60.00% = 3 of 5"),
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace("paper:", "name:"), "paper: missing"),
        (lambda text: text + "figures: []\n", "figures: unknown key; there are paper, classes"),
        (lambda text: text.replace("parts:", "part:"), "classes: KeyError 'parts'"),
        (lambda text: text.replace("y: 2", "y: two"), "classes: ValueError"),
        (lambda text: text.replace("60.00%", "high"), "accuracies: 'high' is no printed figure"),
        (lambda text: text + "paper: Again\n", "'paper' stands twice"),
        (lambda text: text + "rows: [", "cannot be read"),
    ],
)
def test_bad_files_are_named(tmp_path: Path, change: Callable[[str], str], message: str) -> None:
    path = tmp_path / "print_check.yaml"
    path.write_text(change(yaml.safe_dump(SMALL)))
    with pytest.raises(MerError, match=r"print_check\.yaml: ") as caught:
        findings(path)
    assert message in str(caught.value)
