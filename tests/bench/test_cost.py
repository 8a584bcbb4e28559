import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from mer.bench import cost
from mer.bench.cost_page import EPOCHS, SUBJECTS, cost_page

# A machine on which a clip-epoch takes 1 ms, a fold .12 s, a row of a split 8 bytes.
RESULT: dict[str, Any] = {
    "clips_a_subject": 6.5,
    "side_network": "affectivenet",
    "clips": [
        {"train_clips": n, "side": 28, "epoch_s": n / 1000, "fold_s": 0.12, "set_mib": n * 28**2 * 12 / 2**20}
        for n in (100, 800)
    ],
    "sides": [
        {"train_clips": 50, "side": side, "epoch_s": side**2 / 1e4, "set_mib": side**2 / 1e3}
        for side in (28, 56)
    ],
    "folds": [
        {"folds": n, "read_s": n / 100, "plan_s": n / 1e4, "files_a_fold": 4.0, "kib_a_fold": 8.0}
        for n in (68, 272)
    ],
    "subjects": [
        {"subjects": n, "split_s": n**2 / 1e5, "split_mib": n * n * 6.5 * 8 / 2**20} for n in (68, 272)
    ],
    "powers": dict.fromkeys(
        (
            *("epoch_s by clips", "epoch_s by side", "read_s by folds"),
            *("split_s by subjects", "split_mib by subjects"),
        ),
        1.5,
    ),
}  # fmt: skip


def test_ten_thousand_subjects_are_what_the_definitions_make_of_the_figures() -> None:
    page = cost_page(RESULT, "a machine")
    clips = SUBJECTS * 6.5
    years = clips / 1000 * EPOCHS * SUBJECTS / (365.25 * 86400)
    assert f"| training, one core | {years:,.1f} years |" in page
    assert "| folds besides epochs, one core | 20.0 min |" in page  # 10,000 x .12 s
    assert f"{SUBJECTS * clips * 8 / 2**30:,.1f} GiB" in page  # the splits
    assert f"{clips * 28 * 28 * 12 / 2**30:,.2f} GiB of 28 px images" in page
    assert "40,000 files" in page
    assert "| reading all predictions, for a table | 1.7 min | folds |" in page  # 10,000 / 100 s
    assert "| splitting and guarding, before the first fold | 16.7 min |" in page  # 1000 s


def test_a_power_is_that_between_the_ends_of_a_sweep() -> None:
    points = [{"n": 10, "s": 2.0}, {"n": 20, "s": 100.0}, {"n": 40, "s": 32.0}]
    assert cost.power(points, "n", "s") == 2


def test_the_splits_hold_a_row_number_a_fold_and_clip(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "REPETITIONS", 1)
    few, many = cost._split(80), cost._split(160)
    entries = 160 * round(160 * 6.5)  # each fold lists all rows, in one part or another
    # A reference of 8 bytes, and at most a number of its own of 32 for each.
    assert 8 < many["split_mib"] * 2**20 / entries < 44
    assert 1.9 < cost.power([few, many], "subjects", "split_mib") < 2.6


@pytest.mark.timeout(300)
def test_a_measurement_as_small_as_it_gets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Figures mean nothing; the page that is made of them has every table, and no gap in it."""
    tiny: dict[str, Any] = {"CLIP_COUNTS": (16, 32), "EPOCHS": (1, 2), "SIDES": (28, 32), "SIDE_CLIPS": 16}
    tiny |= {"SIDE_EPOCHS": (1, 2), "FOLD_COUNTS": (2, 4), "SPLIT_COUNTS": (8, 16), "REPETITIONS": 1}
    for name, value in tiny.items():
        monkeypatch.setattr(cost, name, value)
    threads = torch.get_num_threads()
    try:
        result = json.loads(json.dumps(cost.measure()))
    finally:
        torch.set_num_threads(threads)
    assert [point["train_clips"] for point in result["clips"]] == [14, 28]  # 8 subjects, one left out
    assert [point["side"] for point in result["sides"]] == [28, 32]
    assert result["folds"][0]["files_a_fold"] == 4  # predictions, metrics, record and lock
    page = cost_page(result, "a machine")
    assert page.count("\n|---") == 5
    assert not re.search(r"nan|None|\{|\}", page)
