"""Host images in ONNX Runtime: the optimized graph, and beside it the original and the prepacked weights.

Prepacking copies every weight into a form that the kernels like, which is most of a load and most of a worker's
memory. A session can save what came of it, and another one maps that file instead: its pages are shared by all workers
and belong to the page cache. The engine trusts such files blindly, and a wrong length in them ends the process; so they
are made on this host only, and checked by digest before they are used.
"""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import TYPE_CHECKING

from hyperion.adapters.engine.session import opened_session, session_settings
from hyperion.adapters.onnx.weight_places import ROOT
from hyperion.ports import SessionOptions

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

GRAPH, WEIGHTS = "graph.onnx", "weights.bin"
_INLINE_BYTES = 1024
"""Smaller constants stay in the graph."""


def save_image(graph: bytes, folder: Path, options: SessionOptions, source: str) -> InferenceSession:
    """A session from a prepared graph that leaves an image in ``folder``.

    Raises:
        EngineError: Code ``engine.load_failed``.
    """
    settings = session_settings(options, ROOT)
    settings.optimized_model_filepath = str(folder / GRAPH)
    for key, value in (
        ("session.save_external_prepacked_constant_initializers", "1"),
        ("session.optimized_model_external_initializers_file_name", WEIGHTS),
        ("session.optimized_model_external_initializers_min_size_in_bytes", str(_INLINE_BYTES)),
    ):
        settings.add_session_config_entry(key, value)
    return opened_session(graph, settings, source)


def image_session(folder: Path, options: SessionOptions, source: str) -> InferenceSession:
    """A session from an image that was checked.

    Raises:
        EngineError: Code ``engine.load_failed``.
    """
    import onnxruntime

    settings = session_settings(options, None)
    settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL  # it was done for the image
    session = opened_session(str(folder / GRAPH), settings, source)
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)  # what building the session took and gave back, 16–32 MB, would stay with the process
    return session
