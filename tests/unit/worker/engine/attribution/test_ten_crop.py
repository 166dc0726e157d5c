"""Ten-crop averaging against a loop over pixels."""

import torch

from worker.engine.attribution.ten_crop import average_ten_crops


def test_each_pixel_of_a_ten_crop_map_is_the_mean_of_the_crops_that_contain_it() -> None:
    frames, targets = torch.rand(2, 3, 8, 10), torch.tensor([0, 1])
    weights = torch.rand(6, 7)

    def map_of(crops: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
        return crops[:, 0] * weights + classes[:, None, None]  # differs for a reflected crop

    result = average_ten_crops(map_of, frames, targets, (6, 7))
    expected, count = torch.zeros(2, 8, 10), torch.zeros(8, 10)
    for top, left in ((0, 0), (0, 3), (2, 0), (2, 3), (1, 1)):
        for row in range(6):
            for column in range(7):
                pixel = frames[:, 0, top + row, left + column]
                expected[:, top + row, left + column] += pixel * weights[row, column] + targets
                expected[:, top + row, left + column] += pixel * weights[row, 6 - column] + targets
                count[top + row, left + column] += 2
    torch.testing.assert_close(result, expected / count)
