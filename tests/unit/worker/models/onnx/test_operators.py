"""Every operator computes what onnxruntime computes, in every form that networks use."""

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import helper

from tests.support.onnx_models import Array, build_model, floats, numbers
from worker.models.onnx.network import OPERATIONS, OnnxNetwork
from worker.models.onnx.onnx_file import OnnxFile
from worker.models.onnx.operators.call import Unsupported

IMAGES = floats(2, 6, 7, 8)
ROWS = floats(3, 6, seed=1)
POSITIVE = np.abs(ROWS) + 0.5
WEIGHT = floats(4, 3, 3, 2, seed=2)
SCALE, BIAS, MEAN = floats(6, seed=3), floats(6, seed=4), floats(6, seed=5)
VARIANCE = np.abs(floats(6, seed=6)) + 0.1

Case = tuple[str, dict[str, Any], list[Any], int]


def case(operator: str, *inputs: Any, opset: int = 18, **attributes: Any) -> Case:
    return operator, attributes, list(inputs), opset


SIMPLE = "Abs Ceil Cos Erf Exp Floor HardSwish IsNaN Mish Neg Relu Round Sigmoid Sign Sin Softplus Softsign Tanh"
ACTIVATIONS = "Celu Elu HardSigmoid LeakyRelu Selu ThresholdedRelu"
PAIRS = "Add Sub Mul Div Max Min Pow Equal Greater GreaterOrEqual Less LessOrEqual"
REDUCTIONS = "ReduceL1 ReduceL2 ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare"

