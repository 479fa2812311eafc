"""What a conversion and its child exchange through their private folder: a job, a report, and the converted model."""

from __future__ import annotations

from hyperion.domain.document import Document, JsonValue
from hyperion.ports.conversion import SourceKind

WORK = "work"
"""The folder that the child may write into; it alone, below the conversion's private folder."""
JOB = "job.json"
REPORT = "report.json"
RESULT = "model"
"""The folder that the child fills: model.onnx, hyperion.json, config/processing.json, assets/."""


class ConversionJob(Document):
    """ports.ConversionOptions and the limits."""

    parent: int
    """Process id of whoever waits."""
    kind: SourceKind
    source: str
    """Absolute path of the file or folder, percent-encoded: it may hold bytes that are not UTF-8."""
    readable: tuple[str, ...] = ()
    """Further folders that the source's links lead to, written alike."""
    pickled: bool
    """Whether reading it can run code that lies in it; such a job runs fully confined or not at all."""
    trusted_types: tuple[str, ...]
    task: str | None
    address_space_bytes: int
    file_bytes: int
    cpu_s: int


class ConversionReport(Document):
    """What came of it, or the error that ended the work."""

    error: str | None = None
    """Class name in hyperion.errors."""
    details: dict[str, JsonValue] = {}
    origin: str = ""
    """What the model was, such as ``Hugging Face BertModel``."""
    libraries: dict[str, str] = {}
    """Versions of the libraries that converted it."""
    notes: tuple[str, ...] = ()
