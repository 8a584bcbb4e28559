"""Checkpoints: what is written is built, nobody who was trained on is tested, and nothing is trusted."""

import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from mer import checkpoint, runs, train
from mer.checkpoint import FILE, find, find_start, load, read, start_from
from mer.data.encoded import encode
from mer.data.megc2019_uvos import read_clips
from mer.encodings import ApexFlow
from mer.errors import MerError
from mer.networks import LAENet
from tests.checkpoints import make_about, make_network, write_fold
from tests.trees import write_megc2019_uvos


def test_what_is_written_is_built(tmp_path: Path) -> None:
    written = write_fold(tmp_path, "a/s3")
    before = torch.get_rng_state()
    found = load(tmp_path)
    assert torch.equal(torch.get_rng_state(), before)
    assert (found.path, found.about, found.classes) == (
        tmp_path / "fold-a.s3" / FILE,
        make_about(),
        ["negative", "positive", "surprise"],
    )
    assert not found.network.training
    assert isinstance(found.encoding, ApexFlow)
    assert found.encoding.params.scales == 2
    images = torch.rand(2, 3, 28, 28) * 255
    with torch.inference_mode():
        assert torch.equal(found.network(images), written(images))


def test_the_same_checkpoint_has_the_same_bytes(tmp_path: Path) -> None:
    files = [tmp_path / name / FILE for name in "ab"]
    for file in files:
        file.parent.mkdir()
        # Another process each: a hash of Python's or Rust's own would differ.
        code = (
            "from pathlib import Path; from mer import checkpoint; from tests.checkpoints import *;"
            f"about = make_about(); checkpoint.write(Path({str(file.parent)!r}), make_network(about), about)"
        )
        subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[1])
    assert files[0].read_bytes() == files[1].read_bytes()


def test_a_path_means_a_file_a_fold_or_a_run(tmp_path: Path) -> None:
    write_fold(tmp_path, "a/s1")
    write_fold(tmp_path, "a/s2")
    one, two = (tmp_path / f"fold-a.{name}" / FILE for name in ("s1", "s2"))
    assert find(tmp_path) == [one, two]
    assert find(str(one.parent)) == find(one) == [one]
    with pytest.raises(MerError, match=rf"2 folds have checkpoints; name one, as {one.parent}"):
        load(tmp_path)
    with pytest.raises(
        MerError, match=r"no checkpoint\.safetensors in it, nor in a fold of it; train with save_"
    ):
        find(tmp_path.parent)
    with pytest.raises(MerError, match="nothing is there"):
        find(tmp_path / "gone")


def test_a_fold_starts_from_its_own_or_from_the_only_one(tmp_path: Path) -> None:
    write_fold(tmp_path, "ck/all")
    only = tmp_path / "fold-ck.all" / FILE
    assert find_start(tmp_path, "a/s1") == only
    assert find_start(only, "a/s1") == find_start(only.parent, "a/s1") == only
    write_fold(tmp_path, "a/s1")
    assert find_start(tmp_path, "a/s1") == tmp_path / "fold-a.s1" / FILE
    with pytest.raises(
        MerError, match=r"init=.*: 2 folds have checkpoints, but none is a/s2; name a run of one"
    ):
        find_start(tmp_path, "a/s2")
    with pytest.raises(MerError, match=r"init=.*gone: nothing is there; train with save_checkpoint=true"):
        find_start(tmp_path / "gone", "a/s2")


def test_a_tested_subject_was_not_trained_on(tmp_path: Path) -> None:
    network = write_fold(tmp_path, "a/s3")
    other = LAENet(in_channels=3, num_classes=3)
    assert start_from(find_start(tmp_path, "a/s3"), other, ["a/s3"]) == make_about()
    for name, tensor in network.state_dict().items():
        assert torch.equal(other.state_dict()[name], tensor), name
    with pytest.raises(MerError, match=r"leak: .* was trained on subject a/s2, which this fold tests"):
        start_from(find_start(tmp_path, "a/s3"), other, ["a/s2", "b/s1"])


