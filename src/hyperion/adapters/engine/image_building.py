"""In the child: make a host image of a package and prove it, before anything of it is kept."""

from __future__ import annotations

import gc
from pathlib import Path

from hyperion.adapters.files.tensor_file import load_tensors
from hyperion.adapters.sandbox.child_protocol import IMAGE, JobDocument, ReportDocument, request_file
from hyperion.errors import EngineError
from hyperion.format.package import PackageReader
from hyperion.ports import Array, Engine, Session, SessionOptions


def build_image(folder: Path, job: JobDocument, engine: Engine, package: PackageReader) -> ReportDocument:
    """Leave a proven image in ``folder/image``.

    Args:
        folder: The job's, with the requests to prove the image on.
        job: How many there are, and with how many threads.
        engine: Makes it.
        package: What it is made of.

    Raises:
        EngineError: The model does not load, refuses a request, or the image answers otherwise
            (code ``engine.image_differs``).
    """
    options = SessionOptions(threads=job.threads)
    place = folder / IMAGE
    place.mkdir(mode=0o700)
    session = engine.build_image(package, place, options)
    expected = [_answers(session, folder, index) for index in range(job.requests)]
    del session
    gc.collect()
    session = engine.load_image(package, place, options)
    for index, wanted in enumerate(expected):
        found = _answers(session, folder, index)
        for name, array in wanted.items():
            if not _is_same(array, found[name]):
                raise EngineError(
                    f"{package.source}: a host image answers otherwise than the package: output {name!r} of request "
                    f"{index + 1} differs",
                    hint="the workers load from the package; a model with random operators cannot have an image",
                    code="engine.image_differs",
                )
    return ReportDocument()


def _answers(session: Session, folder: Path, index: int) -> dict[str, Array]:
    return session.run(load_tensors(folder / request_file(index)))


def _is_same(one: Array, other: Array) -> bool:
    """Bit for bit, so that NaN is NaN and a zero keeps its sign."""
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    if one.dtype.hasobject:
        return bool((one == other).all())
    return one.tobytes() == other.tobytes()
