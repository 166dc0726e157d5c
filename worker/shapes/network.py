"""The architecture of `shapes`: six convolutions, about 250,000 weights, any input from 64 px up."""

from torch import Tensor, nn

WIDTHS = (24, 48, 64, 96, 96, 80)
STRIDES = (2, 2, 1, 2, 1, 2)


class ShapesNetwork(nn.Module):
    """A plain convolutional classifier; its scores are the mean over cells of a linear read-out.

    Args:
        classes: Number of classes.
    """

    def __init__(self, classes: int = 12) -> None:
        super().__init__()
        inputs = (3, *WIDTHS[:-1])
        self.features = nn.Sequential(*(_block(*sizes) for sizes in zip(inputs, WIDTHS, STRIDES, strict=True)))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(WIDTHS[-1], classes)

    def forward(self, pictures: Tensor) -> Tensor:
        cells = self.features(pictures)  # (N, 80, h, w)
        scores: Tensor = self.classifier(self.pool(cells).flatten(1))  # (N, classes)
        return scores


def _block(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, kernel_size=3, stride=stride, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))
