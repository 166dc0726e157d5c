"""Architecture of `shapes`: six convolutions, about 250,000 weights, for inputs of at least 64 pixels."""

from torch import Tensor, nn

WIDTHS = (24, 48, 64, 96, 96, 80)
STRIDES = (2, 2, 1, 2, 1, 2)


class ShapesNetwork(nn.Module):
    """A convolutional classifier with global average pooling and a linear layer.

    Args:
        classes: Number of classes.
    """

    def __init__(self, classes: int = 12) -> None:
        super().__init__()
        inputs = (3, *WIDTHS[:-1])
        self.features = nn.Sequential(*(_block(*sizes) for sizes in zip(inputs, WIDTHS, STRIDES, strict=True)))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(WIDTHS[-1], classes)

    def forward(self, images: Tensor) -> Tensor:
        """Scores (N, classes) of images (N, 3, H, W)."""
        cells = self.features(images)  # (N, 80, h, w)
        scores: Tensor = self.classifier(self.pool(cells).flatten(1))  # (N, classes)
        return scores


def _block(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, kernel_size=3, stride=stride, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))
