import json
from pathlib import Path

import pytest

from mer import runs
from mer.bench import drawn_runs, table


def test_ours_and_the_reference_show_the_same_scores(tmp_path: Path) -> None:
    path = drawn_runs.write_runs(tmp_path, rows=2, seeds=1, folds=6, clips=60)
    rows = [
        [cell.strip() for cell in line.strip("|").split(" | ")]
        for line in table.render(path, tmp_path / "runs").splitlines()
        if line.startswith("| ")
    ]
    header = rows[0]
    reference = table.score_all(runs.find(tmp_path / "runs"))
    for number, (run, scores) in enumerate(sorted(reference.items())):
        ours = next(dict(zip(header, row, strict=True)) for row in rows if row[0].startswith(f"Row {number}"))
        assert f"row{number}" in run
        assert len(scores) == 16
        for key, score in scores.items():
            assert float(ours[key.replace("_", " ")]) == pytest.approx(score, abs=6e-5)


def test_a_measurement_as_small_as_it_gets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "SIZE", {"rows": 1, "seeds": 2, "folds": 3})
    monkeypatch.setattr(table, "REPETITIONS", 1)
    result = json.loads(json.dumps(table.measure()))
    assert result["ratio"] == pytest.approx(result["reference_s"] / result["ours_s"], rel=0.05)
    assert 0 < result["reading_s"] < result["ours_s"] * 2
    assert (result["rows"], result["seeds"], result["folds"]) == (1, 2, 3)
