"""The benchmark MLP behind Triton's own front end, by its Python backend; runs in PyTriton's own environment.

``python triton_model.py MODEL PORT``. The binary that nvidia-pytriton brings has no ONNX Runtime backend.
"""

from __future__ import annotations

import sys

import numpy as np
import onnxruntime
from pytriton.decorators import batch
from pytriton.model_config import ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig


def main(model: str, port: int) -> None:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    @batch
    def infer(x: np.ndarray) -> list[np.ndarray]:
        return [session.run(None, {"x": x})[0]]

    config = TritonConfig(http_port=port, http_address="127.0.0.1", allow_grpc=False, allow_metrics=False)
    with Triton(config=config) as server:
        server.bind(
            "bench",
            infer,
            inputs=[Tensor(name="x", dtype=np.float32, shape=(32,))],
            outputs=[Tensor(name="y", dtype=np.float32, shape=(-1,))],
            config=ModelConfig(max_batch_size=64, batching=True),
        )
        server.serve()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
