"""Weights of a trained fold: a safetensors file in its folder, and a start for the folds of another run."""

import json
from collections.abc import Iterable
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from mer import runs
from mer.atomic import write_atomically
from mer.errors import MerError

FILE = "weights.safetensors"


def save_weights(folder: Path, network: nn.Module, trained_on: Iterable[str]) -> None:
    """Write ``weights.safetensors`` into a fold's folder.

    Args:
        folder: of the fold.
        network: its parameters and buffers are written.
        trained_on: ``<database>/<subject>`` of every clip that was trained or validated on; it is kept in
            the file, so that nobody who was trained on is ever tested.
    """
    state = {name: tensor.detach().contiguous() for name, tensor in network.state_dict().items()}
    metadata = {"trained_on": json.dumps(sorted(set(trained_on)))}
    write_atomically(folder / FILE, lambda scratch: save_file(state, scratch, metadata))


def find_weights(run: Path, fold: str) -> Path:
    """The weights of a run that a fold starts from: of the fold of the same name, else of its only fold.

    Raises:
        MerError: no such run, no weights in it, or several folds of other names.
    """
    same = runs.fold_folder(run, fold) / FILE
    if same.is_file():
        return same
    found = sorted(run.glob(f"fold-*/{FILE}"))
    if not found:
        raise MerError(f"init={run}: no fold with {FILE} in this run folder; train it with save_weights=true")
    if len(found) > 1:
        raise MerError(
            f"init={run}: {len(found)} folds have weights, but none is {fold}; name a run of one fold"
        )
    return found[0]


def load_weights(path: Path, network: nn.Module, tested: Iterable[str]) -> None:
    """Start a network from saved weights.

    Args:
        path: see :func:`find_weights`.
        network: of the same constructor arguments.
        tested: ``<database>/<subject>`` of the clips that will be tested.

    Raises:
        MerError: another network or class count, naming keys and shapes; a damaged file; or a subject that
            the weights were trained on and that will be tested.
    """
    try:
        with safe_open(path, framework="pt") as file:
            trained_on = json.loads((file.metadata() or {})["trained_on"])
            state: dict[str, Tensor] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise MerError(f"{path}: no weights that `mer train save_weights=true` wrote ({error})") from error
    if leaked := sorted(set(trained_on) & set(tested)):
        raise MerError(f"leak: {path} was trained on subject {leaked[0]}, which this fold tests")
    wanted = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in state.items()}
    different = [
        f"{name} {found.get(name, 'missing')}, not {wanted.get(name, 'there')}"
        for name in sorted(wanted.keys() | found.keys())
        if wanted.get(name) != found.get(name)
    ]
    if different:
        shown = "; ".join(different[:4]) + (f"; and {len(different) - 4} more" if len(different) > 4 else "")
        raise MerError(f"{path}: weights of another network or class count: {shown}")
    with torch.no_grad():
        network.load_state_dict(state)
