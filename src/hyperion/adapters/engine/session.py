"""ONNX Runtime's sessions: how they are made and run, and what its exceptions become."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hyperion.errors import EngineError
from hyperion.ports import Array, SessionOptions, Tensors

if TYPE_CHECKING:
    from onnxruntime import InferenceSession
    from onnxruntime import SessionOptions as OrtOptions

_FOLDER_KEY = "session.model_external_initializers_file_folder_path"
_SOURCE_PLACE = re.compile(r"/onnxruntime_src/\S+:\d+ ")
_QUIET = 4
"""Log only what is fatal: everything else comes as an exception."""
_LOAD_HINT = "onnx.checker says whether the model is valid, 'hyperion platform probe' what this engine can run"


def make_session(model: bytes, folder: Path | None, options: SessionOptions, source: str) -> InferenceSession:
    """A session from a serialized model whose external data lies in ``folder``.

    Raises:
        EngineError: Code ``engine.load_failed``.
    """
    return opened_session(model, session_settings(options, folder), source)


def session_settings(options: SessionOptions, folder: Path | None) -> OrtOptions:
    """The engine's own options; external data lies in ``folder``, None where the model is a file that names it."""
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = options.threads
    settings.inter_op_num_threads = 1
    settings.log_severity_level = _QUIET
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    settings.add_session_config_entry("session.inter_op.allow_spinning", "0")
    if not options.prepacking:
        settings.add_session_config_entry("session.disable_prepacking", "1")
    if folder is not None:
        settings.add_session_config_entry(_FOLDER_KEY, os.fsencode(folder))  # bytes: a path need not be UTF-8
    return settings


def opened_session(model: bytes | str, settings: OrtOptions, source: str) -> InferenceSession:
    """A session from a serialized model or from a file.

    Raises:
        EngineError: Code ``engine.load_failed``.
    """
    import onnxruntime

    with translated(f"{source}: the engine cannot load the model", "engine.load_failed", _LOAD_HINT):
        return onnxruntime.InferenceSession(model, settings, providers=["CPUExecutionProvider"])


def run_session(session: InferenceSession, names: list[str], feeds: Tensors, source: str) -> dict[str, Array]:
    """The named outputs for these inputs.

    Raises:
        EngineError: Code ``engine.run_failed``.
    """
    import numpy as np

    with translated(f"{source}: the engine refused the request", "engine.run_failed"):
        return {name: np.asarray(value) for name, value in zip(names, session.run(names, dict(feeds)), strict=True)}


def run_interruptibly(session: InferenceSession, names: list[str], feeds: Tensors, source: str) -> dict[str, Array]:
    """As run_session, but Ctrl-C and SIGTERM are heard while the engine runs, and end the run at its next node.

    Python hears no signal while its main thread is in the engine; so the run has a thread of its own.
    """
    import numpy as np
    import onnxruntime

    run_options = onnxruntime.RunOptions()
    with translated(f"{source}: the engine refused the request", "engine.run_failed"), ThreadPoolExecutor(1) as pool:
        run = pool.submit(session.run, names, dict(feeds), run_options)
        try:
            return {name: np.asarray(value) for name, value in zip(names, run.result(), strict=True)}
        except BaseException:
            run_options.terminate = True
            raise


@contextmanager
def translated(message: str, code: str, hint: str | None = None) -> Iterator[None]:
    """Turn what the engine raises into EngineError."""
    try:
        yield
    except engine_exceptions() as error:
        raise as_engine_error(error, message, code, hint) from error


def as_engine_error(error: BaseException, message: str, code: str, hint: str | None = None) -> EngineError:
    """What one of ``engine_exceptions`` becomes."""
    return EngineError(f"{message}: {_plain(error)}", code=code, hint=hint)


@cache
def engine_exceptions() -> tuple[type[BaseException], ...]:
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    own: list[Any] = [
        found
        for found in vars(state).values()
        if isinstance(found, type) and issubclass(found, Exception) and found.__module__.startswith("onnxruntime")
    ]
    return (*own, RuntimeError, ValueError, TypeError, OverflowError, MemoryError)


def _plain(error: BaseException) -> str:
    """The engine's words without its prefix, on one line."""
    text = " ".join(str(error).split())
    if text.startswith("[ONNXRuntimeError]"):
        text = text.split(" : ", 3)[-1]
    return _SOURCE_PLACE.sub("", text)[:1000] or type(error).__name__
