"""Models as ONNX: read, described, validated, quantized and measured, without an idea of a package."""
