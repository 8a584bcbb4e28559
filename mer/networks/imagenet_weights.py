"""Where the ImageNet weights of a network lie on this machine, and how they get there."""

import os
from pathlib import Path

import torch
from torch import Tensor

from mer.errors import MerError


def weights_folder() -> Path:
    """``MER_WEIGHTS``, else the folder in which torch.hub keeps its files (``TORCH_HOME`` moves that one)."""
    own = os.environ.get("MER_WEIGHTS")
    return Path(own).expanduser() if own else Path(torch.hub.get_dir()) / "checkpoints"


def read_weights(url: str, file_name: str) -> dict[str, Tensor]:
    """The tensors of a weight file in :func:`weights_folder`, downloaded if it is not there.

    ``MER_OFFLINE=1`` forbids the download, without a try. A download is checked against the start of its
    sha256 where the file's name has it, as torchvision's names do. No code of a file is run.

    Args:
        url: where the file is published.
        file_name: its name in the folder; ``.pth`` (a state dict) or ``.safetensors``.

    Raises:
        MerError: the file is not there and cannot be had, naming what to put where; or it cannot be read.
    """
    path = weights_folder() / file_name
    if not path.is_file():
        _download(url, path)
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            found = load_file(path)
        else:
            found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise MerError(
            f"{path}: no weights that can be read without running code ({reason}); replace it by {url}"
        ) from error
    if not (isinstance(found, dict) and all(isinstance(value, Tensor) for value in found.values())):
        raise MerError(f"{path}: not a plain state dict; replace it by {url}")
    return found


def _download(url: str, path: Path) -> None:
    if os.environ.get("MER_OFFLINE", "0") not in ("", "0"):
        raise MerError(f"{path}: no such weight file, and MER_OFFLINE forbids the download: put {url} there")
    name, _, digest = path.stem.rpartition("-")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Written under another name and moved when it is whole and its hash is right.
        torch.hub.download_url_to_file(url, str(path), hash_prefix=digest if name else None)
    except (OSError, RuntimeError) as error:
        raise MerError(
            f"{path}: no such weight file, and the download failed ({error}): put {url} there"
        ) from error
