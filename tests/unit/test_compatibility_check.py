"""Compatibility: what a package needs against what a target offers; unknown is skipped, never assumed."""

from __future__ import annotations

import pytest

from hyperion.domain.finding import Outcome
from hyperion.domain.manifest import EngineRequirement, Entry, Manifest
from hyperion.domain.platform import PlatformProfile
from hyperion.domain.scheme import QuantizationRecord
from hyperion.domain.tensor import Signature, TensorSpec
from hyperion.verification.compatibility import check_compatibility, parse_platform

SPEC = TensorSpec(name="x", dtype="float32", shape=("b", 2))
DIGEST = "sha256:" + "0" * 64


def manifest(platform: str | None = None) -> Manifest:
    return Manifest(
        format_version=1, name="m", version="1.0.0", platform=platform,
        signature=Signature(inputs=(SPEC,), outputs=(SPEC,)),
        engine=EngineRequirement(minimum_version="1.23", opsets={"ai.onnx": 17}, operators=("ai.onnx::MatMul",)),
        layers=(), entries={"weights/layer0.weights": Entry(digest=DIGEST, size_bytes=1000)},
    )  # fmt: skip


def confinement(*, in_force: bool) -> dict[str, object]:
    return {"protections": ({"name": "file_access", "in_force": in_force, "detail": "Landlock"},)}


def profile(**changed: object) -> PlatformProfile:
    known: dict[str, object] = {
        "os": "linux", "architecture": "amd64", "cpu_features": ("avx2",), "memory_bytes": 10_000,
        "disk_free_bytes": 10_000, "engine_version": "1.30.0", "opsets": {"ai.onnx": 21},
        "operators": ("ai.onnx::MatMul", "ai.onnx::Add"), "confinement": confinement(in_force=True),
    }  # fmt: skip
    return PlatformProfile.model_validate({**known, **changed})


def quantization(*, full_range: bool) -> QuantizationRecord:
    return QuantizationRecord(
        requested="int8", scheme="int8", full_range=full_range, bytes_before=2, bytes_after=1, layers=()
    )


def outcome(check: str, target: PlatformProfile, record: QuantizationRecord | None = None) -> Outcome:
    findings = {finding.check: finding for finding in check_compatibility(manifest(), record, target)}
    return findings[f"compatibility.{check}"].outcome


def test_a_target_that_offers_all_passes_every_check() -> None:
    findings = check_compatibility(manifest(), quantization(full_range=False), profile())

    assert {finding.outcome for finding in findings} == {Outcome.PASSED}


@pytest.mark.parametrize(
    ("check", "changed"),
    [
        ("platform", {"os": "plan9"}),
        ("engine_version", {"engine_version": "1.22.9"}),
        ("opsets", {"opsets": {"ai.onnx": 16}}),
        ("opsets", {"opsets": {}}),
        ("operators", {"operators": ("ai.onnx::Add",)}),
        ("memory", {"memory_bytes": 999}),
        ("disk", {"disk_free_bytes": 999}),
    ],
)
def test_what_the_target_lacks_fails_its_check(check: str, changed: dict[str, object]) -> None:
    assert outcome(check, profile(**changed)) is Outcome.FAILED


@pytest.mark.parametrize("check", ["engine_version", "opsets", "operators", "memory", "disk"])
def test_a_bare_platform_name_skips_what_it_does_not_say(check: str) -> None:
    target = parse_platform("linux/amd64")

    assert target is not None
    assert outcome(check, target) is Outcome.SKIPPED


@pytest.mark.parametrize(
    ("features", "expected"),
    [(("avx2",), Outcome.FAILED), (("avx2", "avx512_vnni"), Outcome.PASSED), (None, Outcome.SKIPPED)],
)
def test_full_range_int8_needs_a_processor_that_does_not_saturate(
    features: tuple[str, ...] | None, expected: Outcome
) -> None:
    assert outcome("cpu_features", profile(cpu_features=features), quantization(full_range=True)) is expected


def test_a_package_made_for_another_platform_warns() -> None:
    findings = check_compatibility(manifest("linux/arm64"), None, profile())

    assert findings[0].outcome is Outcome.WARNED
    assert "linux/arm64" in str(findings[0].reason)


@pytest.mark.parametrize(
    ("text", "name", "features"),
    [
        ("linux/amd64", "linux/amd64", None),
        ("Linux/x86_64", "linux/amd64", None),
        ("linux/aarch64", "linux/arm64", None),
        ("linux/amd64+avx2+avx512_vnni", "linux/amd64", ("avx2", "avx512_vnni")),
    ],
)
def test_platform_names_are_read_in_their_usual_spellings(
    text: str, name: str, features: tuple[str, ...] | None
) -> None:
    found = parse_platform(text)

    assert found is not None
    assert (found.name, found.cpu_features) == (name, features)


@pytest.mark.parametrize("text", ["target_platform", "linux", "a/b/c", "", "linux/amd64+", "../linux/amd64"])
def test_other_text_is_no_platform_name(text: str) -> None:
    assert parse_platform(text) is None


def test_a_machine_that_cannot_confine_models_is_warned_of() -> None:
    assert outcome("confinement", profile(confinement=confinement(in_force=False))) is Outcome.WARNED
    assert outcome("confinement", profile(confinement=None)) is Outcome.SKIPPED
