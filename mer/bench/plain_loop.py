"""The reference of ``mer bench loso``: one fold as a script trains it, with a DataLoader of tensors."""

import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset


class ThreeStreams(nn.Module):
    """STSTNet (or with other widths LAENet) as separate streams, in the paper's layout or the release's."""

    def __init__(self, widths: tuple[int, ...] = (3, 5, 8), *, release: bool = False) -> None:
        super().__init__()
        padding = 2 if release else 1
        self.convs = nn.ModuleList(nn.Conv2d(3, width, 3, padding=padding) for width in widths)
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for width in widths)
        self.max_pool = nn.MaxPool2d(3, stride=3, padding=0 if release else 1)
        self.average_pool = nn.AvgPool2d(2, stride=2)
        self.dropout = nn.Dropout(0.5)
        self.fc = nn.Linear(sum(widths) * 25, 3)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, 3) of images (B, 3, 28, 28)."""
        streams = [
            self.dropout(self.max_pool(norm(torch.relu(conv(images)))))
            for conv, norm in zip(self.convs, self.norms, strict=True)
        ]
        logits: Tensor = self.fc(self.average_pool(torch.cat(streams, dim=1)).flatten(1))
        return logits


def train_epochs(
    images: Tensor, targets: Tensor, make: Callable[[], nn.Module], epochs: int, batch_size: int
) -> float:
    """Seconds an epoch of a plain loop: TensorDataset, DataLoader, cross entropy, Adam 5e-5."""
    network = make()
    optimizer = torch.optim.Adam(network.parameters(), lr=5e-5)
    loader = DataLoader(TensorDataset(images, targets), batch_size=batch_size, shuffle=True)
    start = time.perf_counter()
    for _ in range(epochs):
        for image, target in loader:
            optimizer.zero_grad()
            torch.autograd.backward(F.cross_entropy(network(image), target))
            optimizer.step()
    return (time.perf_counter() - start) / epochs
