import hashlib
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from mer.errors import MerError
from mer.networks.imagenet_weights import read_weights, weights_folder

URL = "https://example.org/net.pth"


@pytest.fixture(autouse=True)
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of weights of the test's own, and no download."""
    folder = tmp_path / "weights"
    folder.mkdir()
    monkeypatch.setenv("MER_WEIGHTS", str(folder))
    monkeypatch.setenv("MER_OFFLINE", "1")
    return folder


def test_the_folder_is_torch_hubs_by_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("MER_WEIGHTS")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    assert weights_folder() == tmp_path / "hub" / "checkpoints"


@pytest.mark.parametrize("name", ["net.pth", "net.safetensors"])
def test_a_file_of_the_folder_is_read_without_a_network(name: str, weights: Path) -> None:
    with pytest.raises(
        MerError, match=rf"{weights}/{name}: no such weight file.*MER_OFFLINE.*put {URL} there"
    ):
        read_weights(URL, name)
    state = {"weight": torch.arange(3.0)}
    save_file(state, weights / name) if name.endswith(".safetensors") else torch.save(state, weights / name)
    found = read_weights(URL, name)
    assert list(found) == ["weight"]
    assert torch.equal(found["weight"], state["weight"])


def file_url(path: Path) -> str:
    """A published file whose name holds the start of its sha256; urllib reads file:// without a network."""
    torch.save({"weight": torch.arange(3.0)}, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    return path.rename(path.with_name(f"net-{digest}.pth")).as_uri()


def test_a_download_is_kept_and_checked(
    tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MER_OFFLINE", "0")
    url = file_url(tmp_path / "made.pth")
    name = url.rpartition("/")[2]
    monkeypatch.setenv("MER_WEIGHTS", str(weights / "new" / "folder"))
    assert torch.equal(read_weights(url, name)["weight"], torch.arange(3.0))
    Path(url.removeprefix("file://")).unlink()
    assert list(read_weights(url, name)) == ["weight"]  # from the folder

    wrong = tmp_path / "net-00000000.pth"
    wrong.write_bytes(b"something else")
    with pytest.raises(MerError, match=r"net-00000000\.pth: .*download failed \(invalid hash.*put file://"):
        read_weights(wrong.as_uri(), wrong.name)
    assert [path.name for path in (weights / "new" / "folder").iterdir()] == [name]
    with pytest.raises(MerError, match=r"gone-00000000\.pth: .*download failed \(.*put file://"):
        read_weights((tmp_path / "gone.pth").as_uri(), "gone-00000000.pth")


@pytest.mark.parametrize("name", ["net.pth", "net.safetensors"])
def test_a_file_that_holds_no_weights(name: str, weights: Path) -> None:
    (weights / name).write_text("<html>")
    with pytest.raises(MerError, match=rf"{name}: no weights that can be read.*replace it by {URL}"):
        read_weights(URL, name)


@pytest.mark.parametrize("content", [[torch.zeros(1)], {"epoch": 3}])
def test_something_else_than_a_state_dict(content: object, weights: Path) -> None:
    torch.save(content, weights / "net.pth")
    with pytest.raises(MerError, match=rf"net\.pth: not a plain state dict; replace it by {URL}"):
        read_weights(URL, "net.pth")


def test_no_code_is_run_from_a_weight_file(tmp_path: Path, weights: Path) -> None:
    marker = tmp_path / "ran"

    class Trap:
        def __reduce__(self) -> tuple[object, tuple[Path]]:
            return (Path.touch, (marker,))

    torch.save({"weight": Trap()}, weights / "net.pth")
    with pytest.raises(MerError, match="without running code"):
        read_weights(URL, "net.pth")
    assert not marker.exists()
