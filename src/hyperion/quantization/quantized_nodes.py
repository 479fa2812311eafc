"""The nodes that compute with weights in few bits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from hyperion.domain.manifest import WeightScheme
from hyperion.domain.scheme import W4_BLOCK
from hyperion.quantization.names import FreshNames
from hyperion.quantization.parts import is_turned
from hyperion.quantization.rounding import UNSIGNED_ZERO
from hyperion.quantization.static_ranges import ActivationPlan, Affine
from hyperion.quantization.survey import FLOAT, FloatWeight, Reader, number

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnx import GraphProto, NodeProto

MICROSOFT = "com.microsoft"
ACCURACY_LEVEL = 4
"""MatMulNBits computes with int8 activations: the only level whose kernels are fast (ENGINE.md, section 1)."""


class _Integers(NamedTuple):
    """Names of an activation's integers, their scale and their zero point."""

    values: str
    scale: str
    zero: str


class NodeWriter:
    """Writes the nodes of one graph anew."""

    def __init__(self, graph: GraphProto, names: FreshNames, activations: ActivationPlan) -> None:
        self.nodes: list[NodeProto] = []
        self._graph = graph
        self._names = names
        self._measured = activations
        self._dynamic: dict[str, _Integers] = {}
        self._static: dict[str, _Integers] = {}
        self._made: dict[str, str] = {}

    def copy(self, node: NodeProto) -> None:
        """A node as it is."""
        self.nodes.append(type(node).FromString(node.SerializeToString()))

    def add(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> str:
        """A node with one output; returns the output's name."""
        from onnx import helper

        node = helper.make_node(operator, inputs, [output], self._names.fresh(f"{output}_{operator}"), **attributes)
        self.nodes.append(node)
        return output

    def fresh(self, name: str) -> str:
        return self._names.fresh(name)

    def once(self, operator: str, inputs: list[str], name: str, **attributes: Any) -> str:
        """As ``add``, for what several nodes share: the first call makes it, later ones find it by ``name``."""
        if name not in self._made:
            self._made[name] = self.add(operator, inputs, self.fresh(name), **attributes)
        return self._made[name]

    def constant(self, name: str, array: NDArray[Any]) -> str:
        """A small initializer; one for each ``name``."""
        from onnx import numpy_helper

        if name not in self._made:
            self._made[name] = self.fresh(name)
            self._graph.initializer.append(numpy_helper.from_array(array, self._made[name]))
        return self._made[name]

    def replace(self, reader: Reader, weight: FloatWeight, scheme: WeightScheme, parts: Mapping[str, str]) -> None:
        """Nodes in place of one that read the weight in float; ``parts`` are names by suffix."""
        node = reader.node
        if reader.reading == "gather":
            self._gather(node, weight, scheme, parts)
        elif reader.reading == "conv":
            if scheme == "static-int8":
                self._static_conv(node, parts)
            else:
                self._conv(node, len(weight.dims), parts)
        else:
            self._linear(node, weight, scheme, parts)

    def settle(self, results: Iterable[str]) -> None:
        """Make integers of those results just written that all their readers take as such."""
        for name in results:
            steps = self._measured.whole.get(name)
            if steps is not None:
                real = self.fresh(f"{name}_real")
                maker = next(node for node in reversed(self.nodes) if name in node.output)
                maker.output[list(maker.output).index(name)] = real
                integers = self._quantized(name, real, steps)
                self.add("DequantizeLinear", list(integers), name)

    def _dynamically(self, name: str) -> _Integers:
        """An activation quantized while running; once for all that read it."""
        from onnx import helper

        if name not in self._dynamic:
            found = _Integers(*(self.fresh(f"{name}_{part}") for part in ("u8", "u8_scale", "u8_zero")))
            self.nodes.append(
                helper.make_node("DynamicQuantizeLinear", [name], found, self.fresh(f"{name}_quantize"))
            )  # fmt: skip
            self._dynamic[name] = found
        return self._dynamic[name]

    def _statically(self, name: str) -> _Integers:
        """An activation in steps measured beforehand; once for all that read it."""
        if name not in self._static:
            self._quantized(name, name, self._measured.private[name])
        return self._static[name]

    def _quantized(self, name: str, real: str, steps: Affine) -> _Integers:
        scale = self.constant(f"{name}_q8_scale", np.array(steps.scale, np.float32))
        zero = self.constant(f"{name}_q8_zero", np.array(steps.zero, np.uint8))
        found = _Integers(self.add("QuantizeLinear", [real, scale, zero], self.fresh(f"{name}_q8")), scale, zero)
        self._static[name] = found
        return found

    def _linear(self, node: NodeProto, weight: FloatWeight, scheme: WeightScheme, parts: Mapping[str, str]) -> None:
        """MatMul, or Gemm as a product and a sum; ``alpha`` is in the weight already."""
        left, output = node.input[0], node.output[0]
        bias = node.input[2] if node.op_type == "Gemm" and len(node.input) > 2 else ""
        turned = node.op_type == "Gemm" and bool(number(node, "transA", 0))
        product = self.fresh(f"{output}_product") if bias else output
        if scheme in ("int8", "static-int8"):
            found = self._dynamically(left) if scheme == "int8" else self._statically(left)
            values = self._turned(found.values, output) if turned else found.values
            self._int8_product(found._replace(values=values), weight, parts, product)
        else:
            self._block_product(self._turned(left, output) if turned else left, weight, scheme, parts, product)
        if bias:
            beta = number(node, "beta", 1.0)
            if beta != 1:
                factor = self.constant(f"{output}_beta", np.array(beta, np.float32))
                bias = self.add("Mul", [bias, factor], self.fresh(f"{output}_bias"))
            self.add("Add", [product, bias], output)

    def _turned(self, name: str, output: str) -> str:
        return self.add("Transpose", [name], self.fresh(f"{output}_left"), perm=[1, 0])

    def _int8_product(self, left: _Integers, weight: FloatWeight, parts: Mapping[str, str], output: str) -> None:
        stored, steps = parts["int8"], parts["scale"]
        if not weight.down and not is_turned(weight):  # a table that is read as it is too
            stored = self.once("Transpose", [stored], f"{stored}_turned", perm=[1, 0])
            flat = self.constant("all_in_one_row", np.array([-1], np.int64))
            steps = self.once("Reshape", [steps, flat], f"{steps}_row")
        total = self.add("MatMulInteger", [left.values, stored, left.zero], self.fresh(f"{output}_i32"))
        self._scaled(total, left.scale, steps, output, output)

    def _scaled(self, total: str, scale: str, steps: str, name: str, output: str) -> None:
        """An int32 sum as float: times the scales of activation and weight."""
        total = self.add("Cast", [total], self.fresh(f"{name}_f32"), to=FLOAT)
        self.add("Mul", [total, self.add("Mul", [scale, steps], self.fresh(f"{name}_scale"))], output)

    def _block_product(
        self, left: str, weight: FloatWeight, scheme: WeightScheme, parts: Mapping[str, str], output: str
    ) -> None:
        lines, length = weight.dims[::-1] if weight.down else weight.dims
        stored = [parts[suffix] for suffix in (scheme, f"{scheme}_scale", "w4_zero") if suffix in parts]
        self.add(
            "MatMulNBits", [left, *stored], output, domain=MICROSOFT,
            K=length, N=lines, bits=_bits(scheme), block_size=W4_BLOCK, accuracy_level=ACCURACY_LEVEL,
        )  # fmt: skip

    def _conv(self, node: NodeProto, rank: int, parts: Mapping[str, str]) -> None:
        found = self._dynamically(node.input[0])
        output = node.output[0]
        middle = self.constant("conv_weight_zero", np.array(UNSIGNED_ZERO, np.uint8))
        total = self.add("ConvInteger", [found.values, parts["int8"], found.zero, middle], self.fresh(f"{output}_i32"))
        self.nodes[-1].attribute.extend(node.attribute)
        bias = node.input[2] if len(node.input) > 2 else ""
        product = self.fresh(f"{output}_unbiased") if bias else output
        self._scaled(total, found.scale, parts["scale"], output, product)
        if bias:
            shape = self.constant(f"bias_shape_{rank}", np.array([1, -1] + [1] * (rank - 2), np.int64))
            column = self.add("Reshape", [bias, shape], self.fresh(f"{output}_bias"))
            self.add("Add", [product, column], output)

    def _static_conv(self, node: NodeProto, parts: Mapping[str, str]) -> None:
        """The convolution as it is, between integers: the engine makes one integer kernel of it."""
        name, output = node.input[0], node.output[0]
        if name not in self._measured.whole:
            found = self._statically(name)
            name = self.once("DequantizeLinear", list(found), f"{name}_dq8")
        real = self.add("DequantizeLinear", [parts["int8"], parts["scale"]], self.fresh(f"{output}_weight"), axis=0)
        copy = type(node).FromString(node.SerializeToString())
        copy.input[0], copy.input[1] = name, real
        self.nodes.append(copy)

    def _gather(self, node: NodeProto, weight: FloatWeight, scheme: WeightScheme, parts: Mapping[str, str]) -> None:
        indices, output = node.input[1], node.output[0]
        if scheme in ("int8", "fp16"):
            rows = self.add("Gather", [parts[scheme], indices], self.fresh(f"{output}_rows"), axis=0)
            values = output if scheme == "fp16" else self.fresh(f"{output}_f32")
            self.add("Cast", [rows], values, to=FLOAT)
            if scheme == "int8":
                scales = self.add("Gather", [parts["scale"], indices], self.fresh(f"{output}_scale"), axis=0)
                self.add("Mul", [values, scales], output)
            return
        table = parts[scheme]
        if weight.readings != {"gather"}:  # stored as products want it, which is the same with one dimension more
            rank2 = self.constant("table_shape", np.array([0, -1], np.int64))
            table = self.once("Reshape", [table, rank2], f"{table}_rows")
        stored = [table, indices, *[parts[suffix] for suffix in (f"{scheme}_scale", "w4_zero") if suffix in parts]]
        self.add(
            "GatherBlockQuantized", stored, output, domain=MICROSOFT,
            gather_axis=0, quantize_axis=1, block_size=W4_BLOCK, bits=_bits(scheme),
        )  # fmt: skip


def _bits(scheme: WeightScheme) -> int:
    return 4 if scheme == "w4" else 8
