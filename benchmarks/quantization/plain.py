"""The graph of a package as an ordinary ONNX file with external data, for engines that know nothing of packages."""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import TensorProto

import hyperion
from hyperion.adapters.onnx.architecture import parse_architecture
from hyperion.domain.manifest import ARCHITECTURE
from hyperion.quantization.graph import all_graphs

ALIGNMENT = 4096


def plain_model(package: Path, folder: Path) -> Path:
    """Write model.onnx and model.data; every weight keeps its bytes."""
    folder.mkdir(parents=True)
    with hyperion.open_package(package) as opened, (folder / "model.data").open("wb") as data:
        stored = {(tensor.entry, tensor.name): tensor for tensor in opened.tensors()}
        model = parse_architecture(opened.read(ARCHITECTURE), str(package))
        for _, graph in all_graphs(model.graph):
            for tensor in graph.initializer:
                if tensor.data_location == TensorProto.EXTERNAL:
                    where = {item.key: item.value for item in tensor.external_data}
                    data.seek(-(-data.tell() // ALIGNMENT) * ALIGNMENT)
                    raw = stored[where["location"], where["tensor"]].data
                    del tensor.external_data[:]
                    for key, value in (("location", "model.data"), ("offset", data.tell()), ("length", len(raw))):
                        tensor.external_data.add(key=key, value=str(value))
                    data.write(raw)
    onnx.save(model, folder / "model.onnx")
    return folder / "model.onnx"
