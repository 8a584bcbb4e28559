"""All folds in one fit: each as `mer.engine` trains it alone, in its own folder, nothing lost in a kill."""

import os
import pickle
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from mer import engine, runs
from mer.augment import RandomAffine
from mer.checkpoint import FILE
from mer.data import splits
from mer.data.encoded import encode
from mer.data.megc2019_uvos import read_clips
from mer.data.module import fold_seed
from mer.ensemble_checkpoint import Checkpoint, load_checkpoint
from mer.ensemble_chunk import Options
from mer.ensemble_engine import is_chosen, train_folds
from mer.errors import MerError
from mer.estimators import SVM
from mer.job import Job, Outcome, Recipe, RunFold
from mer.networks import (
    AffectiveNet,
    DualInception,
    LAENet,
    LEARNet,
    OFFApexNet,
    OrigiNet,
    SqueezeNet,
    STSTNet,
)
from mer.tasks import Classification
from tests.test_engine import await_state
from tests.trees import write_megc2019_uvos

# Of 24 clips 20, 19, 18 and 15 are trained on: 3, 3, 3 and 2 batches of at most 8.
SUBJECTS = {
    "006": ("0", "0", "1", "2"),
    "007": ("0", "1", "2") * 2,
    "s01": ("0",) * 5,
    "sub01": ("1", "2", "0") * 3,
}
CLASSES = ["negative", "positive", "surprise"]
COLUMNS = [f"p_{name}" for name in CLASSES]


def make_job(folder: Path, run: str, *, size: int = 28, **changes: object) -> tuple[Job, list[splits.Split]]:
    clips = read_clips(write_megc2019_uvos(folder / f"images{size}", SUBJECTS, size=size))
    recipe = {
        "network": partial(LAENet, dropout=0.0),
        "task": Classification,
        "optimizer": partial(torch.optim.SGD, lr=1e-4, momentum=0.9),
        "scheduler": None,
        "epochs": 3,
        "batch_size": 8,
        "order": "shuffled",
        "class_weights": "none",
        "seed": 0,
        "save_checkpoint": True,
    }
    encoded = encode(clips, cache=folder / "cache", progress=False)
    job = Job(folder / run, clips, CLASSES, encoded.folder, Recipe(**recipe | changes), {})  # type: ignore[arg-type]
    return job, splits.loso(clips)


def train(job: Job, folds: list[splits.Split], **options: Any) -> list[Outcome]:
    return list(train_folds(job, folds, 1, options=Options(devices=("cpu",), **options)))


def read(run: Path, fold: str) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, Tensor]]:
    folder = runs.fold_folder(run, fold)
    metrics = pd.read_csv(folder / "metrics.csv")
    return pd.read_parquet(folder / "predictions.parquet"), metrics, load_file(folder / FILE)


def assert_same(ours: Path, theirs: Path, folds: list[splits.Split], tolerance: float) -> None:
    """Predictions and metrics to ``tolerance``, weights to that share of the largest of their tensor.

    And to 1e-6, unless no difference is allowed: where a batch norm follows, a bias has no gradient but
    rounding.
    """
    for fold in folds:
        (predicted, metrics, weights), (expected, expected_metrics, expected_weights) = (
            read(run, fold.fold) for run in (ours, theirs)
        )
        pd.testing.assert_frame_equal(predicted, expected, rtol=0, atol=tolerance)
        pd.testing.assert_frame_equal(metrics, expected_metrics, rtol=tolerance, atol=tolerance)
        assert list(weights) == list(expected_weights)
        for name, values in weights.items():
            largest = float(expected_weights[name].abs().max())
            torch.testing.assert_close(
                values,
                expected_weights[name],
                rtol=0,
                atol=tolerance * largest + 1e-6,
                msg=f"{fold.fold} {name}",
            )


def make_squeezenet(*, in_channels: int, num_classes: int) -> nn.Module:
    network = SqueezeNet(in_channels=in_channels, num_classes=num_classes)
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return network


