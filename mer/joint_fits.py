"""Which runs can share a fit: the same images, a recipe that agrees, and networks of one structure.

One network stands for all folds of a fit, so it is not enough that weights have equal shapes: a padding or
a rate of dropout is no weight. Whatever is not known to be equal keeps two runs apart.
"""

import sys
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import partial
from itertools import count
from typing import Any

import torch
from torch import nn

from mer.fold import build_network, fold_data, open_encoded
from mer.job import RunFold

_PLAIN = (type(None), bool, int, float, complex, str, bytes, torch.dtype, torch.Size, torch.device, Enum)
_other = count()


def group_folds(folds: Iterable[RunFold]) -> list[list[RunFold]]:
    """The folds by the fit that they can share, those of one run always together.

    A run's seed, split, labels, order of batches and start may be others; so may the initial values of its
    weights. Class weights, where they are asked for, are each fold's own.
    """
    runs: dict[int, list[RunFold]] = {}
    for fold in folds:
        runs.setdefault(id(fold.job), []).append(fold)
    if len(runs) == 1:
        return list(runs.values())
    fits: dict[str, list[RunFold]] = {}
    for members in runs.values():
        fits.setdefault(_fit(members[0]), []).extend(members)
    return list(fits.values())


def _fit(fold: RunFold) -> str:
    """What a fit needs of all its folds, as a text that is equal where they can share one."""
    job, recipe = fold.job, fold.job.recipe
    if job.labels is not None:
        return f"videos {next(_other)}"
    try:
        network = build_network(job, fold_data(job, fold.split, open_encoded(job)))
    except Exception:  # it is told where the fold itself is trained
        return f"no network {next(_other)}"
    if not isinstance(network, nn.Module):
        return f"no network {next(_other)}"
    return _told(
        [
            str(job.encoded.absolute()),
            job.classes,
            *(recipe.task, recipe.optimizer, recipe.scheduler, recipe.epochs, recipe.batch_size),
            *(recipe.class_weights, recipe.augment, recipe.store),
            structure(network),
        ]
    )


def structure(network: nn.Module) -> str:
    """All of a network but the values of its weights and buffers: equal texts are equal structures."""
    first: dict[int, str] = {}  # of weights that have several names
    tied = [
        first.setdefault(id(weight), name)
        for name, weight in network.named_parameters(remove_duplicate=False)
    ]
    parts: list[Any] = [tied]
    for name, module in network.named_modules(remove_duplicate=False):
        own = {key: value for key, value in vars(module).items() if key not in _REGISTERED}
        tensors = [
            (key, None if tensor is None else (tensor.shape, tensor.dtype, tensor.requires_grad))
            for key, tensor in [*module._parameters.items(), *module._buffers.items()]
        ]
        parts.append([name, type(module), own, tensors])
    return _told(parts)


_REGISTERED = ("_parameters", "_buffers", "_modules")


def _told(value: object) -> str:
    """A text that two values share only if they are equal; what is not known shares it with nothing."""
    if isinstance(value, _PLAIN):
        return f"{type(value).__name__} {value!r}"
    if isinstance(value, partial):
        return _told(["partial", value.func, value.args, value.keywords])
    if isinstance(value, Mapping):
        return "{" + ", ".join(sorted(f"{_told(key)}: {_told(each)}" for key, each in value.items())) + "}"
    if isinstance(value, list | tuple):
        return f"{type(value).__name__} [" + ", ".join(map(_told, value)) + "]"
    if isinstance(value, set | frozenset):
        return "{" + ", ".join(sorted(map(_told, value))) + "}"
    if is_dataclass(value) and not isinstance(value, type):
        return _told([type(value), {each.name: getattr(value, each.name) for each in fields(value)}])
    return _importable(value) or f"other {next(_other)}"


def _importable(value: object) -> str:
    """Module and name of a class or function that a module holds under its own name, else empty."""
    module, name = getattr(value, "__module__", None), getattr(value, "__qualname__", "")
    found: object = sys.modules.get(str(module))
    for part in name.split("."):
        found = getattr(found, part, None)
    return f"{module}.{name}" if name and found is value else ""