def test_another_network_names_keys_and_shapes(tmp_path: Path) -> None:
    write_fold(tmp_path, "a/s3", classes=["a", "b", "c", "d", "e"])
    path = find_start(tmp_path, "a/s3")
    with pytest.raises(MerError, match=r"another network or class count: \S+ \(5,\), not \(3,\)"):
        start_from(path, LAENet(in_channels=3, num_classes=3), [])
    with pytest.raises(MerError, match=r"missing, not \(2, 2\); .*there; and \d+ more"):
        start_from(path, nn.Sequential(nn.Linear(2, 2)), [])


@pytest.mark.parametrize("content", [b"", b"no safetensors", b"\x80\x04pickle"])
def test_a_file_that_is_none_of_ours(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / FILE
    path.write_bytes(content)
    with pytest.raises(MerError, match="no checkpoint that `mer train save_checkpoint=true` wrote"):
        load(path)


@pytest.mark.parametrize("text", [None, "", "[]", "{}", "[" * 100_000, '{"format": 1, "about": 3}'])
def test_weights_with_other_metadata(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / FILE
    save_file({"weight": torch.zeros(2)}, path, None if text is None else {"mer": text})
    with pytest.raises(MerError, match="no checkpoint that `mer train save_checkpoint=true` wrote"):
        load(path)


def test_a_flipped_bit_is_noticed(tmp_path: Path) -> None:
    write_fold(tmp_path, "a/s3")
    (path,) = find(tmp_path)
    content = path.read_bytes()
    name = content.index(b"surprise")
    for place in (name, len(content) // 2, len(content) - 2):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(MerError, match="damaged"):
            read(path)
    path.write_bytes(content)
    read(path)


def test_a_newer_format_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "FORMAT", 2)
        write_fold(tmp_path, "a/s3")
    with pytest.raises(MerError, match="a checkpoint of format 2; this version of mer reads 1"):
        load(tmp_path)


EVIL = "tests.evil_network.Net"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"network": {"_target_": EVIL}}, "may name classes of mer only"),
        ({"network": {"_target_": "torch.hub.load"}}, "may name classes of mer only"),
        ({"network": {"_target_": "os.system"}}, "may name classes of mer only"),
        ({"network": {"_target_": "mer.networks.LAENet", "x": {"_target_": EVIL}}}, "classes of mer only"),
        ({"encoding": {"_target_": EVIL}}, "encoding: _target_=.*may name classes of mer only"),
        (
            {"network": {"_target_": "mer.networks.Gone"}},
            "network._target_=mer.networks.Gone: cannot be imported",
        ),
        ({"network": {}}, "network._target_=None: cannot be imported"),
        ({"network": {"_target_": "mer.errors.MerError"}}, "not a torch module"),
        ({"network": {"_target_": "mer.atomic.write_text"}}, "not a torch module"),
        ({"encoding": {"_target_": "mer.networks.LAENet"}}, "encoding: .*missing"),
        ({"encoding": {"_target_": "mer.networks.refined_relu.RefinedReLU"}}, "not an encoding"),
        ({"network": {"_target_": "mer.networks.LAENet", "depth": 3}}, "unexpected keyword argument 'depth'"),
        (
            {"network": {"_target_": "mer.networks.LAENet", "padding": "odd"}},
            "network: network.padding='odd'",
        ),
        ({"classes": []}, r"classes=\[\]: at least one"),
        ({"classes": ["a", "b", "a"]}, "each once"),
        ({"classes": "abc"}, "classes='abc': a list"),
        ({"shape": [1, 28, 28]}, "3 channels, height and width are needed"),
        ({"in_channels": True}, "in_channels=True: a whole number is needed"),
        ({"task": "guessing"}, "task=guessing.*choose classification or spotting"),
        ({"trained_on": [1]}, "trained_on=.*a list"),
    ],
)
def test_what_a_stranger_may_not_write(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    about = make_about()
    checkpoint.write(tmp_path, make_network(about), replace(about, **changes))
    with pytest.raises(MerError, match=message) as error:
        load(tmp_path)
    assert str(tmp_path / FILE) in str(error.value)
    assert EVIL.rpartition(".")[0] not in sys.modules


def test_a_package_that_the_user_trusts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_package.py").write_text("from mer.networks import LAENet\nclass Net(LAENet): ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    about = make_about()
    checkpoint.write(tmp_path, make_network(about), replace(about, network={"_target_": "my_package.Net"}))
    with pytest.raises(MerError, match="name the package as trusted if it is your own"):
        load(tmp_path)
    assert type(load(tmp_path, trusted=["my_package"]).network).__name__ == "Net"


def test_imagenet_weights_are_not_asked_for_again(tmp_path: Path) -> None:
    # MER_OFFLINE is set, and no file of weights is there: asking for one is an error.
    about = make_about(network={"_target_": "mer.networks.SqueezeNet"}, shape=[3, 64, 64])
    asks = replace(about, network=about.network | {"weights": "imagenet"})
    checkpoint.write(tmp_path, make_network(about), asks)
    assert load(tmp_path).about.network["weights"] == "imagenet"


def test_of_a_run_it_holds_what_prediction_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    root = write_megc2019_uvos(tmp_path / "images")
    common = ("data=megc2019_uvos", f"data.root={root}", "workers=1", "experiment=laenet", "fold=samm/006")
    train.main([*common, "epochs=2", "save_checkpoint=true", "network.dropout=0.25", "tag=first"])
    run = Path("runs/laenet/base.first/megc2019_uvos/loso/seed-0")
    found = load(run)
    about = asdict(found.about)
    assert len(about.pop("commit")) in (7, 40)  # "unknown" where there is no repository
    assert len(about.pop("fingerprints")) == 20
    assert {
        name: about[name] for name in ("network", "encoding", "shape", "classes", "trained_on", "run")
    } == {
        "network": {"_target_": "mer.networks.laenet.LAENet", "padding": "same", "dropout": 0.25},
        "encoding": None,
        "shape": [3, 28, 28],
        "classes": ["negative", "positive", "surprise"],
        "trained_on": ["casme2/sub01", "casme2/sub02", "samm/007", "smic/s01", "smic/s02"],
        "run": {
            "experiment": "laenet",
            "variant": "base",
            "tag": "first",
            "data": "megc2019_uvos",
            "protocol": "loso",
            "seed": 0,
            "fold": "samm/006",
            "epoch": 2,
        },
    }
    assert not about["synthetic"]
    # The network gives what the run has stored of its tested clips.
    clips = read_clips(root)
    tested = clips.index[clips["subject"] == "006"].tolist()
    with torch.inference_mode():
        given = found.network(encode(clips, progress=False).images[tested]).softmax(1)
    stored = runs.read_predictions(run, partial=True)[[f"p_{name}" for name in found.classes]]
    assert given.numpy() == pytest.approx(stored.to_numpy(), abs=1e-5)
    # init= takes the file; what was trained on under another name is found by content.
    train.main([*common, "epochs=1", f"init={run / 'fold-samm.006' / FILE}", "tag=second"])
    (root / "006").rename(tmp_path / "aside")
    for path in sorted((root / "007").rglob("007_*")):
        path.rename(path.with_name(path.name.replace("007_", "006_")))
    (root / "007").rename(root / "006")
    for subject in ("sub01", "sub02", "s01", "s02"):
        for path in (root / subject / "u_train").rglob("007_*"):
            path.unlink()
    with pytest.raises(MerError, match=r"leak: .*checkpoint\.safetensors was trained on .* samm/006/EP01_01"):
        train.main([*common, "epochs=1", f"init={run}", "tag=third"])
