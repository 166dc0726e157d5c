"""Networks in ONNX files: read as PyTorch modules where all operators are known, else run by onnxruntime."""
