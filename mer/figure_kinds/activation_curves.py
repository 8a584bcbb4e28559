"""OrigiNet's figure 3: the refined ReLU beside the activations of its table I, and their derivatives."""

from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray

from mer.networks.refined_relu import ACTIVATIONS, SLOPE, derivative
from mer.plots import DPI

RANGE = 5.0
# Lines as the paper's text describes them.
STYLES: dict[str, dict[str, Any]] = {
    "sigmoid": {"color": "tab:blue", "linestyle": "-."},
    "tanh": {"color": "tab:orange", "linestyle": ":", "marker": "o"},
    "relu": {"color": "tab:brown", "linestyle": "--", "marker": "*"},
    "leaky": {"color": "tab:purple", "linestyle": "--", "marker": "+"},
    "elu": {"color": "tab:green", "linestyle": "--", "marker": "o"},
    "refined": {"color": "darkred", "linestyle": "-", "linewidth": 2.2},
}
NAMES = {
    "sigmoid": "sigmoid",
    "tanh": "tanh",
    "relu": "ReLU",
    "leaky": f"leaky ReLU, {SLOPE}",
    "elu": f"ELU, {SLOPE}",
    "refined": "refined ReLU (eq 4)",
}


def curves(points: int = 501) -> tuple[NDArray[np.float64], dict[str, list[NDArray[np.float64]]]]:
    """x from -5 to 5; by name of the activation its values there, and its derivative by autograd."""
    x = torch.linspace(-RANGE, RANGE, points, dtype=torch.float64)
    found: dict[str, list[NDArray[np.float64]]] = {}
    for name, make in ACTIVATIONS.items():
        activation = make()
        found[str(name)] = [activation(x).numpy(), derivative(activation)(x).numpy()]
    return x.numpy(), found


def draw(title: str) -> Figure:
    """The curves at the left, their derivatives at the right: 1200 x 560 pixels."""
    x, found = curves()
    figure = Figure(figsize=(1200 / DPI, 560 / DPI), dpi=DPI)
    for place, (left, what) in enumerate(((0.06, "f(x)"), (0.555, "f'(x)"))):
        axes = figure.add_axes((left, 0.12, 0.43, 0.72))
        axes.axhline(0, color="0.8", linewidth=0.8)
        axes.axvline(0, color="0.8", linewidth=0.8)
        for name, style in STYLES.items():
            more = {"markevery": 50, "markersize": 5} if "marker" in style else {}
            given: dict[str, Any] = {"linewidth": 1.3, **style, **more}
            axes.plot(x, found[name][place], label=NAMES[name], zorder=3 if name == "refined" else 2, **given)
        axes.set_xlim(-RANGE, RANGE)
        axes.set_ylim((-1.4, 4.2) if place == 0 else (-0.15, 1.45))
        axes.set_title(what, fontsize=9)
        axes.set_xlabel("x", fontsize=8)
        axes.tick_params(labelsize=7.5)
        axes.spines[["top", "right"]].set_visible(False)
        if place == 0:
            axes.legend(fontsize=7.5, loc="upper left", frameon=False)
    figure.text(0.5, 0.97, title, ha="center", va="top", fontsize=9.5, parse_math=False)
    return figure
