import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from mer import runs
from mer.bench import overhead
from mer.bench.drawn_set import loso_job, write_images
from mer.data.clips import targets
from mer.data.encoded import open_set
from mer.networks import STSTNet


def test_shares_are_of_the_whole_runs_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four folds: 10 s once a run, 2 s once a fold, 9 s an epoch, of which the bare loop takes 8."""
    for name, value in {"SIZE": {"clips": 12, "subjects": 4}, "SHORT": 2, "LONG": 10}.items():
        monkeypatch.setattr(overhead, name, value)
    monkeypatch.setattr(overhead, "REPETITIONS", 2)
    monkeypatch.setattr(overhead, "WORKERS", 3)
    whole = iter([10 + 4 * 2 + 2 * 9.0, 10 + 4 * 2 + 10 * 9.0, 10.0] * 2)
    monkeypatch.setattr(overhead, "run_train", lambda *_: next(whole))
    monkeypatch.setattr(overhead, "train_bare", lambda *_: 80.0)
    result = json.loads(json.dumps(overhead.measure()))
    composite_s = 10 + 68 * 2 + 800 * 9 * 68 / 4
    overhead_s = composite_s - 800 * 8 * 68 / 4
    assert (result["folds"], result["epochs"], result["whole_s"]) == (68, 800, composite_s)
    assert result["overhead"] == round(overhead_s / composite_s, 3)
    assert result["ratio"] == pytest.approx(1 - result["overhead"])
    measured = result["measured"]
    assert (measured["folds"], measured["epochs"], measured["workers"]) == (4, 10, 3)
    assert (measured["once_a_run_s"], measured["once_a_fold_s"]) == (10, 2)
    assert measured["overhead"] == round(28 / 108, 3)


@pytest.mark.timeout(300)  # two workers that import everything
def test_the_bare_loop_trains_every_fold_and_returns(tmp_path: Path) -> None:
    """In processes of its own; they must not wait for each other for ever."""
    write_images(tmp_path / "images", clips=12, subjects=4)
    job, folds = loso_job(tmp_path, tmp_path / "unused", overhead.EXPERIMENT, "epochs=1")
    assert 0 < overhead.train_bare(job, folds, workers=2) < 200
    assert not (tmp_path / "unused").exists()


def test_a_fold_of_the_bare_loop_changes_weights_as_the_recipe_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_images(tmp_path / "images", clips=12, subjects=4)
    job, folds = loso_job(tmp_path, tmp_path / "unused", overhead.EXPERIMENT, "epochs=3", "batch_size=4")
    made: list[STSTNet] = []

    def network(**keywords: int) -> torch.nn.Module:
        made.append(STSTNet(in_channels=keywords["in_channels"], num_classes=keywords["num_classes"]))
        return made[-1]

    encoded = open_set(job.encoded)
    assert encoded is not None
    recipe = replace(job.recipe, network=network)
    monkeypatch.setattr(
        overhead, "_worker", (recipe, encoded.images, torch.tensor(targets(job.clips, job.classes)))
    )
    overhead._train(folds[0])
    assert made[0].norm.num_batches_tracked == 3 * 3  # 3 epochs of 9 clips in batches of 4
    assert made[0].training is False  # it was tested last


@pytest.mark.timeout(300)
def test_the_whole_is_mer_train_from_its_start(tmp_path: Path) -> None:
    write_images(tmp_path / "images", clips=12, subjects=2)
    line = ["data=megc2019_uvos", f"data.root={tmp_path / 'images'}", overhead.EXPERIMENT, "epochs=1"]
    seconds = overhead.run_train([*line, "workers=1", "tag=bench", "runs_dir=runs"], tmp_path)
    assert seconds > 0.5  # torch alone takes longer
    run = tmp_path / "runs/ststnet/base.bench/megc2019_uvos/loso/seed-0"
    assert len(runs.read_predictions(run)) == 12
