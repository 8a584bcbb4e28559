"""Activations: ranges that are known, and the misprints of OrigiNet's table I."""

import math
from pathlib import Path

import pytest

from mer.errors import MerError
from tests.table_kinds.sheets import cells, example, sheet_of, write_table

TABLE = """
    kind: activations
    title: Activations
    points: [-1, 1]
    rows:
      - {label: Sigmoid, activation: sigmoid, paper: {slopes: "[0, 1]"}, notes: [quarter]}
      - {label: Tanh, activation: tanh, paper: {range: "[-1, 1]", slopes: "[0, 1]"}}
      - {label: ReLU, activation: relu, paper: {range: "[0, x]", slopes: "[0, 1]"}}
      - {label: ELU, activation: elu}
      - {label: Leaky ReLU, activation: leaky, paper: {slopes: "[alpha, 1]"}}
      - {label: RReLU, activation: refined, paper: {range: "[0, x + 1]", derivative: "e^x (e^x + ax + 2) / (e^x + 1)^2"}}
    footnotes:
      quarter: At most 1/4.
"""  # noqa: E501


def test_ranges_are_those_of_the_functions(tmp_path: Path) -> None:
    sheet = sheet_of(write_table(tmp_path, TABLE))
    ranges = {
        label: (cells(sheet, label)["range of f"], cells(sheet, label)["range of f'"])
        for label in ("Sigmoid (a)", "Tanh", "ReLU", "ELU", "Leaky ReLU")
    }
    assert ranges == {
        "Sigmoid (a)": ("0 .. 1", "0 .. 0.25"),
        "Tanh": ("-1 .. 1", "0 .. 1"),
        "ReLU": ("0 .. inf", "0 .. 1"),
        "ELU": ("-0.1 .. inf", "0 .. 1"),
        "Leaky ReLU": ("-inf .. inf", "0.1 .. 1"),
    }
    assert cells(sheet, "Sigmoid (a)", "paper")["range of f'"] == "[0, 1]"  # as printed


def test_the_printed_derivative_of_the_refined_relu_is_another(tmp_path: Path) -> None:
    ours = cells(sheet_of(write_table(tmp_path, TABLE)), "RReLU")

    def printed(x: float, alpha: float) -> float:
        e = math.exp(x)
        return e * (e + alpha * x + 2) / (e + 1) ** 2

    s = 1 / (1 + math.exp(1))
    assert ours["f'(-1)"] == f"{s * (1 - s) * (1 - 0.1) + 0.1 * s:.6f}"
    assert abs(float(ours["f'(-1)"]) - printed(-1, 0.1)) > 0.2
    assert ours["f'(1)"] == f"{printed(1, 1):.6f}"  # right of 0 the print is right
    low, _, high = ours["range of f"].partition(" .. ")
    assert -2e-6 < float(low) < -1e-6  # the print has 0
    assert high == "inf"


def test_the_docstrings_example(tmp_path: Path) -> None:
    sheet = sheet_of(write_table(tmp_path, example("activations")))
    assert cells(sheet, "Sigmoid (a)", "paper")["f'(x)"] == "S(x)(1 - S(x))"
    assert cells(sheet, "Sigmoid (a)")["f(1)"] == f"{1 / (1 + math.exp(-1)):.6f}"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("activation: relu", "activation: rrelu", r"rows\[3\] \(ReLU\)\.activation=rrelu: choose sigmoid"),
        ("activation: elu", "function: elu", r"rows\[4\] \(ELU\)\.function: unknown key"),
        ("points: [-1, 1]", "points: [one]", "points: numbers are needed"),
        ('range: "[-1, 1]"', 'ranges: "[-1, 1]"', r"\.paper\.ranges: no such column"),
        ("title: Activations", "", "title: missing"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in TABLE
    with pytest.raises(MerError, match=message):
        sheet_of(write_table(tmp_path, TABLE.replace(old, new)))