CASES: list[Case] = [
    *(case(name, ROWS) for name in SIMPLE.split()),
    *(case(name, ROWS) for name in ACTIVATIONS.split()),
    *(case(name, POSITIVE, floats(6, seed=7)) for name in PAIRS.split()),
    case("Add", IMAGES, floats(6, 1, 1)),
    case("Div", numbers(7, -7, 9), numbers(2, 2, -4)),
    case("Mod", numbers(7, -7, 9), numbers(2, 2, -4)),
    case("Mod", ROWS, POSITIVE, fmod=1),
    case("Sum", ROWS, POSITIVE, ROWS),
    case("Mean", ROWS, POSITIVE, ROWS),
    case("Sqrt", POSITIVE),
    case("Log", POSITIVE),
    case("Reciprocal", POSITIVE),
    case("Elu", ROWS, alpha=0.7),
    case("Celu", ROWS, alpha=0.7),
    case("LeakyRelu", ROWS, alpha=0.3),
    case("HardSigmoid", ROWS, alpha=0.3, beta=0.4),
    case("ThresholdedRelu", ROWS, alpha=0.4),
    case("PRelu", IMAGES, floats(6, 1, 1)),
    case("Gelu", ROWS, opset=20),
    case("Gelu", ROWS, opset=20, approximate="tanh"),
    case("Clip", ROWS, np.float32(-0.5), np.float32(0.7)),
    case("Clip", ROWS * 9, np.float32(0), np.float32(6)),
    case("Clip", ROWS, None, np.float32(0.7)),
    case("Clip", ROWS, opset=9, min=-0.5, max=0.7),
    case("Softmax", ROWS),
    case("Softmax", IMAGES, axis=1),
    case("Softmax", IMAGES, axis=1, opset=11),
    case("Softmax", ROWS, opset=11),
    case("LogSoftmax", ROWS, axis=-1),
    case("Not", ROWS > 0),
    case("And", ROWS > 0, POSITIVE > 1),
    case("Or", ROWS > 0, POSITIVE > 1),
    case("Where", ROWS > 0, ROWS, POSITIVE),
    case("Cast", ROWS, to=onnx.TensorProto.INT64),
    case("Cast", ROWS > 0, to=onnx.TensorProto.FLOAT),
    case("CastLike", ROWS, numbers(1)),
    # windows
    case("Conv", IMAGES, floats(4, 6, 3, 3)),
    case("Conv", IMAGES, floats(4, 6, 3, 3), floats(4), pads=[1, 1, 1, 1], strides=[2, 1]),
    case("Conv", IMAGES, floats(4, 3, 3, 2), pads=[0, 1, 2, 1], group=2, dilations=[2, 1]),
    case("Conv", IMAGES, floats(6, 1, 3, 3), group=6, auto_pad="SAME_UPPER", strides=[2, 2]),
    case("Conv", IMAGES, floats(6, 1, 2, 3), group=6, auto_pad="SAME_LOWER", strides=[2, 2]),
    case("Conv", IMAGES, floats(4, 6, 3, 3), auto_pad="VALID"),
    case("Conv", floats(2, 6, 9), floats(4, 6, 3), pads=[1, 1]),
    case("ConvTranspose", IMAGES, floats(6, 4, 3, 3), strides=[2, 2], pads=[1, 1, 1, 1], output_padding=[1, 1]),
    case("MaxPool", IMAGES, kernel_shape=[3, 3], strides=[2, 2]),
    case("MaxPool", IMAGES, kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1),
    case("MaxPool", IMAGES, kernel_shape=[2, 3], pads=[0, 1, 1, 1]),
    case("MaxPool", IMAGES, kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_UPPER"),
    case("MaxPool", IMAGES, kernel_shape=[2, 2], dilations=[2, 2]),
    case("AveragePool", IMAGES, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
    case("AveragePool", IMAGES, kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1),
    case("AveragePool", IMAGES, kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_UPPER"),
    case("AveragePool", IMAGES, kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1),
    case("GlobalAveragePool", IMAGES),
    case("GlobalMaxPool", IMAGES),
    case("Pad", IMAGES, numbers(0, 0, 1, 2, 0, 0, 0, 1), np.float32(0.5)),
    case("Pad", IMAGES, numbers(0, 0, 1, 2, 0, 0, 0, 1), mode="reflect"),
    case("Pad", IMAGES, numbers(0, 0, 1, 2, 0, 0, 0, 1), mode="edge"),
    case("Pad", IMAGES, numbers(1, 2), np.float32(0), numbers(3)),
    case("Pad", IMAGES, opset=9, pads=[0, 0, 1, 2, 0, 0, 0, 1], value=0.5),
    case(
        "Resize",
        IMAGES,
        None,
        np.array([1, 1, 2, 2], np.float32),
        mode="nearest",
        nearest_mode="floor",
        coordinate_transformation_mode="asymmetric",
    ),
    case("Resize", IMAGES, None, None, numbers(2, 6, 11, 5), mode="linear"),
    case(
        "Resize",
        IMAGES,
        None,
        None,
        numbers(2, 6, 11, 5),
        mode="linear",
        coordinate_transformation_mode="align_corners",
    ),
    case("Upsample", IMAGES, np.array([1, 1, 2, 3], np.float32), opset=9, mode="nearest"),
    # arrays
    case("Reshape", IMAGES, numbers(2, -1)),
    case("Reshape", IMAGES, numbers(0, 2, 3, -1)),
    case("Reshape", IMAGES, numbers(2, 6, 56), allowzero=1),
    case("Flatten", IMAGES),
    case("Flatten", IMAGES, axis=2),
    case("Flatten", IMAGES, axis=0),
    case("Transpose", IMAGES),
    case("Transpose", IMAGES, perm=[0, 2, 3, 1]),
    case("Concat", IMAGES, IMAGES[:, :2], axis=1),
    case("Split", IMAGES, numbers(1, 2, 3), axis=1),
    case("Split", IMAGES, opset=11, axis=1, split=[1, 5]),
    case("Split", IMAGES, axis=3, num_outputs=3),
    case("Slice", IMAGES, numbers(1, -3), numbers(99, -1), numbers(2, 3)),
    case("Slice", IMAGES, numbers(-1), numbers(-99), numbers(1), numbers(-2)),
    case("Slice", IMAGES, numbers(0), numbers(7), numbers(2), numbers(3)),
    case("Slice", IMAGES, opset=9, starts=[1], ends=[3], axes=[1]),
    case("Squeeze", floats(2, 1, 3, 1), numbers(1)),
    case("Squeeze", floats(2, 1, 3, 1)),
    case("Squeeze", floats(2, 1, 3, 1), opset=11, axes=[1, 3]),
    case("Unsqueeze", ROWS, numbers(0, -1)),
    case("Unsqueeze", ROWS, opset=11, axes=[1]),
    case("Expand", floats(3, 1), numbers(2, 1, 6)),
    case("Gather", IMAGES, numbers(2, -1), axis=1),
    case("Gather", IMAGES, np.array(1), axis=1),
    case("Gather", IMAGES, np.array([[0, 1], [1, 0]]), axis=2),
    case("GatherElements", ROWS, np.array([[0, -1], [1, 2], [5, 0]]), axis=1),
    case("ScatterND", ROWS, np.array([[0], [2]]), floats(2, 6)),
    case("ScatterND", ROWS, np.array([[0, 1], [2, 3]]), floats(2)),
    case("Shape", IMAGES),
    case("Shape", IMAGES, start=1, end=3),
    case("Size", IMAGES),
    case("ConstantOfShape", numbers(2, 3), value=helper.make_tensor("v", onnx.TensorProto.FLOAT, [1], [0.5])),
    case("ConstantOfShape", numbers(2, 3)),
    case("Range", np.array(2), np.array(9), np.array(3)),
    case("Tile", ROWS, numbers(2, 1)),
    case("DepthToSpace", floats(2, 8, 3, 4), blocksize=2),
    case("DepthToSpace", floats(2, 8, 3, 4), blocksize=2, mode="CRD"),
    case("SpaceToDepth", floats(2, 3, 4, 6), blocksize=2),
    case("Trilu", ROWS),
    case("Trilu", ROWS, np.array(1), upper=0),
    case("Identity", ROWS),
    case("Dropout", ROWS),
    # sums
    case("MatMul", floats(2, 3, 4), floats(2, 4, 5)),
    case("MatMul", ROWS, floats(6, 5)),
    case("Gemm", ROWS, floats(6, 5), floats(5)),
    case("Gemm", ROWS, floats(5, 6), floats(5), transB=1),
    case("Gemm", ROWS, floats(5, 3), floats(1, 1), transA=1, transB=1, alpha=0.5, beta=2.0),
    case("Einsum", ROWS, floats(6, 5), equation="ij,jk->ki"),
    *(case(name, IMAGES, numbers(2, -1)) for name in REDUCTIONS.split()),
    *(case(name, IMAGES, axes=[1], opset=11, keepdims=0) for name in REDUCTIONS.split()),
    case("ReduceMean", IMAGES),
    case("ReduceMean", IMAGES, None, noop_with_empty_axes=1),
    case("ReduceLogSumExp", IMAGES, numbers(1)),
    case("ReduceLogSum", POSITIVE, numbers(1)),
    case("ArgMax", ROWS, axis=1, keepdims=0),
    case("ArgMin", ROWS, axis=0),
    case("CumSum", ROWS, np.array(1)),
    case("BatchNormalization", IMAGES, SCALE, BIAS, MEAN, VARIANCE, epsilon=1e-3),
    case("BatchNormalization", ROWS, SCALE, BIAS, MEAN, VARIANCE),
    case("InstanceNormalization", IMAGES, SCALE, BIAS),
    case("LayerNormalization", IMAGES, floats(8), floats(8)),
    case("LayerNormalization", IMAGES, floats(7, 8), axis=2, epsilon=1e-2),
    case("GroupNormalization", IMAGES, floats(6), floats(6), opset=21, num_groups=3),
    case("RMSNormalization", IMAGES, floats(8), opset=23),
    case("LRN", IMAGES, size=3, alpha=0.5, beta=0.6, bias=1.5),
    case("LpNormalization", ROWS, axis=1),
    case("LpNormalization", np.concatenate([ROWS, np.zeros_like(ROWS)]), axis=1),
    case("Selu", ROWS, alpha=1.2, gamma=0.8),
    case("Swish", ROWS, opset=24, alpha=1.5),
    case("Resize", IMAGES, None, None, numbers(2, 6, 14, 16), mode="nearest"),
]


def make(operator: str, attributes: dict[str, Any], inputs: list[Any], opset: int, *, fixed: bool) -> onnx.ModelProto:
    """A model of one node, whose inputs after the first are constants or not."""
    names = [f"in{place}" if value is not None else "" for place, value in enumerate(inputs)]
    values = {name: np.asarray(value) for name, value in zip(names, inputs, strict=True) if name}
    given = {name: value for place, (name, value) in enumerate(values.items()) if not fixed or place == 0}
    constants = {name: value for name, value in values.items() if name not in given}
    count = {"Split": len(attributes.get("split", ())) or attributes.get("num_outputs") or 3}.get(operator, 1)
    outputs = tuple(f"out{place}" for place in range(count))
    node = helper.make_node(operator, names, outputs, **attributes)
    return build_model([node], given, constants=constants, outputs=outputs, opset=opset)


def run_torch(model: onnx.ModelProto, values: dict[str, Array]) -> list[Array]:
    """Runs a model of any inputs with the modules of the network."""
    name = model.graph.input[0].name
    network = OnnxNetwork(OnnxFile(model, name, onnx.TensorProto.FLOAT, None, channels_last=False), []).eval()
    step = network._steps[0]
    module = step.operator or network.get_submodule(step.layer)
    tensors = {name: torch.from_numpy(np.array(value)) for name, value in values.items()}
    found = module(*(None if each is None else tensors[each] for each in step.inputs))
    several = found if isinstance(found, tuple | list) else (found,)
    return [each.detach().numpy() for each in several]


@pytest.mark.parametrize("fixed", [True, False], ids=["constants", "computed"])
@pytest.mark.parametrize(
    "each", CASES, ids=[f"{place}-{each[0]}-{each[3]}-{sorted(each[1])}" for place, each in enumerate(CASES)]
)
def test_an_operator_computes_what_onnxruntime_computes(each: Case, fixed: bool) -> None:
    operator, attributes, inputs, opset = each
    model = make(operator, attributes, inputs, opset, fixed=fixed)
    values = {info.name: np.asarray(inputs[int(info.name[2:])]) for info in model.graph.input}
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    wanted = session.run(None, values)
    found = run_torch(model, values)
    for value, other in zip(found, wanted, strict=True):
        assert value.shape == other.shape
        np.testing.assert_allclose(value.astype(np.float64), other.astype(np.float64), rtol=2e-5, atol=2e-6)


def test_every_operator_is_compared() -> None:
    assert set(OPERATIONS) - {each[0] for each in CASES} == {"Constant"}  # which is computed when a file is read


@pytest.mark.parametrize(
    ("each", "message"),
    [
        (case("Hardmax", ROWS), "operator Hardmax"),
        (case("AveragePool", IMAGES, kernel_shape=[2, 2], dilations=[2, 2], opset=19), "dilations"),
        (
            case(
                "Resize",
                IMAGES,
                None,
                None,
                numbers(2, 6, 11, 5),
                mode="cubic",
                coordinate_transformation_mode="asymmetric",
            ),
            "resize",
        ),
        (case("CumSum", ROWS, np.array(1), reverse=1), "reverse"),
        (case("ArgMax", ROWS, select_last_index=1), "last of several"),
    ],
)
def test_a_form_without_a_counterpart_is_named(each: Case, message: str) -> None:
    operator, attributes, inputs, opset = each
    model = make(operator, attributes, inputs, opset, fixed=True)
    with pytest.raises(Unsupported, match=message):
        run_torch(model, {"in0": np.asarray(inputs[0])})
