"""The first step of packaging a model that is no ONNX yet."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hyperion.errors import ConfigError
from hyperion.ports import Host, Reporter
from hyperion.usecases.packaging import PackageOptions

Converted = tuple[Path | None, tuple[str, ...]]


@contextmanager
def converted_model(host: Host, options: PackageOptions, reporter: Reporter) -> Iterator[Converted]:
    """The folder that a converter made of the input, and what to know of it; None where it needs no converting.

    The folder is gone when the context ends, whatever happens.

    Raises:
        ModelSourceError, ConfigError, EngineError: As ports.ModelConverters.convert says.
    """
    path, asked = options.input_dir, options.conversion
    if host.converters.recognise(path) is None:
        if path.exists() and (asked.task is not None or asked.trusted_types):
            raise ConfigError(
                f"{path}: needs no converting, so --task and --trust-type cannot apply",
                hint="leave them out",
                code="convert.option",
            )
        yield None, ()
        return
    with host.converters.convert(path, asked, reporter) as conversion:
        yield conversion.folder, (f"from {conversion.origin}", *conversion.notes)