@pytest.mark.parametrize(
    ("network", "size", "lr"),
    [
        (partial(LAENet, dropout=0.0), 28, 1e-4),
        (partial(STSTNet, dropout=0.0, padding="release"), 28, 1e-4),
        (partial(AffectiveNet, size=36), 36, 1e-4),
        (partial(OrigiNet, size=36), 36, 1e-4),
        (partial(LEARNet, size=36, dropout=0.0), 36, 1e-4),
        (partial(LEARNet, size=36, dropout=0.0, reading="authors", padding="keras"), 36, 1e-4),
        (partial(OFFApexNet, dropout=0.0), 28, 1e-4),
        (DualInception, 28, 1e-3),
        (make_squeezenet, 36, 1e-4),
    ],
)
def test_each_fold_is_trained_as_alone(tmp_path: Path, network: Any, size: int, lr: float) -> None:
    """After three steps of three folds, and two of the fourth."""
    changes: dict[str, Any] = {
        "size": size,
        "network": network,
        "optimizer": partial(torch.optim.SGD, lr=lr, momentum=0.9),
    }
    together, folds = make_job(tmp_path, "together", epochs=1, **changes)
    alone, _ = make_job(tmp_path, "alone", epochs=1, **changes)
    assert [outcome.error for outcome in train(together, folds, checkpoint_every=0)] == [""] * 4
    list(engine.train_folds(alone, folds, 1))
    assert_same(together.run, alone.run, folds, 1e-4)


@pytest.mark.parametrize(
    "changes",
    [
        {"order": "balanced", "class_weights": "balanced", "task": partial(Classification, loss="focal")},
        {"store": "every_epoch", "task": partial(Classification, label_smoothing=0.2)},
        {"scheduler": partial(torch.optim.lr_scheduler.CosineAnnealingLR, T_max=3), "order": "release"},
        {"optimizer": partial(torch.optim.Adam, lr=1e-4, eps=1e-4, fused=True)},
        {"augment": RandomAffine()},
    ],
)
def test_options_act_as_alone(tmp_path: Path, changes: dict[str, object]) -> None:
    together, _ = make_job(tmp_path, "together", **changes)  # type: ignore[arg-type]
    alone, _ = make_job(tmp_path, "alone", **changes)  # type: ignore[arg-type]
    folds = splits.loso(together.clips, validation=0.4)
    assert [outcome.error for outcome in train(together, folds)] == [""] * 4
    list(engine.train_folds(alone, folds, 1))
    # The optimizer divides by the gradient's size, and so passes on its rounding whole.
    assert_same(together.run, alone.run, folds, 1e-3 if "optimizer" in changes else 1e-4)


def test_dropout_trains_folds_to_about_the_same_loss(tmp_path: Path) -> None:
    """The masks are others, so only the mean over folds is compared."""
    losses = []
    for run, folds_of in (
        ("together", train),
        ("alone", lambda job, folds: list(engine.train_folds(job, folds, 1))),
    ):
        job, folds = make_job(tmp_path, run, network=LAENet, epochs=20)
        folds_of(job, folds)
        losses.append(np.mean([read(job.run, fold.fold)[1]["train_loss"].iloc[-1] for fold in folds]))
    assert np.isfinite(losses).all()
    assert losses[0] == pytest.approx(losses[1], rel=0.3)
    assert losses[0] != losses[1]


def test_chunks_change_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole, folds = make_job(tmp_path, "whole")
    chunked, _ = make_job(tmp_path, "chunked")
    train(whole, folds)
    assert "chunks" not in capsys.readouterr().err
    outcomes = train(chunked, folds, memory=1)
    assert [outcome.error for outcome in outcomes] == [""] * 4
    assert "4 folds in chunks of at most 1: a fold takes" in capsys.readouterr().err
    assert_same(chunked.run, whole.run, folds, 1e-4)


class Crowded(LAENet):
    """For more than two folds at a time, as if the memory were full."""

    most = 2

    def forward(self, images: Tensor) -> Tensor:
        below = (
            torch._C._functorch.get_unwrapped(images)
            if torch._C._functorch.is_batchedtensor(images)
            else images
        )
        if len(below) > self.most and below.ndim == 5:
            raise torch.OutOfMemoryError("full")
        return super().forward(images)


