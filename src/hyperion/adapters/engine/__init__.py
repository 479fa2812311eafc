"""ONNX Runtime: sessions in place, graphs prepared once, and images of the weights that fit this host."""
