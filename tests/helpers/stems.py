"""The smallest network around a call: a convolution, and what is made of its map."""

from torch import nn


class Stem(nn.Module):
    """A convolution of stride 2 to eight channels, and a call."""

    def __init__(self, call):
        super().__init__()
        self.conv, self.call = nn.Conv2d(3, 8, 3, stride=2, padding=1), call

    def forward(self, x):
        return self.call(self.conv(x)) * 2
