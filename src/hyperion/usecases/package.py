"""``package model``: a model directory becomes one .hyperion file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from hyperion.domain.caller import CallerView
from hyperion.domain.document import NAME_PATTERN
from hyperion.domain.finding import Outcome
from hyperion.domain.manifest import (
    MANIFEST,
    MODEL_FILE,
    Manifest,
    ModelCard,
    Parent,
)
from hyperion.domain.platform import PlatformProfile
from hyperion.domain.scheme import Measurements, QuantizeChoice, TargetPlatform
from hyperion.domain.tensor import Signature
from hyperion.domain.version import Version
from hyperion.errors import ConfigError, ConflictError, HostError, PackageError, Problem
from hyperion.format.archive import PendingEntry, write_archive
from hyperion.format.strict_json import parse_document
from hyperion.ports import Host, ModelSource, Reporter
from hyperion.usecases.compare import step_finding
from hyperion.usecases.convert import converted_model
from hyperion.usecases.measurements import keep_measurements
from hyperion.usecases.pack_again import pack_again, pack_as_new
from hyperion.usecases.package_contents import ManifestDraft, open_source, pending_entries
from hyperion.usecases.package_processing import check_processing, processing_labels
from hyperion.usecases.packaging import PackageOptions, PackageSummary, prove, summary_of
from hyperion.usecases.quantization_request import quantize_request
from hyperion.usecases.source_trial import try_out_source
from hyperion.verification.budget import kernel_features
from hyperion.verification.budget_sample import SAMPLE

__all__ = ["PackageOptions", "PackageSummary", "package_model"]

DEFAULT_VERSION = "1.0.0"


def package_model(host: Host, options: PackageOptions, reporter: Reporter) -> PackageSummary:
    """Pack a model directory, or an extracted package again; with ``as_new``, an edited one as a new package.

    Raises:
        NotFoundError: The input or the parent is not there.
        ModelSourceError: The input is no model directory, or a broken one.
        ConfigError: hyperion.json, an option or a config file is wrong.
        ConflictError: The output exists and is no package, or is the parent (code ``conflict.output_is_parent``).
        IncompatibleError: The engine of this host does not know what the model is made of, or refuses it.
        EngineError: The engine refuses the model.
        HostError: No space, no permission.
    """
    if options.quantize is not None and options.quantize not in get_args(QuantizeChoice):
        raise ConfigError(
            f"{options.quantize!r} is no way to quantize",
            hint=f"choose one of {', '.join(get_args(QuantizeChoice))}",
            code="quantize.unknown",
        )
    started = host.clock.monotonic()
    _check_output(host, options.output)
    _check_parent(options)
    if _is_extracted(options.input_dir):
        pack = pack_as_new if options.as_new else pack_again
        summary = pack(host, options, reporter)
    elif options.as_new:
        raise ConfigError(
            f"{options.input_dir}: is no extracted package; --as-new cannot apply",
            hint="leave --as-new out",
            code="package.not_extracted",
        )
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
        with converted_model(self._host, self._options, self._reporter) as (folder, notes):
            return self._pack(folder).model_copy(update={"converted": notes})

    def _pack(self, converted: Path | None) -> PackageSummary:
        with self._reporter.stage("Reading the model"):
            source = self._host.sources.read(self._options.input_dir, converted)
            card = self._card(source)
            parent = self._parent()
            platform = _target(self._options.platform)
            graph = self._host.graphs.load(source.model)
            signature = self._labelled(graph.signature, card.labels or _labels_beside(graph.signature, source))
            check_processing(self._host, source, signature, graph)
            golden = self._host.sources.read_golden(source, signature)
        if self._options.trial:
            try_out_source(self._host, source.model, graph.signature, golden, self._reporter)
        with self._host.files.scratch(self._options.output) as scratch:
            request = quantize_request(self._host, self._options, source, signature, platform, scratch, self._reporter)
            prepared = graph.prepare(request, signature, golden, self._reporter)
            self._warnings += [*(f"left out: {item}" for item in source.left_out), *prepared.warnings]
            draft = ManifestDraft(card, signature, prepared, parent, platform)
            manifest, digest, size = self._write(tuple(pending_entries(source, prepared)), draft)
        self._warn_of_small_step(manifest)
        found = prepared.measurements
        if found is not None:
            found = found.model_copy(update={"cpu_features": kernel_features(self._host)})
            trouble = keep_measurements(self._host, digest, found)
            self._warnings += [] if trouble is None else [trouble]
        found = found or Measurements(unavailable="nothing was quantized")
        output, sample = self._options.output, prepared.budget_sample.get(SAMPLE)
        return summary_of(manifest, prepared.quantization, found, output, digest, size, self._warnings, sample)

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
        place = source.path.resolve()
        name = card.name if card.name is not None else place.stem if place.is_file() else place.name
        valid = normalised_name(name)
        if card.name is not None and valid != name:
            self._warnings.append(f"the name {name!r} is outside the convention {NAME_PATTERN}: packaged as {valid!r}")
        return card.model_copy(update={"name": valid, "version": version})

    def _parent(self) -> Parent | None:
        """What this package will remember of its parent: all that callers see of it."""
        if self._options.parent is None:
            return None
        with self._host.packages.open(self._options.parent) as package:
            seen = CallerView.of(package.manifest)
            version = package.manifest.version
            return Parent(digest=package.digest, version=version, signature=seen.signature, processing=seen.processing)

    def _warn_of_small_step(self, manifest: Manifest) -> None:
        step = step_finding(manifest)
        if step.outcome is Outcome.WARNED:
            self._warnings.append(f"{step.summary}: {step.reason}; {step.hint}")

    def _labelled(self, signature: Signature, labels: tuple[str, ...] | None) -> Signature:
        if labels is None:
            return signature
        labelled = signature.model_copy(update={"labels": labels})
        if labelled.class_output() is None:
            self._warnings.append(f"{len(labels)} labels are named, but no output is [batch, {len(labels)}] scores")
        return labelled

    def _write(self, entries: Sequence[PendingEntry], draft: ManifestDraft) -> tuple[Manifest, str, int]:
        """Write the file, prove that it loads and answers, and only then let it take its place."""
        total = sum(entry.size_bytes for entry in entries)
        with self._host.files.replacing(self._options.output) as stream:
            with self._reporter.stage("Writing", total, "B") as advance:
                digest = write_archive(stream, entries, draft.manifest, advance)
            with self._reporter.stage("Proving that it loads"):
                size = stream.tell()
                manifest = prove(self._host, stream, self._options.output, self._warnings)
        return manifest, digest, size


def normalised_name(text: str) -> str:
    """``text`` as a model name: lower case, other characters as one dash; ``model`` where nothing is left."""
    found = re.sub(r"[^a-z0-9._-]+", "-", text.lower()).strip("-._")[:63].rstrip("-._")
    return found or "model"


def _labels_beside(signature: Signature, source: ModelSource) -> tuple[str, ...] | None:
    """The labels of config/processing.json, where the graph names none itself."""
    return processing_labels(source) if signature.labels is None else None


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


def _check_parent(options: PackageOptions) -> None:
    """Refuse to put a package in the place of its own parent, by whatever name."""
    parent, output = options.parent, options.output
    if parent is not None and parent.exists() and output.exists() and parent.samefile(output):
        raise ConflictError(
            f"{output} is the parent itself, which would be lost",
            hint="choose another --output",
            code="conflict.output_is_parent",
        )
