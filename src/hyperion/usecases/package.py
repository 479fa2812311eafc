"""``package model``: a model directory becomes one .hyperion file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, get_args

from hyperion.domain.document import NAME_PATTERN, Document
from hyperion.domain.manifest import (
    MANIFEST,
    MODEL_FILE,
    QUANTIZATION,
    Manifest,
    ModelCard,
    Parent,
    SchemeName,
)
from hyperion.domain.platform import PlatformProfile
from hyperion.domain.scheme import Agreement, LayerScheme, QuantizationRecord, QuantizeChoice, TargetPlatform
from hyperion.domain.tensor import Signature
from hyperion.domain.version import Version
from hyperion.errors import ConfigError, ConflictError, HostError, PackageError, Problem
from hyperion.format.archive import ArchiveReader, PendingEntry, write_archive
from hyperion.format.archive_writer import repack
from hyperion.format.quantization_json import read_quantization
from hyperion.format.strict_json import parse_document
from hyperion.ports import Host, ModelSource, Reporter, SessionOptions
from hyperion.usecases.package_contents import ManifestDraft, open_source, pending_entries
from hyperion.verification.golden import compare, load_golden_requests

DEFAULT_VERSION = "1.0.0"


@dataclass(frozen=True, slots=True)
class PackageOptions:
    """What the person asked for; None leaves a value to hyperion.json or to its default.

    Attributes:
        input_dir: A model directory, or an extracted package.
        output: The file to write.
        quantize: ``auto``, ``int8``, ``w4`` or ``none``.
        parent: The package that this one follows.
        platform: ``linux/amd64``, ``linux/amd64+avx512_vnni``, …, or the path of a platform profile.
    """

    input_dir: Path
    output: Path
    quantize: QuantizeChoice = "auto"
    name: str | None = None
    version: str | None = None
    author: str | None = None
    description: str | None = None
    license: str | None = None
    parent: Path | None = None
    platform: str | None = None


class PackageSummary(Document):
    """What came out of packaging."""

    path: str
    name: str
    version: str
    digest: str
    size_bytes: int
    """Of the file."""
    requested: QuantizeChoice
    scheme: SchemeName
    reason: str | None
    """Why nothing was quantized, or why layers stayed in float."""
    layers: tuple[LayerScheme, ...]
    bytes_before: int
    """Bytes of all weights before quantizing."""
    bytes_after: int
    agreement: Agreement | None
    agreement_unavailable: str | None
    warnings: tuple[str, ...]
    duration_s: float


def package_model(host: Host, options: PackageOptions, reporter: Reporter) -> PackageSummary:
    """Pack a model directory, or an extracted package again.

    Raises:
        NotFoundError: The input or the parent is not there.
        ModelSourceError: The input is no model directory, or a broken one.
        ConfigError: hyperion.json, an option or a config file is wrong.
        ConflictError: The output exists and is no package.
        EngineError: The engine refuses the model.
        HostError: No space, no permission.
    """
    if options.quantize not in get_args(QuantizeChoice):
        raise ConfigError(
            f"{options.quantize!r} is no way to quantize",
            hint=f"choose one of {', '.join(get_args(QuantizeChoice))}",
            code="quantize.unknown",
        )
    started = host.clock.monotonic()
    _check_output(host, options.output)
    if _is_extracted(options.input_dir):
        summary = _pack_again(host, options, reporter)
    else:
        summary = _Packaging(host, options, reporter).run()
    for warning in summary.warnings:
        reporter.warn(warning)
    return summary.model_copy(update={"duration_s": round(host.clock.monotonic() - started, 3)})


def _is_extracted(folder: Path) -> bool:
    """Whether a folder is an extracted package and nothing more: with a model in it, it is a model directory."""
    return (folder / MANIFEST).is_file() and not (folder / MODEL_FILE).is_file()


class _Packaging:
    """One run of packaging, from the directory to the proven file."""

    def __init__(self, host: Host, options: PackageOptions, reporter: Reporter) -> None:
        self._host = host
        self._options = options
        self._reporter = reporter
        self._warnings: list[str] = []

    def run(self) -> PackageSummary:
        with self._reporter.stage("Reading the model"):
            source = self._host.sources.read(self._options.input_dir)
            card = self._card(source)
            parent = self._parent(card)
            platform = _target(self._options.platform)
            graph = self._host.graphs.load(source.model)
            signature = self._labelled(graph.signature, card)
            golden = self._host.sources.read_golden(source, signature)
        prepared = graph.prepare(self._options.quantize, signature, golden, platform, self._reporter)
        self._warnings += [*(f"left out: {item}" for item in source.left_out), *prepared.warnings]
        draft = ManifestDraft(card, signature, prepared, parent, platform)
        manifest, digest, size = self._write(tuple(pending_entries(source, prepared)), draft)
        return _summary(manifest, prepared.quantization, self._options.output, digest, size, self._warnings)

    def _card(self, source: ModelSource) -> ModelCard:
        """hyperion.json with the options over it; its name and version are set and valid."""
        options = self._options
        given = {
            key: value
            for key in ("name", "version", "author", "description", "license")
            if (value := getattr(options, key)) is not None
        }
        card = source.card.model_copy(update=given)
        version = _version(options, source, card.version or DEFAULT_VERSION)
        for key in ("author", "description", "license"):
            if not getattr(card, key).strip():
                self._warnings.append(f"no {key}: name it in hyperion.json or with --{key}")
        name = card.name if card.name is not None else source.path.resolve().name
        valid = normalised_name(name)
        if card.name is not None and valid != name:
            self._warnings.append(f"the name {name!r} is outside the convention {NAME_PATTERN}: packaged as {valid!r}")
        return card.model_copy(update={"name": valid, "version": version})

    def _parent(self, card: ModelCard) -> Parent | None:
        if self._options.parent is None:
            return None
        with self._host.packages.open(self._options.parent) as package:
            before = package.manifest
            if not Version.parse(before.version).precedes(Version.parse(card.version or DEFAULT_VERSION)):
                self._warnings.append(f"the version {card.version} does not follow the parent's {before.version}")
            return Parent(digest=package.digest, version=before.version, signature=before.signature)

    def _labelled(self, signature: Signature, card: ModelCard) -> Signature:
        if card.labels is None:
            return signature
        labelled = signature.model_copy(update={"labels": card.labels})
        if labelled.class_output() is None:
            self._warnings.append(
                f"{len(card.labels)} labels are named, but no output is [batch, {len(card.labels)}] scores"
            )
        return labelled

    def _write(self, entries: Sequence[PendingEntry], draft: ManifestDraft) -> tuple[Manifest, str, int]:
        """Write the file, prove that it loads and answers, and only then let it take its place."""
        total = sum(entry.size_bytes for entry in entries)
        with self._host.files.replacing(self._options.output) as stream:
            with self._reporter.stage("Writing", total, "B") as advance:
                digest = write_archive(stream, entries, draft.manifest, advance)
            with self._reporter.stage("Proving that it loads"):
                size = stream.tell()
                manifest = self._prove(stream)
        return manifest, digest, size

    def _prove(self, stream: BinaryIO) -> Manifest:
        stream.flush()
        path = Path(f"/proc/self/fd/{stream.fileno()}")  # the temporary's name is the writer's own business
        with path.open("rb") as written:
            package = ArchiveReader(written, str(self._options.output), path)
            quantized = {tensor.scheme for layer in package.manifest.layers for tensor in layer.tensors} - {"none"}
            # A proof runs once: copying gigabytes of float weights for faster kernels would cost more than it gains.
            options = SessionOptions(prepacking=bool(quantized), interruptible=True)
            session = self._host.engine.load(package, options)
            for golden in load_golden_requests(package):
                comparison = compare(golden, session.run(golden.inputs))
                if comparison.fault is not None:
                    self._warnings.append(f"golden request {golden.name!r} is not met: {comparison.fault}")
            return package.manifest


def normalised_name(text: str) -> str:
    """``text`` as a model name: lower case, other characters as one dash; ``model`` where nothing is left."""
    found = re.sub(r"[^a-z0-9._-]+", "-", text.lower()).strip("-._")[:63].rstrip("-._")
    return found or "model"


def _version(options: PackageOptions, source: ModelSource, text: str) -> str:
    """``text`` where it is a version; an error names the place that it stands in."""
    try:
        return str(Version.parse(text))
    except ConfigError as error:
        place = "--version" if options.version is not None else f"{source.path / 'hyperion.json'}: version"
        problem = Problem("version", error.message)
        raise ConfigError(f"{place}: {error.message}", problems=[problem], hint=error.hint, code=error.code) from error


def _target(platform: str | None) -> TargetPlatform | None:
    """The target that ``--platform`` names: a profile file, or ``os/architecture``."""
    if platform is None:
        return None
    path = Path(platform)
    if path.is_file():
        with open_source(path) as stream:
            return TargetPlatform.of_profile(parse_document(PlatformProfile, stream.read(), platform))
    if re.fullmatch(r"[a-z0-9]+/[a-z0-9]+(\+[A-Za-z0-9_-]+)*", platform) is None:
        raise ConfigError(
            f"{platform!r} is neither a platform such as linux/amd64 nor a platform profile",
            hint="write os/architecture, or run 'hyperion platform probe' on the target and name its file",
            code="platform.unknown",
        )
    return TargetPlatform.parse(platform)


def _check_output(host: Host, output: Path) -> None:
    """Refuse to touch anything that is there and is no package."""
    if not output.exists() and not output.is_symlink():
        if not output.parent.is_dir():
            raise HostError(
                f"cannot write {output}: there is no folder {output.parent}",
                hint="make it first",
                code="host.no_folder",
            )
        return
    try:
        if output.is_file():
            host.packages.open(output).close()
            return
    except PackageError as error:
        raise ConflictError(
            f"{output}: exists and is no readable package; it was not touched",
            hint="choose another --output, or remove it",
            code="conflict.output_exists",
        ) from error
    raise ConflictError(
        f"{output}: exists and is no package file; it was not touched",
        hint="choose another --output, or remove it",
        code="conflict.output_exists",
    )


def _pack_again(host: Host, options: PackageOptions, reporter: Reporter) -> PackageSummary:
    """An extracted tree becomes the very file that it came from.

    Raises:
        DigestMismatchError: An entry was edited.
        ConfigError: An option would change what is packed.
    """
    changed = [
        f"--{key}"
        for key in ("name", "version", "author", "description", "license", "parent", "platform")
        if getattr(options, key) is not None
    ]
    if changed or options.quantize != "auto":
        flags = ", ".join(changed or [f"--quantize {options.quantize}"])
        raise ConfigError(
            f"{options.input_dir}: is an extracted package, which is packed again as it is; {flags} cannot apply",
            hint="leave the option out, use `hyperion version update` for versions, or package the model directory",
            code="package.already_packed",
        )
    with host.packages.open(options.input_dir) as package, host.files.replacing(options.output) as stream:
        with reporter.stage("Writing", package.manifest.total_bytes, "B") as advance:
            digest = repack(stream, package, advance)
        weights_bytes = package.manifest.weights_bytes
        record = read_quantization(package) or QuantizationRecord(
            requested="none",
            scheme="none",
            reason=f"the package holds no {QUANTIZATION}",
            bytes_before=weights_bytes,
            bytes_after=weights_bytes,
            layers=(),
        )
        return _summary(package.manifest, record, options.output, digest, stream.tell(), ())


def _summary(
    manifest: Manifest,
    record: QuantizationRecord,
    output: Path,
    digest: str,
    size_bytes: int,
    warnings: Sequence[str],
) -> PackageSummary:
    return PackageSummary(
        path=str(output),
        name=manifest.name,
        version=manifest.version,
        digest=digest,
        size_bytes=size_bytes,
        requested=record.requested,
        scheme=record.scheme,
        reason=record.reason,
        layers=record.layers,
        bytes_before=record.bytes_before,
        bytes_after=record.bytes_after,
        agreement=record.agreement,
        agreement_unavailable=record.agreement_unavailable,
        warnings=tuple(warnings),
        duration_s=0.0,
    )
