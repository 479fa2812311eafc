"""The converting child, ``python -m hyperion.adapters.conversion.child FOLDER``: confined before it reads the model."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote_to_bytes

from hyperion.adapters.conversion.protocol import JOB, REPORT, RESULT, ConversionJob, ConversionReport
from hyperion.adapters.files.document_bytes import document_bytes
from hyperion.adapters.sandbox.confinement import ResourceLimits, confine
from hyperion.adapters.sandbox.parent_death import die_with_parent
from hyperion.domain.document import JsonValue
from hyperion.errors import HyperionError

ERROR_CHARACTERS = 500
"""Of what a library says; exporters add pages."""


def main(folder: Path) -> None:
    """Do the job that lies in ``folder`` and write the report, in one step, as the last thing."""
    job = ConversionJob.model_validate_json((folder / JOB).read_bytes())
    die_with_parent(job.parent)
    try:
        report = _convert(folder, job)
    except HyperionError as error:
        report = ConversionReport(error=type(error).__name__, details=_plain(error.details()))
    except MemoryError:
        report = _failed(job, "EngineError", "engine.out_of_memory", "needs more memory than a conversion may have")
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        kind, code = ("HostError", "host.error") if full else ("ModelSourceError", "model_source.not_convertible")
        report = _failed(job, kind, code, f"cannot be converted: {error}")
    except Exception as error:  # noqa: BLE001 - the edge of a process that runs other people's code
        said = f"{type(error).__name__}: {' '.join(str(error).split())[:ERROR_CHARACTERS]}"
        report = _failed(job, "ModelSourceError", "model_source.not_convertible", f"cannot be converted: {said}")
    temporary = folder / f"{REPORT}.tmp"
    temporary.write_bytes(document_bytes(report))
    temporary.replace(folder / REPORT)


def _convert(folder: Path, job: ConversionJob) -> ConversionReport:
    source = path_of(job.source)
    limits = ResourceLimits(job.address_space_bytes, job.cpu_s, job.file_bytes)
    # Before anything heavy is imported: numerical libraries start threads, which would not be confined.
    readable = [source, *map(path_of, job.readable)]
    confinement = confine(readable, [folder], limits=limits, strict=job.pickled)

    from hyperion.adapters.conversion.converted_model import ConvertedModel

    made = ConvertedModel(folder / RESULT)
    made.folder.mkdir()
    made.notes += [f"the conversion ran without a protection: {missing}" for missing in confinement.missing]
    if job.kind == "scikit-learn":
        from hyperion.adapters.conversion.from_sklearn import convert_sklearn

        convert_sklearn(source, job.trusted_types, made)
    elif job.kind == "torch":
        from hyperion.adapters.conversion.from_torch import convert_torch

        convert_torch(source, made)
    else:
        from hyperion.adapters.conversion.from_transformers import convert_transformers

        convert_transformers(source, job.task, made)
    return ConversionReport(origin=made.origin, libraries=made.libraries, notes=tuple(made.notes))


def path_of(quoted: str) -> Path:
    """The path that a job names."""
    return Path(os.fsdecode(unquote_to_bytes(quoted)))


def _failed(job: ConversionJob, kind: str, code: str, what: str) -> ConversionReport:
    return ConversionReport(error=kind, details={"code": code, "message": f"{path_of(job.source)} {what}"})


def _plain(details: Mapping[str, object]) -> dict[str, JsonValue]:
    simple = (str, int, float, bool)
    return {key: value if isinstance(value, simple) else str(value) for key, value in details.items()}


if __name__ == "__main__":
    main(Path(sys.argv[1]))
