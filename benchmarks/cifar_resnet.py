"""The CIFAR ResNets of He et al. 2015 (arXiv 1512.03385, section 4.2), as an example of a custom architecture."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class Block(nn.Module):
    """A residual block: two 3×3 convolutions and a shortcut without parameters."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.stride, self.grown = stride, outputs - inputs

    def forward(self, x: Tensor) -> Tensor:
        """Maps features `(N, inputs, H, W)` to `(N, outputs, H / stride, W / stride)`."""
        y = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x)))))
        skip = x
        if self.grown:  # option A: every second pixel, padded with channels of zeros
            skip = functional.pad(
                x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.grown // 2, self.grown // 2)
            )
        return functional.relu(y + skip)


class ResNet(nn.Module):
    """Three stages of residual blocks with 16, 32 and 64 channels."""

    def __init__(self, blocks: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = nn.Sequential(*(Block(16, 16, 1) for _ in range(blocks)))
        self.layer2 = nn.Sequential(*(Block(32 if i else 16, 32, 1 if i else 2) for i in range(blocks)))
        self.layer3 = nn.Sequential(*(Block(64 if i else 32, 64, 1 if i else 2) for i in range(blocks)))
        self.linear = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Maps images `(N, 3, H, W)` to scores `(N, 10)`."""
        x = functional.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        scores: Tensor = self.linear(torch.mean(x, (2, 3)))
        return scores


def cifar_resnet(depth: int) -> nn.Module:
    """Returns the network with `depth` = 6n + 2 layers."""
    return ResNet((depth - 2) // 6)
