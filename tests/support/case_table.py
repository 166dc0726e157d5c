"""The table of cases; `tests/support/case_rows.py` explains its columns."""

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from tests.support.case_rows import (
    GRADIENTS,
    LAYERS,
    Case,
    fc,
    liven,
    output,
    sigmoid,
    two_sided,
)

PROBABILITIES = ("probabilities",)
SIGMOID = ("probabilities", "sigmoid_logits")
ONE = ("one_logit", "probabilities")
TWO = ("negative", "positive")
TEN = tuple("abcdefghij")
SAME_PICTURE = r"different scores|same (picture|image)|other images in its batch"


def first_logit(network: nn.Module, images: Tensor) -> Tensor:
    """The score of fully convolutional networks: the mean over all places."""
    return network(images).mean((2, 3))


def of_temperature(network: nn.Module, images: Tensor) -> Tensor:
    """The logits of `tempered`, divided by the temperature."""
    return fc(network, images) / network.t


def from_key(network: nn.Module, images: Tensor) -> Tensor:
    """The scores of a network that returns a dictionary."""
    scores: Tensor = network(images)["logits"]
    return scores


def logarithm(network: nn.Module, images: Tensor) -> Tensor:
    """The logits, up to a constant, of a network that returns probabilities and whose layers cannot be watched."""
    return output(network, images).log()


def exponential(network: nn.Module, images: Tensor) -> Tensor:
    """The probabilities of a network that returns their logarithms."""
    return output(network, images).exp()


def random_head(network: nn.Module) -> nn.Module:
    """Gives the head of a vision transformer, which is zero, random weights."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        nn.init.normal_(network.heads.head.weight)
    return network


def to_old_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state dict of a vision transformer as old files have it: older names, and no version."""
    names = {".mlp.0.": ".mlp.linear_1.", ".mlp.3.": ".mlp.linear_2."}
    renamed = {}
    for name, value in state.items():
        for new, old in names.items():
            name = name.replace(new, old)
        renamed[name] = value
    return renamed


