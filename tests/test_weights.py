"""Weights of a fold: written with whom they were trained on, loaded into the same network only."""

from pathlib import Path

import pytest
import torch

from mer.errors import MerError
from mer.networks import LAENet
from mer.weights import FILE, find_weights, load_weights, save_weights


def write(run: Path, fold: str, classes: int = 3) -> LAENet:
    torch.manual_seed(len(fold))
    network = LAENet(in_channels=3, num_classes=classes)
    folder = run / f"fold-{fold.replace('/', '.')}"
    folder.mkdir(parents=True)
    save_weights(folder, network, ["a/s1", "a/s2"])
    return network


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    saved = write(tmp_path, "a/s3")
    other = LAENet(in_channels=3, num_classes=3)
    load_weights(find_weights(tmp_path, "a/s3"), other, ["a/s3"])
    for name, tensor in saved.state_dict().items():
        assert torch.equal(other.state_dict()[name], tensor), name


def test_a_fold_starts_from_its_own_or_from_the_only_one(tmp_path: Path) -> None:
    write(tmp_path, "ck/all")
    assert find_weights(tmp_path, "a/s1") == tmp_path / "fold-ck.all" / FILE
    write(tmp_path, "a/s1")
    assert find_weights(tmp_path, "a/s1") == tmp_path / "fold-a.s1" / FILE
    with pytest.raises(MerError, match="2 folds have weights, but none is a/s2; name a run of one fold"):
        find_weights(tmp_path, "a/s2")
    with pytest.raises(MerError, match=r"no fold with weights\.safetensors in this run .*save_weights=true"):
        find_weights(tmp_path / "gone", "a/s2")


def test_a_tested_subject_was_not_trained_on(tmp_path: Path) -> None:
    network = write(tmp_path, "a/s3")
    path = find_weights(tmp_path, "a/s3")
    with pytest.raises(MerError, match=r"leak: .* was trained on subject a/s2, which this fold tests"):
        load_weights(path, network, ["a/s2", "b/s1"])


def test_another_network_names_keys_and_shapes(tmp_path: Path) -> None:
    write(tmp_path, "a/s3", classes=5)
    path = find_weights(tmp_path, "a/s3")
    with pytest.raises(MerError, match=r"another network or class count: \S+ \(5,\), not \(3,\)"):
        load_weights(path, LAENet(in_channels=3, num_classes=3), [])
    with pytest.raises(MerError, match=r"missing, not \(2, 2\); .*there; and \d+ more"):
        load_weights(path, torch.nn.Sequential(torch.nn.Linear(2, 2)), [])


@pytest.mark.parametrize("content", [b"", b"no safetensors", b"\x80\x04pickle"])
def test_a_file_that_is_none_of_ours(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / FILE
    path.write_bytes(content)
    with pytest.raises(MerError, match="no weights that `mer train save_weights=true` wrote"):
        load_weights(path, LAENet(in_channels=3, num_classes=3), [])
