"""Grad-CAM: by hand, as CAM where the network ends in global average pooling, and of a run's own folds."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.image import imread
from torch import Tensor, nn
from torch.nn import functional as F

from mer import figures, runs, train
from mer.errors import MerError
from mer.figure_kinds.grad_cam import cams_of, grad_cam, last_convolution, overlay
from mer.figure_kinds.trained import choose, read_source, show
from mer.networks import LEARNet, ResNet34

SMALL = ("data.clips.subjects=2", "data.clips.clips_per_class=1", "data.clips.size=48")


class Pooled(nn.Module):
    """Convolution, ReLU in place, global average pooling, linear."""

    def __init__(self, *, in_place: bool = True) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 1, bias=False)
        self.act = nn.ReLU(inplace=in_place)
        self.fc = nn.Linear(2, 2, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        result: Tensor = self.fc(self.act(self.conv(images)).mean((-2, -1)))
        return result


def test_a_case_worked_by_hand() -> None:
    network = Pooled().eval()
    with torch.no_grad():
        network.conv.weight.copy_(torch.tensor([1.0, -1.0]).reshape(2, 1, 1, 1))
        network.fc.weight.copy_(torch.tensor([[3.0, 1.0], [-2.0, 4.0]]))
    image = torch.tensor([[[[1.0, 2.0], [-3.0, 0.5]]]])
    # A_1 = image, A_2 = -image. Of class 0: dy/dA_1 = 3/4 where A_1 > 0 (three places of four), dy/dA_2 = 1/4
    # where A_2 > 0 (one place). alpha = (9/16, 1/16), and alpha_1 A_1 + alpha_2 A_2 = 8/16 image.
    of_first, logits = grad_cam(network, image, torch.tensor([0]), "conv")
    assert of_first.tolist() == [[[0.5, 1.0], [0.0, 0.25]]]
    # y_0 = 3 * 3.5/4 + 1 * 3/4, y_1 = -2 * 3.5/4 + 4 * 3/4
    assert logits.tolist() == [[3.375, 1.25]]
    # Of class 1: alpha = (-2/4 * 3/4, 4/4 * 1/4) = (-6/16, 4/16); their sum is -10/16 image.
    of_second, _ = grad_cam(network, image, torch.tensor([1]), "conv")
    assert of_second.tolist() == [[[0.0, 0.0], [1.875, 0.0]]]
    # After the ReLU: dy/dA is 3/4 and 1/4 everywhere, and so is alpha; A_1 and A_2 are 0 or more.
    after, _ = grad_cam(network, image, torch.tensor([0]), "act")
    assert after.tolist() == [[[0.75 * 1, 0.75 * 2], [0.25 * 3, 0.75 * 0.5]]]


def test_what_follows_in_place_changes_nothing() -> None:
    torch.manual_seed(0)
    network, plain = Pooled().eval(), Pooled(in_place=False).eval()
    plain.load_state_dict(network.state_dict())
    images, classes = torch.randn(3, 1, 6, 5), torch.tensor([0, 1, 1])
    for layer in ("conv", "act"):
        maps, logits = grad_cam(network, images, classes, layer)
        expected, same = grad_cam(plain, images, classes, layer)
        assert torch.equal(maps, expected)
        assert torch.equal(logits, same)


def test_it_is_cam_where_the_network_ends_in_average_pooling() -> None:
    torch.manual_seed(0)
    network = ResNet34(in_channels=3, num_classes=4).eval()
    images, classes = 255 * torch.rand(2, 3, 96, 64), torch.tensor([2, 0])
    maps, _ = grad_cam(network, images, classes, "network.layer4")
    kept: list[Tensor] = []
    network.network.get_submodule("layer4").register_forward_hook(lambda *given: kept.append(given[2]))
    with torch.no_grad():
        network(images)
    fc = network.network.get_submodule("fc")
    assert isinstance(fc, nn.Linear)
    cam = torch.einsum("bk,bkhw->bhw", fc.weight[classes], kept[0]).detach()
    places = cam.shape[-2] * cam.shape[-1]
    assert maps.shape == (2, 3, 2)
    torch.testing.assert_close(maps, cam.relu() / places)
    assert maps.max() > 0


def test_images_of_a_batch_do_not_meet() -> None:
    torch.manual_seed(0)
    network = LEARNet(in_channels=3, num_classes=3).eval().requires_grad_(False)
    images, classes = 255 * torch.rand(3, 3, 112, 112), torch.tensor([0, 2, 1])
    together, _ = grad_cam(network, images, classes, "conv4.2")
    assert together.shape == (3, 7, 7)
    for k in range(3):
        alone, _ = grad_cam(network, images[k : k + 1], classes[k : k + 1], "conv4.2")
        torch.testing.assert_close(together[k : k + 1], alone)


def test_the_last_convolution_is_that_of_the_forward_pass() -> None:
    assert (
        last_convolution(LEARNet(in_channels=3, num_classes=3).eval(), torch.zeros(1, 3, 112, 112)) == "conv5"
    )
    backwards = nn.Sequential()
    backwards.append(nn.Conv2d(1, 1, 1))
    backwards.forward = lambda images: backwards[0](images)  # type: ignore[method-assign]
    backwards.append(nn.Conv2d(1, 1, 1))  # never called
    assert last_convolution(backwards, torch.zeros(1, 1, 2, 2)) == "0"
    with pytest.raises(MerError, match="Linear: it calls no convolution"):
        last_convolution(nn.Linear(2, 2), torch.zeros(1, 2))


def test_layers_that_cannot_be_explained() -> None:
    network = LEARNet(in_channels=3, num_classes=3).eval()
    images, classes = torch.zeros(1, 3, 112, 112), torch.tensor([0])
    with pytest.raises(
        MerError, match=r"--layer conv9: LEARNet has no such layer; its convolutions are conv1,"
    ):
        grad_cam(network, images, classes, "conv9")
    with pytest.raises(MerError, match=r"--layer fc: it gives no maps"):
        grad_cam(network, images, classes, "fc")
    network.get_submodule("conv1").register_module("extra", nn.Conv2d(1, 1, 1))
    with pytest.raises(MerError, match=r"--layer conv1.extra: LEARNet does not call it"):
        grad_cam(network, images, classes, "conv1.extra")


def test_an_overlay_is_blue_at_0_and_red_at_the_highest() -> None:
    picture = np.full((2, 2, 3), 100, dtype=np.uint8)
    mixed = overlay(picture, torch.tensor([[0.0, 0.5], [1.0, 1.0]])).astype(int)
    assert mixed[0, 0, 2] > mixed[0, 0, 0]
    assert mixed[1, 0, 0] > mixed[1, 0, 2]
    assert (mixed[1, 0] == mixed[1, 1]).all()
    assert overlay(picture, torch.zeros(2, 2)) is picture


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of LAENet on two drawn subjects that kept its checkpoints."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("run")
        patch.setenv("MER_CACHE", str(folder / "cache"))
        given = ("experiment=laenet", "epochs=2", "workers=1", "engine=processes", "save_checkpoint=true")
        train.main([*given, *SMALL, "optimizer.lr=0.01", "tag=small", f"runs_dir={folder / 'runs'}"])
        return runs.find(folder / "runs")[0]


def test_a_run_is_explained_by_the_folds_that_tested_the_clips(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    predictions = runs.read_predictions(run)
    source = read_source([], run)
    names = [f"{row.subject}/{row.clip}" for row in predictions.itertuples()]
    chosen = choose(source, names)
    shown = show(source, chosen)
    cams = cams_of(source, shown, None)
    expected = shown.clips[runs.KEY].merge(predictions, on=runs.KEY)
    assert expected["fold"].nunique() == 2
    found = torch.stack([cam.probabilities for cam in cams]).numpy()
    wanted = expected[[f"p_{name}" for name in shown.classes]].to_numpy()
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-6)
    assert [cam.true for cam in cams] == [shown.classes.index(label) for label in expected["label"]]
    assert [cam.predicted for cam in cams] == wanted.argmax(1).tolist()
    assert {cam.layer for cam in cams} == {"conv"}
    assert all(cam.maps.shape == (2, 28, 28) for cam in cams)
    first = cams[0]
    if first.true == first.predicted:
        assert torch.equal(first.maps[0], first.maps[1])

    figures.main(["grad-cam", "--run", str(run), "--clip", names[0], "--layer", "max_pool"])
    path = Path(capsys.readouterr().out.strip())
    assert path == run / "figures/grad-cam-laenet-max_pool-synthetic.png"
    height, width, _ = imread(path).shape
    assert (width, height > 250) == (640, True)


def test_the_upsampled_map_is_the_bilinear_one(run: Path) -> None:
    source = read_source([], run)
    shown = show(source, choose(source, []))
    cam = cams_of(source, shown, "max_pool")[0]
    from mer.figure_kinds.trained import networks

    small, _ = grad_cam(networks(source, shown)[0], shown.images[:1], torch.tensor([cam.true]), "max_pool")
    assert small.shape == (1, 10, 10)
    expected = F.interpolate(small[None], size=(28, 28), mode="bilinear", align_corners=False)[0, 0]
    torch.testing.assert_close(cam.maps[0], expected)


def test_what_a_run_cannot_show(run: Path) -> None:
    with pytest.raises(MerError, match=r"epochs=3: with --run the run's own config decides"):
        figures.main(["grad-cam", "--run", str(run), "epochs=3"])
    subject = str(pd.unique(runs.read_predictions(run)["subject"])[0])
    with pytest.raises(MerError, match=rf"seed-0: no clip {subject}/nothing; near it are {subject}/"):
        figures.main(["grad-cam", "--run", str(run), "--clip", f"{subject}/nothing"])
    with pytest.raises(MerError, match="no run here"):
        figures.main(["grad-cam", "--run", str(run / "elsewhere")])


def test_what_has_no_image_is_refused(tmp_path: Path) -> None:
    common = [*SMALL, f"runs_dir={tmp_path}"]
    with pytest.raises(MerError, match="encoding=FrameSequence: it gives sequences"):
        figures.main(["grad-cam", "encoding=frame_sequence", *common])
    with pytest.raises(MerError, match="task=spotting scores videos"):
        figures.main(["grad-cam", "task=spotting", *common])
    with pytest.raises(MerError, match="it is no network of layers"):
        figures.main(["grad-cam", "network=svm", *common])