def materialize(network: nn.Module) -> nn.Module:
    """Runs a lazy network once, which creates its weights."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        network(torch.rand(2, 3, 32, 32))
    return network


def one_logit(name: str, *, declared: bool = False, lively: bool = True, **arguments: Any) -> Case:
    """A row of a network with one logit."""
    return Case(
        name,
        "one_logit",
        arguments,
        liven if lively else None,
        classes=TWO,
        release={"output": {"kind": "one_logit"}} if declared else {},
        score=partial(two_sided, fc),
        probability=partial(sigmoid, partial(two_sided, fc)),
        meaning=ONE,
        layers=("body",),
        cam=("body",),
    )


def of_softmax(name: str, build: str, classes: tuple[str, ...] = ("a", "b", "c"), **changes: Any) -> Case:
    """A row of a network that ends in a softmax."""
    columns = {"score": fc, "probability": output, "centered": True, "meaning": PROBABILITIES, **changes}
    return Case(name, build, classes=classes, **columns)


def plain(name: str, *layers: str, **changes: Any) -> Case:
    """A row of a network that returns logits; Grad-CAM is that of the last layer."""
    return Case(name, layers=layers, cam=layers[-1:], **changes)


def of_file(name: str, **changes: Any) -> Case:
    """A row of a weights file for `plain`."""
    return Case(name, "plain", file=name, layers=("body.2",), cam=("body.3",), **changes)


OUTPUTS = [
    one_logit("one_logit", lively=False),
    one_logit("one_logit_lively"),
    one_logit("one_logit_declared", declared=True),
    one_logit("one_logit_squeezed", squeeze=True),
    one_logit("one_logit_sigmoid", sigmoid=True),
    Case("multi_label", score=fc, probability=output, meaning=SIGMOID, layers=("body",), cam=("body",)),
    Case(
        "multi_label_lively", "multi_label", change=liven, score=fc, probability=output, meaning=SIGMOID,
        layers=("body",), cam=("body",),
    ),
    Case(
        "multi_label_declared", "plain", release={"output": {"kind": "sigmoid_logits"}},
        probability=partial(sigmoid, output), meaning=("sigmoid_logits",), layers=("body",), cam=("body",),
    ),
    of_softmax("sure_softmax", "sure_softmax", TEN),
    of_softmax("sure_softmax_lively", "sure_softmax", TEN, change=liven, cam=("body",)),
    of_softmax("hand_softmax", "hand_softmax"),
    of_softmax("hand_softmax_lively", "hand_softmax", change=liven),
    of_softmax("softmax_4d", "softmax_4d"),
    of_softmax("softmax_4d_lively", "softmax_4d", change=liven, cam=("body",)),
    of_softmax("scripted_softmax", "scripted_softmax", optional=LAYERS, score=logarithm),
    of_softmax("scripted_softmax_lively", "scripted_softmax", change=liven, optional=LAYERS, score=logarithm),
    Case(
        "tempered", score=of_temperature, probability=output, meaning=PROBABILITIES, layers=("body",), cam=("body",)
    ),
    Case(
        "log_softmax_out", score=fc, probability=exponential, centered=True,
        meaning=("log_probabilities",), layers=("body",),
    ),
    Case("two_heads", score=fc, probability=output, classes=("red", "blue", "round", "square"), meaning=()),
    Case(
        "two_heads_lively", "two_heads", change=liven, probability=output,
        classes=("red", "blue", "round", "square"), meaning=(), layers=("body",),
    ),
    Case("features_first", release={"score_layer": "fc"}, score=fc, layers=("body",), cam=("body",)),
    Case(
        "features_first_selected", "features_first", release={"output": {"select": 1}}, score=fc,
        layers=("body",), cam=("body",),
    ),
    Case("features_first_detected", "features_first", score=fc, layers=("body",), cam=("body",)),
    Case("hf_output", score=from_key, layers=("body",), cam=("body",)),
    plain("attention_pool", "body"),
    plain("gated_logits", "body"),
    plain("relu_then_mm", "body"),
    plain("relu_then_product", "body"),
    Case("fully_conv", score=first_logit, note="mean|average", layers=("body",), cam=("body",)),
    Case(
        "program_softmax", "sure_softmax", file="program_softmax", classes=TEN, release={"architecture": "program"},
        score=fc, probability=output, centered=True, meaning=PROBABILITIES, optional=LAYERS,
    ),
    Case(
        "program_of_one", "plain", file="program_of_one", release={"architecture": "program"},
        refused="dynamic batch",
    ),
]  # fmt: skip

FORWARDS = [
    plain("lenet_view", "c1", "c2"),
    plain("shuffle_view", "c1", "c2"),
    plain("inplace_norm", "body.0", "body.3"),
    plain("plain", "body.0", "body.2", "body.3"),
    Case("plain_k", classes=tuple("abcdefgh"), layers=("body",), cam=("body",)),
    plain("divisible", "body"),
    plain("squeezing", "body"),
    plain("plain_tensor_attr", "body.0", "body"),
    plain("float32_only", "body"),
    plain("at_most_four", "body"),
    plain("fixed_fc", "body"),
    plain("hswish_inplace", "conv"),
    plain("clamp_relus", "a", "b"),
    plain("mixed_activations", "c1", "c3"),
    plain("per_image_std", "body", note="constant|flat|finite|blank|black|uniform"),
    plain("negative_evidence", "body.3"),
    plain("half", "body.0", "body.2"),
    Case("half_bfloat16", "half", {"dtype": "bfloat16"}, layers=("body.2",), cam=("body",)),
    plain("four_channels", "c", channels=4),
    plain("grey", "c", channels=1),
    plain("unpadded", "conv1", "conv3", size=(180, 320)),
    plain("strip", "conv1", "conv2", size=(64, 256)),
    Case(
        "channels_equal_classes", classes=tuple("abcdefgh"), layers=("conv1", "conv2"), cam=("r2", "conv2"),
        cam_default=True,
    ),
    Case("left_minus_right", missing=frozenset({"grad_cam", "activations", "filters", "guided"})),
    Case("numpy_random_features", is_random=True, missing=frozenset({"grad_cam", "filters", "guided"}),
         optional=frozenset({"activations"})),
    Case("numpy_random_features_again", "numpy_random_features", is_random=True,
         missing=frozenset({"grad_cam", "filters", "guided"}), optional=frozenset({"activations"})),
    Case("sqrt_grad", layers=("c",), cam=("c",), optional=frozenset({"class_model"})),
    Case("lazy", change=materialize, layers=("c",), cam=("c",), may_refuse=True),
    Case("tiny_vit", change=random_head, rename=to_old_names, size=(64, 64),
         layers=("encoder.layers.encoder_layer_0.mlp",), missing=frozenset({"guided"})),
    plain("checkpointed", "body", optional=GRADIENTS),
    plain("checkpointed_new", "body", optional=GRADIENTS),
    plain("no_grad_backbone", "body", missing=GRADIENTS),
    plain("inference_mode_stem", "body", missing=GRADIENTS),
    Case("batch_of_one", refused="batch|several|one (picture|image)"),
    Case("takes_nhwc", refused="channels|shape|dimension"),
    Case("retaining_hook", refused="retain_grad|hook"),
    Case("leaky_dropout", refused=SAME_PICTURE),
    Case("bn_no_stats", refused=SAME_PICTURE),
    Case("bn_no_stats_relu", "bn_no_stats", {"relu_between": True}, refused=SAME_PICTURE),
]  # fmt: skip

PREPARATIONS = [
    plain("spectral_bn", "c", "bn"),
    plain("weight_norm_bn", "c", "bn"),
    plain("weight_norm_only", "c"),
    plain("parametrized_bn", "c", "bn"),
    Case("conv_bn", layers=("conv1", "bn", "conv2"), cam=("conv1",)),
    plain("shared_conv", "c1", "bn"),
    plain("aliased_conv", "c", "bn"),
    plain("weight_used_twice", "c", "bn"),
    plain("bn_not_affine", "c", "bn"),
    plain("reads_bn", "c", "bn"),
    plain("named_module", "module.body.0", "module.body"),
    plain("named_aux1", "aux1"),
]

FILES = [
    of_file("weights_namespace", may_refuse=True),
    of_file("weights_numpy_scalar", may_refuse=True),
    of_file("weights_whole_model", refused="state_dict|state dict"),
    of_file("weights_ema_beside", note="(?i)ema"),
    of_file("weights_ema_alone"),
    of_file("weights_prefixed"),
    of_file("weights_extras", note="criterion.pos_weight"),
    of_file("weights_averaged"),
]

TWIN_CASES = [
    of_softmax("softmax_behind_weight_norm", "", pictures=8, score=logarithm),
    plain("pruned", "c1", "bn"),
    plain("hooked", "c1", "bn"),
    plain("shared_norm", "c1", "c2"),
    Case("hand_sigmoid", score=fc, probability=output, meaning=SIGMOID, layers=("c2",), cam=("c2",)),
    Case("expit", score=fc, probability=output, meaning=SIGMOID, layers=("c2",), cam=("c2",)),
    of_softmax("exp_of_log_softmax", ""),
    Case("averaged", score=output, probability=output, meaning=(), layers=("c2",)),
    Case("listed", score=fc, layers=("c2",), cam=("c2",)),
    Case("keyed", release={"output": {"select": "answer"}}, score=fc, layers=("c2",), cam=("c2",)),
    Case(
        "one_logit_of_four_axes", classes=TWO, score=partial(two_sided, fc), meaning=ONE,
        probability=partial(sigmoid, partial(two_sided, fc)), layers=("c2",), cam=("c2",),
    ),
    Case("counting", refused=SAME_PICTURE),
    Case("alpha_dropout", refused=SAME_PICTURE),
    Case("batch_mean", refused=SAME_PICTURE),
    plain("writes_into_input", "c1", "c2"),
    plain("in_place_activations", "c1", "c2"),
    plain("tokens", "c1", "c2"),
    Case("flat_input", missing=frozenset({"grad_cam", "filters"}), optional=frozenset({"activations"})),
    plain("numpy_inside", "c2", missing=GRADIENTS),
    plain("brightness", "c2", note="black"),
    Case("nan_gradient", layers=("c2",), may_be_nan=True, optional=GRADIENTS),
    plain("double", "c2"),
]  # fmt: skip

CASES = [*OUTPUTS, *FORWARDS, *PREPARATIONS, *FILES, *TWIN_CASES]
ACCEPTED = [case for case in CASES if not case.refused]
