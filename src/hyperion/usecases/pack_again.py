"""`package model` of an extracted package: the very file it came from, or with ``--as-new`` a new one of its edits."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from hyperion.domain.caller import CallerView
from hyperion.domain.digest import digest_of
from hyperion.domain.finding import Outcome
from hyperion.domain.manifest import (
    CHUNKS,
    FORMAT_VERSION,
    MANIFEST,
    QUANTIZATION,
    SIGNING,
    Entry,
    Layer,
    Manifest,
    Parent,
)
from hyperion.domain.scheme import QuantizationRecord
from hyperion.domain.step import judge_step, next_version
from hyperion.domain.version import Version
from hyperion.errors import ConfigError, MalformedPackageError
from hyperion.format.archive import ArchiveReader, PendingEntry, write_archive
from hyperion.format.archive_writer import repack
from hyperion.format.directory import plain_files
from hyperion.format.limits import MAX_MANIFEST_BYTES
from hyperion.format.manifest_json import read_manifest
from hyperion.format.package import PackageReader
from hyperion.format.quantization_json import read_quantization
from hyperion.format.verified import check_content
from hyperion.format.weights import TensorSlice, WeightsLayout, WeightTensor, read_header, weights_entry
from hyperion.ports import Host, Reporter
from hyperion.usecases.measurements import read_measurements
from hyperion.usecases.package_contents import open_source
from hyperion.usecases.package_processing import check_edited_processing
from hyperion.usecases.packaging import PackageOptions, PackageSummary, prove, summary_of
from hyperion.verification.budget_sample import SAMPLE
from hyperion.verification.signing import check_signing

_SIGNING_LEFT = (
    f"{SIGNING} is not taken over: it is a signing of the package before; sign the new one with 'hyperion sign'"
)


def pack_again(host: Host, options: PackageOptions, reporter: Reporter) -> PackageSummary:
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
    if options.quantize not in (None, "auto"):
        changed.append(f"--quantize {options.quantize}")
    if not options.budget.is_empty:
        changed.append("a budget")
    if changed:
        flags = ", ".join(changed)
        raise ConfigError(
            f"{options.input_dir}: is an extracted package, which is packed again as it is; {flags} cannot apply",
            hint="leave the option out, use `hyperion version update` for versions, or make a new package of it "
            "with --as-new",
            code="package.already_packed",
        )
    with host.packages.open(options.input_dir) as package, host.files.replacing(options.output) as stream:
        with reporter.stage("Writing", package.manifest.total_bytes, "B") as advance:
            digest = repack(stream, package, advance)
        record = _record(package)
        found = read_measurements(host, digest, record)
        warnings = _signing_faults(package)
        output, size, sample = options.output, stream.tell(), _sample(package)
        return summary_of(package.manifest, record, found, output, digest, size, warnings, sample)


def pack_as_new(host: Host, options: PackageOptions, reporter: Reporter) -> PackageSummary:
    """An extracted tree, edited as it may be, becomes a new package whose parent is what it was extracted from.

    Files under ``assets/`` and ``config/`` may be changed, added and removed; weights and architecture may be changed.
    Its version is the next honest one where none is given. A signing is not taken over.

    Raises:
        ConfigError: Nothing was edited, or an option cannot apply.
        MalformedPackageError: What is there makes no package.
        EngineError: The engine refuses the model.
    """
    asked = options.quantize not in (None, "auto") or not options.budget.is_empty
    if asked or options.platform is not None or options.parent is not None:
        raise ConfigError(
            f"{options.input_dir}: with --as-new, weights stay as they are and the parent is the extracted package; "
            "--quantize, a budget, --platform and --parent cannot apply",
            hint="leave these options out, or package the model directory",
            code="package.already_packed",
        )
    raw = _manifest_bytes(options.input_dir)
    before = read_manifest(raw, str(options.input_dir))
    sizes = dict(plain_files(options.input_dir, str(options.input_dir)))
    names = [name for name in sizes if name not in (MANIFEST, SIGNING, CHUNKS)]
    weights = [_weights(options.input_dir, layer, sizes) for layer in before.layers]
    laid_out = {layer.entry: PendingEntry(layer.entry, layout.size_bytes, layout.open) for layer, layout in weights}
    pending = [
        laid_out.get(name, PendingEntry(name, sizes[name], partial(open_source, options.input_dir / name)))
        for name in names
    ]
    layers = tuple(layer for layer, _ in weights)
    warnings = [_SIGNING_LEFT] if SIGNING in sizes else []
    with host.files.replacing(options.output) as stream:
        with reporter.stage("Writing", sum(entry.size_bytes for entry in pending), "B") as advance:
            digest = write_archive(stream, pending, partial(_renewed, options, before, raw, layers), advance)
        with reporter.stage("Proving that it loads"):
            size = stream.tell()
            manifest = prove(host, stream, options.output, warnings)
            path = Path(f"/proc/self/fd/{stream.fileno()}")
            with ArchiveReader(path.open("rb"), str(options.output), path) as package:
                for name in package.names():
                    check_content(package, name)
                check_edited_processing(host, package, before)
                record, sample = _record(package), _sample(package)
    found = read_measurements(host, digest, record)
    return summary_of(manifest, record, found, options.output, digest, size, warnings, sample)


def _sample(package: PackageReader) -> bytes | None:
    return package.read(SAMPLE) if SAMPLE in package.names() else None


def _signing_faults(package: PackageReader) -> list[str]:
    """What is wrong with a signing that is packed as it is: it may be damaged, or of another package."""
    failed = (finding for finding in check_signing(package) if finding.outcome is Outcome.FAILED)
    return [f"{SIGNING} is packed as it is, but {finding.summary}: {finding.reason}" for finding in failed]


def _manifest_bytes(folder: Path) -> bytes:
    with open_source(folder / MANIFEST) as stream:
        return stream.read(MAX_MANIFEST_BYTES + 1)


def _weights(folder: Path, layer: Layer, sizes: dict[str, int]) -> tuple[Layer, WeightsLayout]:
    """The layer with the dtypes and shapes that its file has now, and its entry laid out as the format asks.

    Any safetensors file of the same tensors will do: what an editor of it may have written is encoded anew.
    """
    if layer.entry not in sizes:
        raise MalformedPackageError(
            f"{folder}: the weights of layer {layer.name!r} are missing",
            hint=f"put {layer.entry} back; a model with other layers is packaged from its model directory",
            entry=layer.entry,
            code="package.missing_entry",
        )
    with open_source(folder / layer.entry) as stream:
        stored = read_header(stream, sizes[layer.entry], layer.entry, aligned=False)
    expected, found = {tensor.name for tensor in layer.tensors}, set(stored)
    if expected != found:
        raise MalformedPackageError(
            f"{folder}: {layer.entry} holds other tensors than the layer {layer.name!r} had: "
            f"{', '.join(sorted(map(repr, expected ^ found)))}",
            hint="a model with other tensors is packaged from its model directory",
            entry=layer.entry,
            code="package.weights_mismatch",
        )
    tensors = tuple(
        tensor.model_copy(update={"dtype": stored[tensor.name].dtype, "shape": stored[tensor.name].shape})
        for tensor in layer.tensors
    )
    pieces = ((tensor.name, stored[tensor.name]) for tensor in tensors)
    layout = weights_entry(
        [
            WeightTensor(name, piece.dtype, piece.shape, piece.size_bytes, partial(_read, folder / layer.entry, piece))
            for name, piece in pieces
        ]
    )
    return layer.model_copy(update={"tensors": tensors}), layout


def _read(path: Path, piece: TensorSlice) -> bytes:
    with open_source(path) as stream:
        stream.seek(piece.offset)
        return stream.read(piece.size_bytes)


def _renewed(
    options: PackageOptions, before: Manifest, raw: bytes, layers: tuple[Layer, ...], entries: dict[str, Entry]
) -> Manifest:
    """The manifest of the new package: the old one's words, what is there now, and where it came from."""
    if entries == before.entries:
        raise ConfigError(
            f"{options.input_dir}: nothing was edited since it was extracted",
            hint="leave --as-new out: packed again it is the file that it came from",
            code="package.already_packed",
        )
    given = {key: getattr(options, key) for key in ("name", "author", "description", "license")}
    seen = CallerView.of(before)
    parent = Parent(digest=digest_of(raw), version=before.version, signature=seen.signature, processing=seen.processing)
    changed = before.model_copy(
        update={key: value for key, value in given.items() if value is not None}
        | {"format_version": FORMAT_VERSION, "entries": entries, "layers": layers, "parent": parent, "history": ()}
    )
    verdict = judge_step(seen, before.version, CallerView.of(changed), before.version)
    version = options.version or str(next_version(Version.parse(before.version), verdict.required))
    return changed.model_copy(update={"version": str(Version.parse(version))})


def _record(package: PackageReader) -> QuantizationRecord:
    """How its weights are stored, as it says itself."""
    weights_bytes = package.manifest.weights_bytes
    return read_quantization(package) or QuantizationRecord(
        requested="none",
        scheme="none",
        reason=f"the package holds no {QUANTIZATION}",
        bytes_before=weights_bytes,
        bytes_after=weights_bytes,
        layers=(),
    )
