"""The operators of ONNX in PyTorch, after https://onnx.ai/onnx/operators."""
