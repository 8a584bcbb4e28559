"""What the time-contrasted network remembers of the frames before: a GRU over vectors, or over maps."""

from typing import Literal

import torch
from torch import Tensor, nn

from mer.networks.options import check_choice
from mer.networks.xavier import fill_xavier

Memory = Literal["gru", "convgru", "none"]


class VisualMemory(nn.Module):
    """Maps of each step -> a vector of each step that knows the steps before it, and none after it.

    A 1x1 convolution to ``hidden`` channels, ReLU, then by ``memory``:

    - ``gru`` (the paper's text and figure): flattened, two FC of ``hidden``, ReLU each, a GRU of ``hidden``.
    - ``convgru`` (its training section: "the entire GRU module uses 7x7 convolutions", which contradicts the
      flattening): :class:`ConvGRU` on the maps, whose state is averaged over the map (ours).
    - ``none`` (our ablation): as ``gru``, but an FC of ``hidden`` with ReLU in place of the GRU.

    Xavier outside the GRUs, which keep torch's initialisation.

    Args:
        in_channels: of the maps.
        size: side of the maps.
        hidden: 256 in the paper.
        memory: see above.

    Shape:
        maps (B, T, in_channels, size, size) and a state, None at the start -> vectors (B, T, hidden) and the
        state after the last step: (B, hidden) of ``gru``, (B, hidden, size, size) of ``convgru``, else None.

    Raises:
        MerError: another memory.
    """

    def __init__(self, *, in_channels: int, size: int, hidden: int = 256, memory: Memory = "gru") -> None:
        super().__init__()
        check_choice("memory", memory, Memory)
        self.memory = memory
        self.squeeze = nn.Sequential(nn.Conv2d(in_channels, hidden, 1), nn.ReLU(inplace=True))
        if memory != "convgru":
            self.vector = nn.Sequential(
                nn.Flatten(),
                nn.Linear(hidden * size**2, hidden),
                nn.ReLU(inplace=True),
                nn.Linear(hidden, hidden),
                nn.ReLU(inplace=True),
            )
        if memory == "none":
            self.step = nn.Sequential(nn.Linear(hidden, hidden), nn.ReLU(inplace=True))
        fill_xavier(self)
        if memory == "gru":
            self.gru = nn.GRU(hidden, hidden, batch_first=True)
        elif memory == "convgru":
            self.convgru = ConvGRU(channels=hidden)

    def forward(self, maps: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Vectors (B, T, hidden) of maps (B, T, in_channels, size, size), and the state after them."""
        squeezed = self.squeeze(maps.flatten(0, 1))
        if self.memory == "convgru":
            steps = squeezed.reshape(*maps.shape[:2], -1, *maps.shape[3:])
            states: Tensor = self.convgru(steps, state)
            return states.mean((-2, -1)), states[:, -1]
        vectors: Tensor = self.vector(squeezed).reshape(*maps.shape[:2], -1)
        if self.memory == "none":
            return self.step(vectors), None
        remembered, last = self.gru(vectors, None if state is None else state.unsqueeze(0))
        return remembered, last.squeeze(0)


class ConvGRU(nn.Module):
    """A GRU whose products are convolutions, as in Tokmakov, Alahari and Schmid's visual memory (2017).

    z = sigmoid(x * w_xz + h * w_hz + b_z), r = sigmoid(x * w_xr + h * w_hr + b_r),
    c = tanh(x * w_xc + (r h) * w_hc + b_c), and the new state is (1 - z) h + z c. It starts at 0.

    Args:
        channels: of the input and of the state.
        kernel: side of the filters, odd; 7 in the paper.

    Shape:
        maps (B, T, channels, h, w), a state (B, channels, h, w) or None -> states (B, T, channels, h, w).
    """

    def __init__(self, *, channels: int, kernel: int = 7) -> None:
        super().__init__()
        padding = kernel // 2
        self.channels = channels
        self.input = nn.Conv2d(channels, 3 * channels, kernel, padding=padding)  # of z, r, c
        self.gates = nn.Conv2d(channels, 2 * channels, kernel, padding=padding, bias=False)  # of z, r
        self.candidate = nn.Conv2d(channels, channels, kernel, padding=padding, bias=False)

    def forward(self, maps: Tensor, state: Tensor | None = None) -> Tensor:
        """The state after each step, (B, T, channels, h, w)."""
        inputs = self.input(maps.flatten(0, 1)).reshape(*maps.shape[:2], -1, *maps.shape[3:])
        of_gates, of_candidate = inputs.split([2 * self.channels, self.channels], dim=2)
        state = torch.zeros_like(maps[:, 0]) if state is None else state
        states = []
        for step in range(maps.shape[1]):
            update, reset = (of_gates[:, step] + self.gates(state)).sigmoid().chunk(2, dim=1)
            candidate = (of_candidate[:, step] + self.candidate(reset * state)).tanh()
            state = torch.lerp(state, candidate, update)
            states.append(state)
        return torch.stack(states, dim=1)
