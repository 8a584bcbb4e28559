"""The state of a :class:`FoldEnsemble` between two epochs: plain tensors, fold by fold, for a checkpoint."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mer.tasks.fold_ensemble import FoldEnsemble


def read_state(ensemble: FoldEnsemble) -> dict[str, Any]:
    """What the next epochs depend on and what was kept; the first dimension of every tensor is the folds.

    ``torch.load`` reads it with ``weights_only``.
    """
    scheduler = ensemble.scheduler
    options = ensemble.optimizer.state_dict()["param_groups"][0]
    return {
        "epochs_done": ensemble.epochs_done,
        "weights": ensemble.weights,
        "statistics": ensemble.statistics,
        "optimizer": _optimizer_state(ensemble),
        "options": {name: value for name, value in options.items() if name != "params"},
        "scheduler": scheduler.state_dict() if scheduler is not None else None,
        "history": {name: torch.stack(values, dim=1) for name, values in ensemble.history.items()},
        "predictions": torch.stack(ensemble.predictions, dim=1) if ensemble.predictions else None,
        "random": _random_state(ensemble.pixels.device),
    }


def restore_state(ensemble: FoldEnsemble, state: dict[str, Any], folds: Sequence[int]) -> None:
    """Bring an ensemble to a state that was read of one with these folds and perhaps others.

    Args:
        ensemble: of the same network and optimizer.
        state: of :func:`read_state`.
        folds: where each fold of the ensemble stands in the state.

    Raises:
        KeyError, RuntimeError: a state of another network or optimizer.
    """
    index = torch.tensor(folds)
    for ours, theirs in ((ensemble.weights, "weights"), (ensemble.statistics, "statistics")):
        for name, tensor in ours.items():
            tensor.copy_(state[theirs][name][index])
    saved = ensemble.optimizer.state_dict()
    saved["param_groups"][0].update(state["options"])
    saved["state"] = {}
    for k, (name, group) in enumerate(_parts(ensemble)):
        found = state["optimizer"].get(name, {})
        values = {key: value[index][group] for key, value in found.items()}
        # One count of steps serves a group, whose folds step together.
        saved["state"][k] = {
            key.removeprefix("each "): value[0] if key.startswith("each ") else value
            for key, value in values.items()
        }
    ensemble.optimizer.load_state_dict(saved)
    if ensemble.scheduler is not None:
        ensemble.scheduler.load_state_dict(state["scheduler"])
    ensemble.epochs_done = state["epochs_done"]
    device = ensemble.pixels.device
    ensemble.history = {
        name: list(values[index].to(device).unbind(dim=1)) for name, values in state["history"].items()
    }
    if state["predictions"] is not None:
        ensemble.predictions = list(state["predictions"][index].to(device).unbind(dim=1))
    _set_random_state(device, state["random"])


def _parts(ensemble: FoldEnsemble) -> list[tuple[str, slice]]:
    """Name and folds of each parameter, in the optimizer's order."""
    return [(name, group) for group in ensemble.groups for name in ensemble.trainable]


def _optimizer_state(ensemble: FoldEnsemble) -> dict[str, dict[str, Tensor]]:
    """Weight -> state -> (K, ...); "each " is before the name of one that all elements of a fold share."""
    state = ensemble.optimizer.state_dict()["state"]
    pieces: dict[str, dict[str, list[Tensor]]] = {}
    for k, (name, group) in enumerate(_parts(ensemble)):
        for key, value in state.get(k, {}).items():
            if value is None:  # of an SGD without momentum
                continue
            if value.ndim == 0:
                key, value = f"each {key}", value.expand(group.stop - group.start)
            pieces.setdefault(name, {}).setdefault(key, []).append(value)
    return {name: {key: torch.cat(values) for key, values in found.items()} for name, found in pieces.items()}


def _random_state(device: torch.device) -> Tensor:
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()


def _set_random_state(device: torch.device, state: Tensor) -> None:
    if device.type == "cuda":
        torch.cuda.set_rng_state(state, device)
    else:
        torch.set_rng_state(state)
