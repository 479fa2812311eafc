"""Models of other kinds made into ONNX, each in a child of its own."""
