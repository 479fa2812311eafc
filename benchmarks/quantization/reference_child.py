"""Quantizes one model with onnxruntime.quantization, in an environment that has all it needs.

python -m benchmarks.quantization.reference_child MODEL.onnx WAY OUTPUT.onnx ROWS.npz
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import onnx

from benchmarks.quantization.recipe import SLICE_ROWS, Feeds, arrays, session_runner


def write(model: Path, way: str, output: Path, rows: Path) -> None:
    """Quantize in this very process.

    Stale shapes are removed first: with them the dynamic quantizer refuses every model that torch exports. Dynamic: per
    channel, reduced range. Weight-only: block 32, asymmetric, accuracy level 4, embeddings too where there are 4 bits.
    Static: QDQ, per channel, reduced range.
    """
    proto = onnx.load(model)
    del proto.graph.value_info[:]
    plain = output.with_suffix(".plain.onnx")
    onnx.save(proto, plain)
    if way == "dynamic int8":
        _dynamic(plain, output)
    elif way == "static QDQ int8":
        _static(plain, output, arrays(rows))
    else:
        _weight_only(proto, output, 4 if "4-bit" in way else 8)
    plain.unlink()
    session_runner(output)  # some outputs are written and then do not load


def _dynamic(plain: Path, output: Path) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(plain, output, weight_type=QuantType.QInt8, per_channel=True, reduce_range=True)


def _weight_only(proto: onnx.ModelProto, output: Path, bits: int) -> None:
    from onnxruntime.quantization import matmul_nbits_quantizer as nbits

    operators = ("MatMul", "Gather") if bits == 4 else ("MatMul",)
    settings = nbits.DefaultWeightOnlyQuantConfig(
        block_size=32, is_symmetric=False, accuracy_level=4, bits=bits, op_types_to_quantize=operators,
        quant_axes=(("MatMul", 0), ("Gather", 1)),
    )  # fmt: skip
    quantizer = nbits.MatMulNBitsQuantizer(proto, algo_config=settings)
    quantizer.process()
    onnx.save(quantizer.model.model, output)


def _static(plain: Path, output: Path, calibration: Feeds) -> None:
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Rows(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.pieces = _slices(calibration)

        def get_next(self) -> Feeds | None:
            return next(self.pieces, None)

    quantize_static(
        plain, output, Rows(), quant_format=QuantFormat.QDQ, per_channel=True, reduce_range=True,
        weight_type=QuantType.QInt8,
    )  # fmt: skip


def _slices(rows: Feeds) -> Iterator[Feeds]:
    for start in range(0, len(next(iter(rows.values()))), SLICE_ROWS):
        yield {name: array[start : start + SLICE_ROWS] for name, array in rows.items()}


if __name__ == "__main__":
    write(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]))
