"""Every network of conf/network that is trained in steps: two folds at once are each as alone, to 1e-9."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor, nn

from mer import config
from mer.ensemble_memory import quiet_vmap
from mer.estimators import SVM
from mer.feature_difference import FeatureDifference
from mer.joint_fits import structure
from mer.networks import TimeContrastNet
from mer.packaged import config_dir
from mer.tasks import Classification
from mer.tasks.fold_ensemble import FoldEnsemble

BUILT: dict[str, "partial[Any]"] = {
    name: config.factory(
        yaml.safe_load((config_dir() / f"network/{name}.yaml").read_text()), object, "network"
    )
    for name in config.names("network")
}
# They are fitted, read videos, or both: see tests/test_ensemble_engine.py.
OTHERS = {
    name
    for name, make in BUILT.items()
    if isinstance(make.func, type) and issubclass(make.func, SVM | FeatureDifference | TimeContrastNet)
}
SIZES = {"alexnet": 64, "googlenet": 48} | dict.fromkeys(
    ("dual_inception", "laenet", "off_apexnet", "shallow", "ststnet"), 28
)
PARTS = 16  # of a fully connected layer of thousands
BATCH = {"row": torch.tensor([[0, 1, 2], [4, 5, 4]]), "size": torch.tensor([3, 2])}


def make_network(name: str) -> nn.Module:
    """A network in double precision that draws nothing, its widest layers narrow."""
    make = BUILT[name]
    if "size" in make.keywords:
        make = partial(make, size=36)
    network: nn.Module = make(in_channels=3, num_classes=3)
    for module in network.modules():
        if isinstance(module, nn.modules.dropout._DropoutNd):
            module.p = 0.0
        for key, child in module.named_children():
            if isinstance(child, nn.Linear) and max(child.weight.shape) >= 4096:
                wide, narrow = (PARTS if width == 4096 else width for width in reversed(child.weight.shape))
                setattr(module, key, nn.Linear(wide, narrow))
    return network.double()


def test_the_list_is_whole() -> None:
    assert {"svm", "hoof_difference", "lbp_difference", "time_contrast"} == OTHERS


@pytest.fixture
def one_thread() -> Iterator[None]:
    """More of them spin where the cores have other work, on layers this small."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", sorted(BUILT.keys() - OTHERS))
@pytest.mark.usefixtures("one_thread")
def test_two_folds_at_once_are_each_as_alone(name: str) -> None:
    """A step of batches of which one is filled up, and a prediction."""
    size = SIZES.get(name, 36)
    images = torch.rand(8, 3, size, size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    images, targets = images * 255, torch.arange(8) % 3
    test = torch.tensor([6, 7])
    make = partial(torch.optim.SGD, lr=1e-4)
    tasks = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        tasks.append(Classification(make_network(name)))
    assert structure(tasks[0].network) == structure(tasks[1].network)
    ensemble = FoldEnsemble(
        tasks,
        steps=[1, 1],
        images=images,
        targets=targets,
        batch_size=4,
        optimizer=make,
        validation=[],
        test=[test, test],
    )
    with quiet_vmap():
        ensemble.training_step(BATCH, 0)
        ensemble.predict_test()
    for fold, task in enumerate(tasks):
        optimizer = make(task.network.parameters())
        rows = BATCH["row"][fold, : int(BATCH["size"][fold])]
        task.loss(task(images[rows]), targets[rows]).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        close(ensemble, task, fold)
        task.eval()
        torch.testing.assert_close(
            ensemble.predictions[0][fold], task(images[test]).softmax(dim=1), rtol=1e-9, atol=1e-12
        )
    with quiet_vmap():
        assert ensemble.keeps_rows_apart({"row": BATCH["row"]})


def close(ensemble: FoldEnsemble, task: Classification, fold: int) -> None:
    """Weights and statistics of a fold, relative to the largest of their tensor.

    And to 1e-12: where a batch norm follows, a bias has no gradient but rounding.
    """
    for name, expected in task.state_dict(prefix="task.").items():
        found: Tensor = {**ensemble.weights, **ensemble.statistics}[name][fold]
        scale = float(expected.abs().max())
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-9 * scale + 1e-12, msg=name)
