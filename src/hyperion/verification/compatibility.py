"""Does a package fit a target machine? What the profile does not say is skipped, never assumed."""

from __future__ import annotations

import re

from hyperion.domain.finding import Finding, Outcome
from hyperion.domain.manifest import QUANTIZATION, EngineRequirement, Manifest
from hyperion.domain.platform import PlatformProfile
from hyperion.domain.scheme import VNNI_FEATURES, QuantizationRecord
from hyperion.format.package import PackageReader
from hyperion.format.strict_json import parse_document
from hyperion.ports import Host

SUPPORTED = ("linux/amd64", "linux/arm64")
"""Platforms that Hyperion serves on: those with builds of the engine and the kernel interfaces that it uses."""
OPERATORS = "compatibility.operators"
MIB = 1024**2
_UNKNOWN = "the profile does not say"
_PROBE = "run 'hyperion platform probe' on the target and give the file that it writes"
_NAME = re.compile(r"[a-z0-9]+/[a-z0-9_]+(\+[a-z0-9_.]+)*")
_ARCHITECTURES = {"x86_64": "amd64", "x64": "amd64", "aarch64": "arm64", "arm64v8": "arm64"}


def parse_platform(text: str) -> PlatformProfile | None:
    """The profile of a platform name: ``linux/amd64``, ``linux/amd64+avx512_vnni``; None where it is no such name."""
    if not _NAME.fullmatch(text.lower()):
        return None
    (place, *features) = text.lower().split("+")
    system, _, architecture = place.partition("/")
    return PlatformProfile(
        os=system,
        architecture=_ARCHITECTURES.get(architecture, architecture),
        cpu_features=tuple(features) or None,
    )


def check_compatibility(
    manifest: Manifest, quantization: QuantizationRecord | None, profile: PlatformProfile
) -> tuple[Finding, ...]:
    """One finding for each thing that the package needs of a machine.

    Args:
        manifest: Of the package.
        quantization: Its config/quantization.json, None where it has none.
        profile: Of the target.
    """
    return (
        _platform(manifest, profile),
        _engine_version(manifest.engine, profile),
        _opsets(manifest.engine, profile),
        _operators(manifest.engine, profile),
        _cpu_features(quantization, profile),
        _confinement(profile),
        _room("memory", "memory", manifest.weights_bytes, profile.memory_bytes, "the weights alone take"),
        _room("disk", "disk space", manifest.total_bytes, profile.disk_free_bytes, "a copy in the store takes"),
    )


def _finding(check: str, outcome: Outcome, summary: str, reason: str | None = None, hint: str | None = None) -> Finding:
    return Finding(check=f"compatibility.{check}", outcome=outcome, summary=summary, reason=reason, hint=hint)


def _skipped(check: str, what: str) -> Finding:
    return _finding(check, Outcome.SKIPPED, f"{what} unknown", _UNKNOWN, _PROBE)


def _platform(manifest: Manifest, profile: PlatformProfile) -> Finding:
    if profile.name not in SUPPORTED:
        reason = f"expected one of {', '.join(SUPPORTED)}, found {profile.name}"
        return _finding("platform", Outcome.FAILED, f"{profile.name} is not served", reason)
    meant = parse_platform(manifest.platform) if manifest.platform else None
    if meant is not None and meant.name != profile.name:
        reason = f"the package was made for {manifest.platform}; its scheme was chosen for that machine"
        hint = f"package the model with --platform {profile.name}"
        return _finding("platform", Outcome.WARNED, f"{profile.name} is not what it was made for", reason, hint)
    return _finding("platform", Outcome.PASSED, f"{profile.name} is served")


def _engine_version(engine: EngineRequirement, profile: PlatformProfile) -> Finding:
    if profile.engine_version is None:
        return _skipped("engine_version", "version of the engine is")
    too_old = _release(profile.engine_version) < _release(engine.minimum_version)
    if too_old:
        reason = f"expected {engine.name} {engine.minimum_version} or later, found {profile.engine_version}"
        hint = f"pip install '{engine.name}>={engine.minimum_version}' on the target"
        return _finding("engine_version", Outcome.FAILED, "the engine is too old", reason, hint)
    return _finding("engine_version", Outcome.PASSED, f"{engine.name} {profile.engine_version} is recent enough")


