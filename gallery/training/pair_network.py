"""One network of a head in training, in torch: the reference of `matching/dense_network.py`."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gallery.matching.dense_network import DenseNetwork


class PairNetwork(nn.Module):
    """The features of pairs, float32 (n, width), to logits (different, same), (n, 2).

    hidden : units of the hidden layer; 0 for none.
    """

    offset: Tensor
    scale: Tensor

    def __init__(self, width: int, hidden: int, dropout: float) -> None:
        super().__init__()
        # Features are standardised: mean 0 and deviation 1 over the training pairs.
        self.register_buffer("offset", torch.zeros(width))
        self.register_buffer("scale", torch.ones(width))
        if hidden:
            self.dense = nn.Linear(width, hidden)
            self.dropout = nn.Dropout(dropout)
        self.width, self.hidden = width, hidden
        self.out = nn.Linear(hidden or width, 2)

    def forward(self, features: Tensor) -> Tensor:
        x = (features - self.offset).div_(self.scale)
        if self.hidden:
            x = self.dropout(torch.relu_(self.dense(x)))
        logits: Tensor = self.out(x)
        return logits

    def dense_network(self) -> DenseNetwork:
        """Return the network as it is now, for a head; without dropout."""
        arrays = {name: value.numpy().copy() for name, value in self.state_dict().items()}
        return DenseNetwork(arrays, self.width, self.hidden)