def test_a_full_memory_halves_the_chunk(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    job, folds = make_job(tmp_path, "crowded", network=partial(Crowded, dropout=0.0))
    whole, _ = make_job(tmp_path, "whole")
    assert [outcome.error for outcome in train(job, folds)] == [""] * 4
    assert capsys.readouterr().err == "4 folds do not fit the memory; going on with half as many\n"
    train(whole, folds)
    assert_same(job.run, whole.run, folds, 1e-4)


class MoreCrowded(Crowded):
    """For more than one."""

    most = 1


def test_where_two_folds_do_not_fit_each_is_a_chunk(tmp_path: Path) -> None:
    job, folds = make_job(tmp_path, "crowded", network=partial(MoreCrowded, dropout=0.0), epochs=1)
    assert [outcome.error for outcome in train(job, folds[:2])] == [""] * 2
    devices = {runs.read_record(job.run, fold.fold)["device"] for fold in folds[:2]}
    assert devices == {"cpu, 1 folds together, precision 32"}


class Alone(LAENet):
    """Asks a value of its input, which vmap cannot give."""

    def forward(self, images: Tensor) -> Tensor:
        if images.max().item() < 0:
            return super().forward(-images)
        return super().forward(images)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"network": Alone}, "vmap"),
        ({"network": SVM, "save_checkpoint": False}, "network=SVM is fitted, not trained in steps"),
        ({"optimizer": torch.optim.LBFGS}, "optimizer=LBFGS"),
    ],
)
def test_what_cannot_be_trained_together_is_trained_side_by_side_and_says_so_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, object], reason: str
) -> None:
    job, folds = make_job(tmp_path, "run", **changes)  # type: ignore[arg-type]
    outcomes = train(job, folds[:2])
    said = capsys.readouterr().err
    assert said.startswith("the folds are trained side by side in processes, not together: ")
    assert reason in said
    assert said.count("\n") == 1
    other, _ = make_job(tmp_path, "other", **changes)  # type: ignore[arg-type]
    expected = list(engine.train_folds(other, folds[:2], 1))
    assert [outcome.error for outcome in outcomes] == [outcome.error for outcome in expected]


def test_finished_folds_are_left_alone_and_a_failing_one_leaves_the_others(tmp_path: Path) -> None:
    job, folds = make_job(tmp_path, "run")
    train(job, folds[:1])
    record = runs.fold_folder(job.run, folds[0].fold) / "run.yaml"
    written = record.stat().st_mtime_ns
    leak = splits.Split(folds[1].fold, folds[1].train, (), (*folds[1].test, folds[1].train[0]))
    outcomes = {outcome.fold: outcome for outcome in train(job, [folds[0], leak, *folds[2:]])}
    assert len(outcomes) == 4
    assert outcomes[folds[0].fold].seconds == 0
    assert record.stat().st_mtime_ns == written
    assert "leak in fold" in outcomes[leak.fold].error
    assert runs.state(job.run, leak.fold) == "failed"
    assert [runs.state(job.run, fold.fold) for fold in folds[2:]] == ["done"] * 2


def test_a_fold_that_diverges_leaves_the_others(tmp_path: Path) -> None:
    job, folds = make_job(tmp_path, "run", network=Diverging, epochs=1)
    outcomes = {outcome.fold: outcome.error for outcome in train(job, folds)}
    broken = [error for error in outcomes.values() if error]
    assert len(broken) == 1
    assert "the training diverged" in broken[0]


class Diverging(LAENet):
    """Of one fold, which its seed tells, a weight is infinite."""

    def __init__(self, *, in_channels: int, num_classes: int) -> None:
        broken = torch.initial_seed() == fold_seed(0, "smic/s01")
        super().__init__(in_channels=in_channels, num_classes=num_classes)
        if broken:
            self.fc.bias.data[0] = torch.inf