def _release(version: str) -> tuple[int, ...]:
    """The numbers of an engine's version, which need not be SemVer: ``1.23`` → (1, 23)."""
    found = re.match(r"\d+(\.\d+)*", version)
    return tuple(int(number) for number in found.group().split(".")) if found else ()


def _opsets(engine: EngineRequirement, profile: PlatformProfile) -> Finding:
    if profile.opsets is None:
        return _skipped("opsets", "operator sets are")
    known = {_domain(name): version for name, version in profile.opsets.items()}
    faults = [
        f"{_domain(name)}: expected {version}, found {known.get(_domain(name), 'none')}"
        for name, version in sorted(engine.opsets.items())
        if known.get(_domain(name), 0) < version
    ]
    if faults:
        return _finding("opsets", Outcome.FAILED, "operator sets are too old", "; ".join(faults))
    return _finding("opsets", Outcome.PASSED, f"{len(engine.opsets)} operator sets are known there")


def _operators(engine: EngineRequirement, profile: PlatformProfile) -> Finding:
    if profile.operators is None:
        return _skipped("operators", "operators are")
    known = {_qualified(name) for name in profile.operators}
    missing = sorted(name for name in map(_qualified, engine.operators) if name not in known)
    if missing:
        return _finding("operators", Outcome.FAILED, f"{len(missing)} operators are missing", ", ".join(missing))
    return _finding("operators", Outcome.PASSED, f"all {len(engine.operators)} operators are there")


def _cpu_features(quantization: QuantizationRecord | None, profile: PlatformProfile) -> Finding:
    if quantization is None or not quantization.full_range:
        return _finding("cpu_features", Outcome.PASSED, "no special processor features are needed")
    if profile.cpu_features is None:
        return _skipped("cpu_features", "processor features are")
    if VNNI_FEATURES.isdisjoint(profile.cpu_features):
        reason = "its int8 weights use their full range, which saturates without one of " + ", ".join(
            sorted(VNNI_FEATURES)
        )
        hint = f"package the model with --platform {profile.name}"
        return _finding("cpu_features", Outcome.FAILED, "the processor would give wrong results", reason, hint)
    return _finding("cpu_features", Outcome.PASSED, "the processor multiplies int8 without saturation")


def _confinement(profile: PlatformProfile) -> Finding:
    """Whether models can be held back there; a model runs without, so that this is no fault."""
    if profile.confinement is None:
        return _skipped("confinement", "confinement of models is")
    missing = profile.confinement.missing
    if missing:
        reason = "; ".join(map(str, missing))
        hint = "serve only packages of people that you trust there, or use a kernel with Landlock and seccomp"
        return _finding("confinement", Outcome.WARNED, "models are not fully confined there", reason, hint)
    names = ", ".join(protection.name for protection in profile.confinement.protections)
    return _finding("confinement", Outcome.PASSED, f"models are confined by {names}")


def _room(check: str, what: str, needed: int, offered: int | None, verb: str) -> Finding:
    if offered is None:
        return _skipped(check, f"{what} is")
    passed = needed <= offered
    return Finding(
        check=f"compatibility.{check}",
        outcome=Outcome.PASSED if passed else Outcome.FAILED,
        summary=f"{verb} {needed / MIB:.1f} MiB of {offered / MIB:.0f} MiB",
        reason=None if passed else f"{what} is too small",
        measured=needed,
        limit=offered,
    )


def _domain(name: str) -> str:
    return name or "ai.onnx"


def _qualified(operator: str) -> str:
    domain, _, name = operator.rpartition("::")
    return f"{_domain(domain)}::{name}"


def local_profile(host: Host) -> PlatformProfile:
    """This host with its engine, as a profile."""
    return host.facts.platform().model_copy(
        update={
            "engine_version": host.engine.version(),
            "opsets": dict(sorted(host.engine.opsets().items())),
            "operators": tuple(sorted(host.engine.operators())),
        }
    )


def quantization_of(package: PackageReader) -> QuantizationRecord | None:
    """The package's config/quantization.json, None where it has none.

    Raises:
        ConfigError: It is no such document.
        DigestMismatchError: Its bytes are not those that the manifest names.
    """
    if QUANTIZATION not in package.names():
        return None
    return parse_document(QuantizationRecord, package.read(QUANTIZATION), f"{package.source}:{QUANTIZATION}")
