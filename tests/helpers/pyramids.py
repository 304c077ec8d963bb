"""Networks whose small maps come back to the size of larger ones: a feature pyramid, and one with a gate."""

from torch import nn
from torch.nn import functional as F


class Pyramid(nn.Module):
    """Three halvings, whose maps are enlarged again and added up, each to the one before it."""

    def __init__(self):
        super().__init__()
        self.c1, self.c2, self.c3 = (nn.Conv2d(taken, given, 3, 2, 1) for taken, given in ((3, 8), (8, 16), (16, 64)))
        self.laterals = nn.ModuleList([nn.Conv2d(channels, 8, 1) for channels in (8, 16, 64)])
        self.head = nn.Linear(8, 5)

    def forward(self, x):
        maps = [F.relu(self.c1(x))]
        maps.append(F.relu(self.c2(maps[-1])))
        maps.append(F.relu(self.c3(maps[-1])))
        made = self.laterals[2](maps[2])
        for level in (1, 0):
            made = self.laterals[level](maps[level]) + F.interpolate(made, size=maps[level].shape[2:])
        return self.head(made.mean((2, 3)))


class Gated(nn.Module):
    """Two halvings, between them a gate that is made of a pooled map and enlarged to the map that it multiplies."""

    def __init__(self):
        super().__init__()
        self.c1 = nn.Conv2d(3, 8, 3, 2, 1)
        self.gate = nn.Sequential(nn.AvgPool2d(4), nn.Conv2d(8, 8, 1), nn.Sigmoid())
        self.c2 = nn.Conv2d(8, 16, 3, 2, 1)
        self.head = nn.Linear(16, 5)

    def forward(self, x):
        x = self.c1(x)
        x = x * F.interpolate(self.gate(x), size=x.shape[2:])
        return self.head(self.c2(x).mean((2, 3)))
