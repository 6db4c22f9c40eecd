"""A residual convolutional network that keeps height and width: the conditioner of an image flow."""

from torch import Tensor, nn


class ResidualBlock(nn.Module):
    """x + conv(act(norm(conv(act(norm(x)))))), pre-activation. (He et al. 2016, arXiv 1603.05027, figure 1b)"""

    def __init__(self, maps: int, dropout: float = 0.0):
        super().__init__()
        self.body = nn.Sequential(
            nn.GroupNorm(1, maps),
            nn.ReLU(),
            nn.Conv2d(maps, maps, 3, padding=1),
            nn.GroupNorm(1, maps),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Conv2d(maps, maps, 3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class ResNet(nn.Sequential):
    """A 3 x 3 convolution, residual blocks, a 1 x 1 convolution: (B, inputs, H, W) to (B, outputs, H, W).

    Every normalisation is over one example (one group), so nothing depends on the rest of the batch.

    Args:
        inputs: channels in.
        outputs: channels out.
        maps: feature maps between.
        blocks: residual blocks.
        dropout: probability of dropping a feature inside a block.
    """

    def __init__(self, inputs: int, outputs: int, maps: int = 64, blocks: int = 8, dropout: float = 0.0):
        super().__init__(
            nn.Conv2d(inputs, maps, 3, padding=1),
            *(ResidualBlock(maps, dropout) for _ in range(blocks)),
            nn.GroupNorm(1, maps),
            nn.ReLU(),
            nn.Conv2d(maps, outputs, 1),
        )
