"""Reading a model directory: the model, hyperion.json, config/, assets/, golden/, README and LICENSE."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from hyperion.adapters.onnx.foreign_model import refuse_foreign
from hyperion.adapters.onnx.golden_source import read_golden_requests
from hyperion.adapters.onnx.parts import refuse_pointer
from hyperion.domain.manifest import BUDGET_FOLDER, GOLDEN_FOLDER, MANIFEST, MODEL_FILE, QUANTIZATION, ModelCard
from hyperion.domain.quantization_policy import QuantizationPolicy, policy_of
from hyperion.domain.scheme import QuantizationRecord
from hyperion.domain.tensor import Signature
from hyperion.errors import ConfigError, HostError, ModelSourceError, NotFoundError, Problem
from hyperion.format.content import HEAD_BYTES, executable_kind
from hyperion.format.names import name_fault
from hyperion.format.strict_json import parse_document, parse_json
from hyperion.ports import GoldenSource, ModelSource, SourceFile

CARD = "hyperion.json"
_ONNX = ".onnx"
_ADDED_BY_EXTRACTION = (QUANTIZATION, GOLDEN_FOLDER, BUDGET_FOLDER)
"""What packaging writes itself, so that no source of it is lost where a package was extracted beside the model."""
_DOCUMENTS = ("readme", "license", "licence", "notice")
_DOCUMENT_SUFFIXES = ("", ".md", ".rst", ".txt")
_LOOKED_FOR = (
    f"a folder with {MODEL_FILE} in it, and optionally {CARD}, config/*.json, assets/, golden/, README, LICENSE"
)


class ModelDirectories:
    """Implements ports.ModelSources."""

    def read(self, path: Path, converted: Path | None = None) -> ModelSource:
        """Look over a model directory; see ports.ModelSources."""
        model = _find_model(path) if converted is None else converted / MODEL_FILE
        folders = [folder for folder in (path, converted) if folder is not None and folder.is_dir()]
        left_out: list[str] = []
        problems: list[ConfigError] = []
        card = ModelCard()
        files: list[SourceFile] = []
        for folder in folders:
            try:
                card = _under(card, _read_card(folder))
            except ConfigError as error:
                problems.append(error)
            known = {file.entry.casefold() for file in files} if folder == converted else set()
            files += [file for file in _files(folder, left_out, problems) if file.entry.casefold() not in known]
        policy = _read_policy(path, problems)
        _raise_all(problems)
        files = _without_twins(files)
        for file in files:
            _check_content(file)
        return ModelSource(path, model, card, tuple(files), tuple(left_out), policy)

    def read_golden(self, source: ModelSource, signature: Signature) -> tuple[GoldenSource, ...]:
        """Its golden requests; see ports.ModelSources."""
        folder = source.path / "golden"
        return read_golden_requests(folder, signature) if folder.is_dir() else ()


def _find_model(path: Path) -> Path:
    """model.onnx, or the only ONNX file under another name, or the file itself."""
    if not path.exists():
        raise NotFoundError(f"there is nothing at {path}", hint=f"name {_LOOKED_FOR}", code="model_source.not_found")
    if path.is_file() and path.suffix == _ONNX:
        return path
    model = path / MODEL_FILE
    if path.is_dir() and model.is_file():
        return model
    if model.is_dir():
        raise ModelSourceError(
            f"{model}: is a folder; expected an ONNX file of that name", code="model_source.no_model"
        )
    others = sorted(item for item in path.iterdir() if item.suffix == _ONNX) if path.is_dir() else []
    if len(others) == 1:
        return others[0]
    if not others:
        refuse_foreign(path)
    raise _no_model(path, others)


def _no_model(path: Path, models: list[Path]) -> ModelSourceError:
    """Why there is no telling which model is meant."""
    below = path / "onnx" / MODEL_FILE
    if not path.is_dir():
        what, hint = f"is no model that is known; a model directory was expected: {_LOOKED_FOR}", None
    elif models:
        what = f"holds several models, {', '.join(item.name for item in models[:5])}, and none is called {MODEL_FILE}"
        hint = f"name one of them, such as --input {models[0]}"
    elif below.is_file():
        what, hint = f"is no model directory: looked for {MODEL_FILE}, found it in onnx/", f"name it: --input {below}"
    else:
        found = sorted(item.name for item in path.iterdir())
        held = ", ".join(found[:5]) + (", …" if len(found) > 5 else "") if found else "an empty folder"
        what, hint = f"is no model directory: looked for {MODEL_FILE}, found {held}", f"name {_LOOKED_FOR}"
    return ModelSourceError(f"{path}: {what}", hint=hint, code="model_source.no_model")


def _read_card(path: Path) -> ModelCard:
    card = path / CARD
    if card.is_dir():
        raise ConfigError(f"{card}: is a folder; expected a JSON file", problems=[Problem("", "is a folder")])
    return parse_document(ModelCard, _read(card), str(card)) if card.exists() else ModelCard()


def _read_policy(path: Path, problems: list[ConfigError]) -> QuantizationPolicy | None:
    """config/quantization.json as a person wrote it, or the policy of a package that was extracted here."""
    place = path / QUANTIZATION
    if not place.is_file():
        return None
    raw = _read(place)
    try:
        return parse_document(QuantizationPolicy, raw, str(place))
    except ConfigError as error:
        if (path / MANIFEST).is_file():
            with suppress(ConfigError):
                return policy_of(parse_document(QuantizationRecord, raw, str(place)))
        problems.append(error)
        return None


def _under(first: ModelCard, second: ModelCard) -> ModelCard:
    """The first card, and what only the second one says."""
    given = {**second.model_dump(exclude_unset=True), **first.model_dump(exclude_unset=True)}
    return ModelCard.model_validate({**given, "annotations": {**second.annotations, **first.annotations}})


def _files(path: Path, left_out: list[str], problems: list[ConfigError]) -> Iterator[SourceFile]:
    """Documents, assets and configuration files of a folder; faults of the latter are added to ``problems``."""
    made = _ADDED_BY_EXTRACTION if (path / MANIFEST).is_file() else ()
    yield from _documents(path)
    yield from _assets(path, made, left_out)
    for file in _configs(path, made, left_out):
        try:
            parse_json(_read(file.path), str(file.path))
            yield file
        except ConfigError as error:
            problems.append(error)


def _raise_all(errors: list[ConfigError]) -> None:
    """One error with the problems of all documents."""
    if len(errors) == 1:
        raise errors[0]
    if errors:
        problems = [problem for error in errors for problem in (error.problems or [Problem("", error.message)])]
        raise ConfigError("; ".join(error.message for error in errors), problems=problems)


def _documents(path: Path) -> Iterator[SourceFile]:
    for item in sorted(path.iterdir()):
        is_document = item.name.lower().startswith(_DOCUMENTS) and item.suffix.lower() in _DOCUMENT_SUFFIXES
        if is_document and not item.is_dir():
            yield _plain_file(item, f"assets/{item.name}")


def _without_twins(files: list[SourceFile]) -> list[SourceFile]:
    """By entry. ``README.md`` and ``assets/README.md`` are one entry: the same bytes are taken once.

    Raises:
        ModelSourceError: Two files of one entry differ, or two entries only by case (code ``model_source.asset``).
    """
    found: dict[str, SourceFile] = {}
    for file in files:
        first = found.setdefault(file.entry.casefold(), file)
        if first is file or (first.entry == file.entry and _read(first.path) == _read(file.path)):
            continue
        raise ModelSourceError(
            f"{first.path} and {file.path} would have the same name in the package, {file.entry!r}, and they differ",
            hint="rename or remove one of them",
            code="model_source.asset",
        )
    return sorted(found.values(), key=lambda file: file.entry)


def _configs(path: Path, made: tuple[str, ...], left_out: list[str]) -> Iterator[SourceFile]:
    folder = path / "config"
    for item in sorted(folder.iterdir()) if folder.is_dir() else ():
        entry = f"config/{item.name}"
        if item.suffix != ".json":
            left_out.append(f"{entry}: only .json files are taken from config/")
            continue
        if entry in made or entry == QUANTIZATION:  # the policy is read for itself; packaging writes what came of it
            continue
        yield _plain_file(item, entry)


def _assets(path: Path, made: tuple[str, ...], left_out: list[str]) -> Iterator[SourceFile]:
    root = path / "assets"
    if root.is_symlink():
        raise _link(root)
    for folder, folders, names in os.walk(root):
        folders.sort()
        for name in [*folders]:
            if name.startswith("."):
                folders.remove(name)
                left_out.append(f"{Path(folder, name).relative_to(path)}: hidden")
            elif Path(folder, name).is_symlink():
                raise _link(Path(folder, name))
        for name in sorted(names):
            item = Path(folder, name)
            entry = item.relative_to(path).as_posix()
            if name.startswith("."):
                left_out.append(f"{entry}: hidden")
            elif entry.startswith(made):
                continue
            elif entry.startswith((GOLDEN_FOLDER, BUDGET_FOLDER)):
                raise ModelSourceError(
                    f"{item}: {GOLDEN_FOLDER} and {BUDGET_FOLDER} are written by packaging itself",
                    hint="put golden requests (NPZ or JSON) into golden/",
                )
            else:
                yield _plain_file(item, entry)


def _plain_file(path: Path, entry: str) -> SourceFile:
    """One file that goes in as it is; its name must be legal and it must be no link.

    Raises:
        ModelSourceError: Code ``model_source.asset``.
    """
    fault = name_fault(entry)
    if fault is not None:
        raise ModelSourceError(
            f"{path}: its name in the package would be {entry!r}, which {fault}",
            hint="rename the file",
            code="model_source.asset",
        )
    try:
        facts = path.lstat()
    except OSError as error:
        raise HostError(f"{path}: cannot be read: {error.strerror}") from error
    if stat.S_ISLNK(facts.st_mode):
        raise _link(path)
    if not stat.S_ISREG(facts.st_mode):
        raise ModelSourceError(f"{path}: is no plain file", code="model_source.asset")
    return SourceFile(entry, path, facts.st_size)


def _link(path: Path) -> ModelSourceError:
    return ModelSourceError(
        f"{path}: is a symbolic link; a package takes in plain files only",
        hint="put the file itself there",
        code="model_source.asset",
    )


def _check_content(file: SourceFile) -> None:
    """Refuse here, by the path that the person knows, what the format would refuse later."""
    with file.path.open("rb") as stream:
        head = stream.read(HEAD_BYTES)
    refuse_pointer(head, file.path)
    kind = executable_kind(head)
    if kind is not None:
        raise ModelSourceError(
            f"{file.path}: is {kind}; a package holds nothing that can be executed or unpacked",
            hint="store the data itself, such as JSON, text or safetensors",
            code="model_source.asset",
        )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise HostError(f"{path}: cannot be read: {error.strerror}") from error
