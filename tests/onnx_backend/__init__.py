"""ONNX's own backend cases, through a package and without one."""
