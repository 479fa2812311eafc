"""How packages look: what packaging made, what extracting wrote, what is inside."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hyperion.cli.render import line, number, pairs, table
from hyperion.cli.render_version import show_version_history
from hyperion.cli.text import bytes_for_people

if TYPE_CHECKING:
    from rich.console import Console

    from hyperion.domain.manifest import Layer
    from hyperion.domain.platform import PlatformProfile
    from hyperion.domain.scheme import Agreement
    from hyperion.domain.tensor import TensorSpec
    from hyperion.usecases.extract import ExtractSummary
    from hyperion.usecases.inspect import PackageOverview
    from hyperion.usecases.package import PackageSummary


def show_summary(console: Console, summary: PackageSummary) -> None:
    """Layers with their schemes and sizes, why anything stayed in float, then the package."""
    columns = ("layer", "name", "scheme", "bits", "before", "after")
    rows = (
        (
            layer.index, layer.name, layer.scheme, layer.bits,
            bytes_for_people(layer.bytes_before), bytes_for_people(layer.bytes_after),
        )
        for layer in summary.layers
    )  # fmt: skip
    table(console, columns, rows, right=("layer", "bits", "before", "after"))
    for layer in summary.layers:
        for kept in layer.kept:
            alone = summary.alone.get(kept.tensor)
            more = "" if alone is None else f": quantizing it alone changes the output by {alone:.1%}"
            line(console, f"  {kept.tensor} stayed as it was: {kept.reason}{more}", "dim")
    line(console, "")
    ratio = f" ({summary.bytes_after / summary.bytes_before:.0%})" if summary.bytes_before else ""
    rows_below = (
        ("  scheme", _scheme(summary)),
        ("  agreement", _agreement(summary.agreement) or summary.agreement_unavailable),
        ("  weights", f"{bytes_for_people(summary.bytes_before)} → {bytes_for_people(summary.bytes_after)}{ratio}"),
        ("  file", f"{summary.path}, {bytes_for_people(summary.size_bytes)}, in {number(summary.duration_s)} s"),
        ("  digest", summary.digest),
    )
    pairs(console, rows_below)
    line(console, f"packaged {summary.name} {summary.version}", "bold green")


def _scheme(summary: PackageSummary) -> str:
    shortfall = None if summary.shortfall is None else f"with all quantized, {summary.shortfall}"
    return ": ".join(part for part in (summary.scheme, summary.reason, shortfall) if part is not None)


def _agreement(agreement: Agreement | None) -> str | None:
    if agreement is None:
        return None
    measure = "same class as the float model" if agreement.measure == "top1" else "mean cosine with the float model"
    return f"{agreement.value:.4f} {measure} over {agreement.rows} rows (threshold {agreement.threshold})"


def show_extracted(console: Console, summary: ExtractSummary) -> None:
    """What was extracted, and where."""
    rows = (
        ("  digest", summary.digest),
        ("  entries", f"{summary.entries}, all verified"),
        ("  size", bytes_for_people(summary.size_bytes)),
    )
    pairs(console, rows)
    line(console, f"extracted {summary.name} {summary.version} to {summary.output}", "bold green")


def show_platform(console: Console, profile: PlatformProfile) -> None:
    """A platform profile; operators by their number."""
    opsets = ", ".join(f"{domain} {version}" for domain, version in sorted((profile.opsets or {}).items()))
    rows = (
        ("  cores", profile.cores),
        ("  memory", None if profile.memory_bytes is None else bytes_for_people(profile.memory_bytes)),
        ("  disk free", None if profile.disk_free_bytes is None else bytes_for_people(profile.disk_free_bytes)),
        ("  engine", profile.engine_version and f"onnxruntime {profile.engine_version}"),
        ("  opsets", opsets),
        ("  operators", None if profile.operators is None else len(profile.operators)),
        ("  cpu features", " ".join(profile.cpu_features or ())),
        ("  probed at", profile.probed_at),
    )
    pairs(console, rows)
    line(console, profile.name, "bold")


def show_overview(console: Console, overview: PackageOverview) -> None:
    """Metadata, inputs and outputs, layers, history."""
    line(console, f"{overview.name} {overview.version}", "bold")
    signature, engine, quantization = overview.signature, overview.engine, overview.quantization
    opsets = ", ".join(f"{domain} {version}" for domain, version in engine.opsets.items())
    rows = (
        ("  digest", overview.digest),
        ("  description", overview.description),
        ("  author", overview.author),
        ("  license", overview.license),
        ("  tags", ", ".join(overview.tags)),
        ("  made for", overview.platform),
        ("  inputs", "; ".join(_input(spec) for spec in signature.inputs)),
        ("  outputs", "; ".join(f"{spec.name} {spec.describe()}" for spec in signature.outputs)),
        ("  labels", ", ".join(signature.labels or ())),
        ("  engine", f"{engine.name} from {engine.minimum_version}; opset {opsets}"),
        ("  scheme", None if quantization is None else quantization.scheme),
        ("  agreement", _agreement(overview.measurements.agreement) or overview.measurements.unavailable),
        ("  golden", ", ".join(overview.golden) or "no golden requests"),
        ("  size", f"{bytes_for_people(overview.total_bytes)}, weights {bytes_for_people(overview.weights_bytes)}"),
        ("  parent", None if overview.parent is None else f"{overview.parent.version}, {overview.parent.digest}"),
        ("  signing", overview.signing[-1].summary if overview.signing else "not signed"),
        *((f"  {key}", value) for key, value in overview.annotations.items()),
    )
    pairs(console, rows)
    line(console, "")
    sizes = overview.entries
    layers = (
        (layer.index, layer.name, _schemes(layer), len(layer.tensors), bytes_for_people(sizes[layer.entry].size_bytes))
        for layer in overview.layers
    )
    table(console, ("layer", "name", "scheme", "tensors", "size"), layers, right=("layer", "tensors", "size"))
    show_version_history(console, overview.history)


def _input(spec: TensorSpec) -> str:
    return f"{spec.name} {spec.describe()}{' (optional)' if spec.optional else ''}"


def _schemes(layer: Layer) -> str:
    return ", ".join(sorted({tensor.scheme for tensor in layer.tensors}))
