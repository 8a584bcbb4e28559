"""Rows that a table tests against each other: McNemar's test on the predictions that both are made from."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy.stats import binomtest

from mer import table
from mer.errors import MerError
from mer.table_file import load_table
from tests.test_table import CLASSES, render, write_run, write_table

PAIR = ["Net [1]", "Narrow"]


@pytest.fixture(autouse=True)
def no_roots_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def right(predictions: pd.DataFrame) -> "pd.Series[bool]":
    """By clip, whether its most probable class is its label."""
    keyed = predictions.set_index(["database", "subject", "clip"]).sort_index()
    best = keyed[[f"p_{name}" for name in CLASSES]].to_numpy().argmax(axis=1)
    return pd.Series(keyed["label"].to_numpy(dtype=object) == np.array(CLASSES, dtype=object)[best])


def line_of(first: pd.DataFrame, second: pd.DataFrame, seed: int = 0) -> str:
    one, other = right(first), right(second)
    b, c = int((one & ~other).sum()), int((other & ~one).sum())
    assert b != c  # else the order would not show
    p = float(binomtest(b, b + c).pvalue)
    return f"seed {seed}: {b} clips only the first gets right, {c} only the second, p = {p:.3g}"


def test_two_rows_are_compared_seed_by_seed(tmp_path: Path) -> None:
    runs = {
        (variant, seed): write_run(tmp_path, variant, seed=seed)
        for variant in ("base", "narrow")
        for seed in (0, 1)
    }
    path = write_table(tmp_path, compare=PAIR, seeds=[0, 1])
    words = "; ".join(line_of(runs["base", seed], runs["narrow", seed], seed) for seed in (0, 1))
    text = render(path)
    assert f"- McNemar's exact test, Net [1] against Narrow: {words}.\n" in text
    assert text.count("takes clips as independent") == 1
    assert "McNemar" not in render(write_table(tmp_path, seeds=[0, 1]))


def test_pairs_without_both_runs_say_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path), write_run(tmp_path, "narrow", folds=3)
    path = write_table(tmp_path, compare=[PAIR])
    table.main([str(path), "--partial", f"runs_dir={tmp_path / 'runs'}"])
    assert "- McNemar's exact test, Net [1] against Narrow: not run.\n" in capsys.readouterr().out


def test_each_data_is_compared_alone(tmp_path: Path) -> None:
    runs: dict[Any, pd.DataFrame] = {}
    for data, content in (("faces", "0"), ("others", "1")):
        for variant in ("base", "narrow"):
            runs[data, variant] = write_run(tmp_path, variant, data=data, content=content * 64)
    columns = {
        "faces": {"subset": "all", "metric": "uf1", "header": "Faces"},
        "others": {"subset": "all", "metric": "uf1", "header": "Others", "data": "others"},
    }
    rows = [{"label": "Net", "variant": "net/base"}, {"label": "Narrow", "variant": "net/narrow"}]
    path = write_table(tmp_path, columns=columns, rows=rows, footnotes={}, compare=["Narrow", "Net"])
    text = render(path)
    for data in ("faces", "others"):
        words = line_of(runs[data, "narrow"], runs[data, "base"])
        assert f"Narrow against Net on `{data}` (loso): {words}.\n" in text


@pytest.mark.parametrize(
    "pair", [["Net [1]"], ["Net [1]", "Net [1]"], ["Net [1]", "Other"], [["Net [1]", 3]]]
)
def test_what_cannot_be_compared(tmp_path: Path, pair: list[Any]) -> None:
    path = write_table(tmp_path, compare=pair)
    assert yaml.safe_load(path.read_text())["compare"] == pair
    with pytest.raises(
        MerError, match=r"compare: .* is no pair of rows with a variant; there are Net \[1\]; N"
    ):
        load_table(path)