SCRIPT = """
import os, sys
from pathlib import Path
from mer.ensemble_chunk import Options
from mer.ensemble_engine import train_folds
from tests.test_ensemble_engine import LAENet, make_job

if __name__ == "__main__":
    job, folds = make_job(Path(sys.argv[1]), "killed", network=LAENet, epochs=150)
    list(train_folds(job, folds, 1, options=Options(devices=("cpu",), checkpoint_every=2)))
"""


def test_a_killed_chunk_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    """kill -9 in the middle; the rest gives the bytes of a run that was not killed, dropout included."""
    make_job(tmp_path, "killed")
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    killed = tmp_path / "killed"
    surroundings = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), os.environ["PYTHONPATH"]]),
    }
    with subprocess.Popen([sys.executable, str(script), str(tmp_path)], env=surroundings) as process:
        await_state(lambda: any(killed.glob("chunk-*.pt")))
        process.send_signal(signal.SIGKILL)
    [path] = killed.glob("chunk-*.pt")
    done = torch.load(path, weights_only=True)["epochs_done"]
    assert 0 < done < 150
    assert done % 2 == 0
    changes: dict[str, Any] = {"network": LAENet, "epochs": 150}
    job, folds = make_job(tmp_path, "killed", **changes)
    whole, _ = make_job(tmp_path, "whole", **changes)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    train(job, folds)
    train(whole, folds)
    torch.set_num_threads(threads)
    assert_same(job.run, whole.run, folds, 0.0)
    assert not list(killed.glob("chunk-*.pt"))
    assert len(read(killed, folds[0].fold)[1]) == 150


def test_a_checkpoint_of_another_recipe_is_not_gone_on_from(tmp_path: Path) -> None:
    other, folds = make_job(tmp_path, "run", optimizer=partial(torch.optim.SGD, lr=1e-2, momentum=0.9))
    other.run.mkdir()
    fold = RunFold(other, folds[0])
    checkpoint = Checkpoint([fold], 1)
    members = {"folds": checkpoint.folds, "runs": checkpoint.runs, "made_by": checkpoint.made_by}
    torch.save(members, checkpoint.path)
    job, _ = make_job(tmp_path, "run")
    theirs, ours = (load_checkpoint([each], checkpoint.path) for each in (other, job))
    assert theirs is not None
    assert theirs.place(fold) == 0
    assert not theirs.useless
    assert ours is not None
    assert ours.place(fold) is None
    assert ours.useless


def test_a_damaged_checkpoint_is_named_and_left_behind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job, folds = make_job(tmp_path, "run")
    job.run.mkdir()
    (job.run / "chunk-0.pt").write_bytes(b"half of it")
    assert [outcome.error for outcome in train(job, folds)] == [""] * 4
    assert capsys.readouterr().err.count("chunk-0.pt: cannot be read") == 1
    assert not list(job.run.glob("chunk-*.pt"))


def test_engine_names() -> None:
    assert is_chosen("ensemble")
    assert not is_chosen("processes")
    assert is_chosen("auto") == torch.cuda.is_available()
    with pytest.raises(MerError, match="choose auto, processes or ensemble"):
        is_chosen("gpu")  # type: ignore[arg-type]


IMPORTS = """
import sys
from pathlib import Path
import pickle
from mer.ensemble_chunk import Options
from mer.ensemble_engine import train_folds

job, folds = pickle.loads(Path(sys.argv[1]).read_bytes())
assert not any(outcome.error for outcome in train_folds(job, folds, 1, options=Options(devices=("cpu",))))
extra = {"hydra", "kornia", "wandb", "cv2"} & set(sys.modules)
assert not extra, extra
"""


def test_training_on_encoded_data_imports_no_more_than_it_needs(tmp_path: Path) -> None:
    """A machine with a GPU may lack these."""
    job, folds = make_job(tmp_path, "run", save_checkpoint=False)  # which reads what the run has prepared
    (tmp_path / "job").write_bytes(pickle.dumps((job, folds)))
    subprocess.run([sys.executable, "-c", IMPORTS, str(tmp_path / "job")], check=True)
