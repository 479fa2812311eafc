"""Converting models of other frameworks, each in a child of its own that can touch nothing else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import get_args
from urllib.parse import quote

from hyperion.adapters.conversion.hugging_face_files import read_json, task_of
from hyperion.adapters.conversion.protocol import JOB, WORK, ConversionJob, ConversionReport
from hyperion.adapters.conversion.result import read_report, take_result
from hyperion.adapters.files.private_folder import private_folder
from hyperion.adapters.onnx.model_recognition import is_pickled, recognised
from hyperion.adapters.sandbox.child_start import start_child
from hyperion.domain.manifest import MODEL_FILE
from hyperion.errors import ConfigError, EngineError, HostError, ModelSourceError
from hyperion.ports.conversion import Conversion, ConversionOptions, SourceKind, SourceTask
from hyperion.ports.reporter import Reporter

TIMEOUT_S = 1800.0
KILL_S = 10.0
"""How long a killed child may take to be gone."""
BASE_BYTES = 12 * 2**30
"""Address space of a child that holds no model yet: torch alone maps several GiB."""
COPIES = 8
"""How many copies of a model an exporter may hold, by address space."""
CHILD = "hyperion.adapters.conversion.child"
_PREFIX = "hyperion-conversion-"
_EXTRAS: dict[SourceKind, tuple[str, tuple[str, ...]]] = {
    "hugging-face": ("transformers", ("torch", "transformers", "onnxscript")),
    "scikit-learn": ("sklearn", ("skl2onnx", "skops")),
    "torch": ("torch", ("torch", "onnxscript")),
}
"""The extra to install, and the modules that it brings."""


class ChildConverters:
    """Implements ports.ModelConverters: one exec'd, confined child per conversion, with a minimal environment.

    Job, report and converted model lie in a private folder (0700) that is removed afterwards, whatever happens.
    """

    def __init__(self, folder: Path | None = None, timeout_s: float = TIMEOUT_S) -> None:
        """Keep the private folders in ``folder``, by default where the system keeps temporary files."""
        self._folder = folder or Path(tempfile.gettempdir())
        self._timeout_s = timeout_s

    def recognise(self, path: Path) -> SourceKind | None:
        """See ports.ModelConverters.recognise."""
        return recognised(path)[0]

    @contextmanager
    def convert(self, path: Path, options: ConversionOptions, reporter: Reporter) -> Iterator[Conversion]:
        """See ports.ModelConverters.convert."""
        kind, source = recognised(path)
        if kind is None:
            raise ModelSourceError(f"{path}: is nothing that can be converted")
        _check_options(kind, options)
        if kind == "hugging-face":  # before anybody is asked to trust or to install something in vain
            task_of(source, read_json(source / "config.json"), options.task)
        pickled = is_pickled(kind, source)
        if pickled and not options.trust_pickle:
            raise _untrusted(kind, source)
        _check_extra(kind, source)
        with _private_folder(self._folder) as folder:
            with reporter.stage(f"Converting {source.name}"):
                report = self._run(folder / WORK, _job(kind, source, options, pickled=pickled))
            yield Conversion(take_result(folder), report.origin, report.notes)

    def _run(self, folder: Path, job: ConversionJob) -> ConversionReport:
        try:
            folder.mkdir()
            (folder / JOB).write_bytes(job.model_dump_json().encode())
            process = start_child(CHILD, folder, _environment(folder))
        except OSError as error:
            raise HostError(f"cannot start a conversion in {folder}: {error.strerror}") from error
        try:
            code = process.wait(self._timeout_s)
        except subprocess.TimeoutExpired as error:
            raise EngineError(
                f"the conversion had not ended after {self._timeout_s:g} s and was killed",
                hint=f"convert it where it was made, and package {MODEL_FILE}",
                code="engine.timeout",
            ) from error
        finally:
            _end(process)
        return read_report(folder, code)


def _untrusted(kind: SourceKind, source: Path) -> ModelSourceError:
    instead = {
        "hugging-face": "have its weights saved as model.safetensors (save_pretrained does)",
        "scikit-learn": "save the estimator with skops.io.dump as .skops",
        "torch": f"export {MODEL_FILE} where it was made: torch.onnx.export(program, (), {MODEL_FILE!r}, dynamo=True)",
    }[kind]
    what = "has its weights in a pickle (pytorch_model.bin)" if kind == "hugging-face" else "is a pickle"
    return ModelSourceError(
        f"{source}: {what}, which can run any code while it is read; nothing of it was read",
        hint=f"{instead}; or, if you trust who made it, add --trust-pickle: it is then read in a sandbox",
        code="model_source.pickle",
    )


def _check_options(kind: SourceKind, options: ConversionOptions) -> None:
    wrong = None
    if options.task is not None and kind != "hugging-face":
        wrong = "--task is for Hugging Face directories"
    elif options.task is not None and options.task not in get_args(SourceTask):
        wrong = f"--task {options.task}: expected one of {', '.join(get_args(SourceTask))}"
    elif options.trusted_types and kind != "scikit-learn":
        wrong = "--trust-type is for scikit-learn models saved by skops"
    if wrong is not None:
        raise ConfigError(wrong, hint="leave it out", code="convert.option")


def _check_extra(kind: SourceKind, source: Path) -> None:
    extra, modules = _EXTRAS[kind]
    missing = [name for name in modules if find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"{source}: converting it needs {', '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} not "
            "installed",
            hint=f"pip install 'hyperion-deploy[{extra}]'",
            code="extra.missing",
        )


def _job(kind: SourceKind, source: Path, options: ConversionOptions, *, pickled: bool) -> ConversionJob:
    place = source.resolve()
    size = sum(item.stat().st_size for item in (place.rglob("*") if place.is_dir() else [place]) if item.is_file())
    return ConversionJob(
        parent=os.getpid(), kind=kind, source=quote(os.fsencode(place)), pickled=pickled,
        readable=() if pickled else tuple(quote(os.fsencode(blobs)) for blobs in _linked_blobs(place)),
        trusted_types=options.trusted_types, task=options.task, address_space_bytes=BASE_BYTES + COPIES * size,
        file_bytes=2**30 + 4 * size, cpu_s=int(TIMEOUT_S) * (os.cpu_count() or 1),
    )  # fmt: skip


def _linked_blobs(place: Path) -> list[Path]:
    """The folder that a snapshot in Hugging Face's cache links to: ``…/snapshots/REVISION`` → ``…/blobs``."""
    blobs = place.parent.parent / "blobs"
    return [blobs] if place.parent.name == "snapshots" and blobs.is_dir() else []


@contextmanager
def _private_folder(root: Path) -> Iterator[Path]:
    stack = ExitStack()
    try:
        folder = stack.enter_context(private_folder(root, _PREFIX))
    except OSError as error:
        raise HostError(
            f"cannot make a folder for a conversion in {root}: {error.strerror}",
            hint="check the space and the permissions there",
        ) from error
    with stack:
        yield folder


def _environment(folder: Path) -> Mapping[str, str]:
    """Where to import from, a locale and a place for temporary files: nothing of the user's environment.

    Importable folders are readable in the child, so a script's own, which may be the home, is not among them.
    """
    installed = [entry for entry in sys.path if Path(entry).name in ("site-packages", "dist-packages")]
    return {
        "PATH": os.defpath,
        "PYTHONPATH": os.pathsep.join([*installed, str(Path(__file__).parents[2])]),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONHASHSEED": "0",
        "LC_ALL": "C.UTF-8",
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill the child and what it started, in so far as that stayed in its session."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    with suppress(subprocess.TimeoutExpired):  # a disk that hangs may keep it; what it was for is known by now
        process.wait(KILL_S)
