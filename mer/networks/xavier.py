"""Initialisation by Glorot and Bengio (2010), which frameworks call Xavier."""

from torch import nn


def fill_xavier(network: nn.Module) -> None:
    """Draw the weights of convolutions and FCs from Xavier's uniform distribution; their biases become 0.

    Recurrent layers and norms keep what they have.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
