"""Presets of the method `class_model`. Each one but `default` reproduces the paper or library that it is named after.

`tests/unit/worker/optimization/test_presets.py` compares each preset with a slow, literal version of its source.
"""

from typing import Any, Literal

Preset = Literal[
    "default",
    "simonyan2013",
    "torchbearer",
    "pytorch_cnn_visualizations",
    "pytorch_cnn_visualizations_l1",
    "pytorch_cnn_visualizations_l2",
    "pytorch_cnn_visualizations_blurred",
    "timm_vis",
    "keras_vis",
    "lucid",
    "maco",
]

PLAIN: dict[str, Any] = {
    "objective": [{"kind": "score"}],
    "momentum": 0.0,
    "schedule": None,
    "origin": "mean",
    "unit": "one",
    "eight_bits": False,
    "canvas": None,
    "octaves": 1,
    "octave_scale": 1.4,
    "transforms": [],
    "views": 1,
    "relu_leak": 0.0,
    "pool_spread": 0.0,
    "start_scale": 0.01,
    "regularizers": [],
    "keep": "last",
    "stop_probability": None,
    "stop_plateau": None,
    "check_every": 10,
}
"""Values that most presets share: no transforms, no regularizers, no early stopping."""

DEFAULT: dict[str, Any] = PLAIN | {
    "steps": 128,
    "image": "fourier",
    "start": "noise",
    "optimizer": "adam",
    "learning_rate": 0.05,
    "transforms": [{"kind": "window", "scale": [0.6, 1.6], "rotation": 10, "resolution": 5 / 7}],
    "relu_leak": 0.1,
    "pool_spread": 0.5,
    "regularizers": [{"kind": "l2", "weight": 0.0005}, {"kind": "feature_statistics", "weight": 10}],
}

SIMONYAN: dict[str, Any] = PLAIN | {
    # The paper gives neither λ nor the step size nor the number of steps, which depend on the size of a network's
    # gradients. These values are for ImageNet networks at 224 px; small networks need about a hundred times the rate.
    "steps": 200,
    "image": "pixels",
    "start": "zero",
    "optimizer": "sgd",
    "learning_rate": 0.02,
    "regularizers": [{"kind": "l2", "weight": 0.1}],
}

TORCHBEARER: dict[str, Any] = PLAIN | {
    "steps": 256,
    "image": "bounded",
    "start": "zero",
    "optimizer": "adam",
    "learning_rate": 0.5,
    "regularizers": [{"kind": "l2", "weight": 0.01}],
}

CNN_VISUALIZATIONS: dict[str, Any] = PLAIN | {
    "steps": 149,  # its range(1, 150)
    "image": "pixels",
    "unit": "std",
    "eight_bits": True,
    "start": "uniform",
    "start_scale": 1.0,
    "optimizer": "sgd",
    "learning_rate": 6.0,
}

DECAY = {"kind": "l2", "weight": 0.5e-4}
"""Same gradient as a weight decay of 1e-4 in torch, which is the gradient of half as much squared L2 norm."""

TIMM_VIS: dict[str, Any] = PLAIN | {
    "steps": 500,
    "image": "pixels",
    "unit": "std",
    "start": "noise",
    "start_scale": 1.0,
    "optimizer": "sgd",
    "learning_rate": 10.0,
    "schedule": {"kind": "staircase", "every": 100, "factor": 0.6},
    "regularizers": [{"kind": "l2", "weight": 0.025}],
    "stop_probability": 0.9,
    "check_every": 1,
}

KERAS_VIS: dict[str, Any] = PLAIN | {
    "steps": 200,
    "image": "pixels",
    "origin": "black",
    "unit": "level",
    "start": "uniform",
    "start_scale": 0.05 * 12**0.5,  # uniform noise of this width has a standard deviation of 0.05
    "optimizer": "rmsprop",
    "learning_rate": 1.0,
    "regularizers": [
        {"kind": "lp", "p": 6, "weight": 10, "per_pixel": True},
        {"kind": "total_variation", "beta": 2, "weight": 10, "per_pixel": True},
    ],
    "keep": "best",
    "check_every": 1,
}

LUCID: dict[str, Any] = PLAIN | {
    "steps": 512,
    "image": "fourier",
    "start": "noise",
    "canvas": [128, 128],
    "optimizer": "adam",
    "learning_rate": 0.05,
    "transforms": [
        {"kind": "pad", "pixels": 12, "fill": 0.5},
        {"kind": "jitter", "pixels": 8},
        {"kind": "scale", "factors": [1 + step / 50 for step in range(-5, 6)]},
        {"kind": "rotate", "degrees": [*range(-10, 11), 0, 0, 0, 0, 0]},
        {"kind": "jitter", "pixels": 4},
    ],
}

MACO: dict[str, Any] = PLAIN | {
    "steps": 1000,
    "image": "maco",
    "start": "noise",
    "start_scale": 1.0,
    "canvas": [1280, 1280],
    "optimizer": "nadam",
    "learning_rate": 1.0,
    "transforms": [{"kind": "box", "side": [0.25, 0.3], "noise": 0.05}],
    "views": 6,
}

PRESETS: dict[str, dict[str, Any]] = {
    "default": DEFAULT,
    "simonyan2013": SIMONYAN,
    "torchbearer": TORCHBEARER,
    "pytorch_cnn_visualizations": CNN_VISUALIZATIONS,
    "pytorch_cnn_visualizations_l1": CNN_VISUALIZATIONS | {"regularizers": [{"kind": "l1", "weight": 1e-4}]},
    "pytorch_cnn_visualizations_l2": CNN_VISUALIZATIONS | {"regularizers": [DECAY]},
    "pytorch_cnn_visualizations_blurred": CNN_VISUALIZATIONS
    | {"regularizers": [DECAY, {"kind": "blur", "every": 4, "radius": 1}]},
    "timm_vis": TIMM_VIS,
    "keras_vis": KERAS_VIS,
    "lucid": LUCID,
    "maco": MACO,
}
