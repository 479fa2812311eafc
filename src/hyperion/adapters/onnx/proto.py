"""ONNX's protobuf messages, without the 200 ms that ``import onnx`` costs a starting worker."""

from __future__ import annotations

import importlib.util
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, cast

from hyperion.errors import HostError

if TYPE_CHECKING:
    from onnx import ModelProto

MODULE = "onnx.onnx_ml_pb2"


@cache
def model_class() -> type[ModelProto]:
    """``onnx.ModelProto``, the very class that ``import onnx`` gives as well.

    Raises:
        HostError: The installed onnx package is not laid out as expected.
    """
    loaded = sys.modules.get(MODULE)
    if loaded is None:
        package = importlib.util.find_spec("onnx")
        if package is None or package.origin is None:
            raise HostError("the Python package onnx is not installed", hint="pip install onnx")
        path = Path(package.origin).parent / "onnx_ml_pb2.py"
        spec = importlib.util.spec_from_file_location("hyperion_onnx_ml_pb2", path)
        if spec is None or spec.loader is None or not path.is_file():
            raise HostError(f"the installed onnx package has no {path.name}", hint="pip install --force-reinstall onnx")
        loaded = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(loaded)
    return cast("type[ModelProto]", loaded.ModelProto)
