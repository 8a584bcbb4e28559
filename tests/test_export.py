"""`mer export`: the file gives what the module gives, at batch sizes that were not traced."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from mer import checkpoint, export, networks
from mer.checkpoint import Checkpoint
from mer.errors import MerError
from tests.checkpoints import SPOTTING, make_about, make_network, write_fold

# The smallest side that each takes in reasonable time; 28 else.
SIDES = {"AffectiveNet": 112, "LEARNet": 112, "OrigiNet": 128, "AlexNet": 63}
SIDES |= dict.fromkeys(("GoogLeNet", "MobileNet", "MobileNetV2", "ResNet34", "SqueezeNet"), 64)
# Their graphs are like those of the others, of SqueezeNet and ResNet34 for instance.
LARGE = {"AlexNet", "GoogLeNet", "MobileNet", "MobileNetV2", "ResNet50", "VGG16", "VGG19"}
SIZED = {"AffectiveNet", "LEARNet", "OrigiNet"}
IMAGES = sorted(set(networks.__all__) - {"TimeContrastNet"})


def about_of(name: str) -> dict[str, Any]:
    side = SIDES.get(name, 64 if name in LARGE else 28)
    options = {"size": side} if name in SIZED else {}
    return {"network": {"_target_": f"mer.networks.{name}", **options}, "shape": [3, side, side]}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in LARGE else name for name in IMAGES]
)
def test_every_network_of_images_is_exported(tmp_path: Path, name: str) -> None:
    about = make_about(**about_of(name))
    module = make_network(about)
    path, spec = export.export(Checkpoint(tmp_path / "made", about, module, None), tmp_path, "torch")
    assert spec["check"]["largest_difference"] <= export.TOLERANCE
    exported = torch.export.load(path).module()
    images = torch.rand(4, *spec["inputs"][0]["shape"][1:]) * 255
    with torch.inference_mode():
        expected = module(images)
        torch.testing.assert_close(exported(images), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["LAENet", "DualInception"])
def test_onnx_gives_what_the_module_gives(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    module = write_fold(tmp_path, "a/s3", **about_of(name), fingerprints=["secret"], synthetic=True)
    export.main(["--checkpoint", str(tmp_path / "fold-a.s3"), "--out", str(tmp_path / "out")])
    out = tmp_path / "out"
    assert capsys.readouterr().out.splitlines()[1] == str(out / "model.json")
    assert sorted(path.name for path in out.iterdir()) == ["model.json", "model.onnx"]
    session = onnxruntime.InferenceSession(str(out / "model.onnx"), providers=["CPUExecutionProvider"])
    images = torch.rand(5, 3, 28, 28) * 255
    (logits,) = session.run(["logits"], {"images": images.numpy()})
    with torch.inference_mode():
        assert logits == pytest.approx(module(images).numpy(), abs=1e-3)
    spec = json.loads((out / "model.json").read_text())
    assert spec["inputs"][0]["shape"] == ["batch", 3, 28, 28]
    assert spec["warning"] == "trained on SYNTHETIC DATA"
    assert spec["checkpoint"]["classes"] == ["negative", "positive", "surprise"]
    assert "secret" not in json.dumps(spec)
    held = {each.key: each.value for each in onnx.load(out / "model.onnx").metadata_props}
    assert json.loads(held["mer"])["checkpoint"] == spec["checkpoint"]


@pytest.mark.parametrize(
    ("memory", "kind"), [("gru", "onnx"), ("gru", "torch"), ("convgru", "torch"), ("none", "torch")]
)
def test_a_time_contrasted_network_reads_a_video_step_by_step(tmp_path: Path, memory: str, kind: str) -> None:
    network = SPOTTING["network"] | {"memory": memory}
    module = write_fold(tmp_path, "a/s3", **SPOTTING | {"network": network})
    path, spec = export.export(checkpoint.load(tmp_path), tmp_path, kind)
    names = [each["name"] for each in spec["inputs"]]
    assert names == (["frames"] if memory == "none" else ["frames", "state"])
    video = torch.rand(2, 7, 5, 32, 32) * 255
    with torch.inference_mode():
        expected = module(video)
    state = [torch.zeros(2, *spec["inputs"][k]["shape"][1:]) for k in range(1, len(names))]
    call = _caller(path, names)
    for step in range(6):
        logits, intensity, *state = call([video[:, step : step + 2], *state])
        torch.testing.assert_close(logits, expected.logits[:, step], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(intensity, expected.intensity[:, step], rtol=1e-4, atol=1e-4)


def _caller(path: Path, names: list[str]) -> Callable[[list[torch.Tensor]], Any]:
    if path.suffix == ".pt2":
        module = torch.export.load(path).module()
        return lambda given: module(*given)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def call(given: list[torch.Tensor]) -> list[torch.Tensor]:
        fed = {name: tensor.contiguous().numpy() for name, tensor in zip(names, given, strict=True)}
        return [torch.from_numpy(np.asarray(array)) for array in session.run(None, fed)]

    return call


def test_a_difference_is_an_error_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_fold(tmp_path, "a/s3")
    found = checkpoint.load(tmp_path)
    original = export._write_torch

    def off(*given: Any) -> Any:
        run = original(*given)
        return lambda inputs: [tensor * 1.001 for tensor in run(inputs)]

    monkeypatch.setattr(export, "_write_torch", off)
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(
        MerError, match=r"LAENet: the export differs from the module by 1\.0e-03 of its largest"
    ):
        export.export(found, out, "torch")
    assert not list(out.iterdir())


def test_a_network_that_cannot_be_exported(tmp_path: Path) -> None:
    class Branching(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images.mean((2, 3)) if float(images.sum()) > 0 else images.amax((2, 3))

    found = Checkpoint(tmp_path / "x", make_about(), Branching(), None)
    with pytest.raises(
        MerError, match="Branching cannot be exported as torch: Could not guard on data-dependent"
    ):
        export.export(found, tmp_path, "torch")


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_fold(tmp_path, "a/s3")
    monkeypatch.setattr(export, "find_spec", lambda name: None if name == "onnxscript" else name)
    with pytest.raises(MerError, match=r"--format onnx needs onnxscript: pip install .*'\.\[export\]'"):
        export.main(["-c", str(tmp_path), "--out", str(tmp_path / "out")])


def test_a_checkpoint_to_hand_on_has_no_pictures_of_clips(tmp_path: Path) -> None:
    write_fold(tmp_path, "a/s3", fingerprints=["secret"])
    export.main(["-c", str(tmp_path), "--format", "checkpoint", "--out", str(tmp_path / "out")])
    given, kept = (checkpoint.load(path) for path in (tmp_path / "out", tmp_path))
    assert b"secret" not in given.path.read_bytes()
    assert kept.about.fingerprints == ["secret"]
    assert given.about == make_about()
    ours, theirs = (found.network.state_dict() for found in (given, kept))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours.keys() | theirs.keys())
    write_fold(tmp_path, "a/s4")
    with pytest.raises(MerError, match="2 folds have checkpoints; name one"):
        export.main(["-c", str(tmp_path), "--out", str(tmp_path / "out")])
