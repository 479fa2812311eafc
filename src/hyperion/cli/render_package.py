"""How packages look: what packaging made, what extracting wrote, what is inside."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hyperion.cli.render import line, number, pairs, table
from hyperion.cli.render_quantization import (
    describe_agreement,
    describe_scheme,
    show_classes,
    show_layers,
    show_reasons,
    show_trials,
    verdict,
)
from hyperion.cli.render_version import show_version_history
from hyperion.cli.text import bytes_for_people
from hyperion.domain.manifest import BUDGET_FOLDER

if TYPE_CHECKING:
    from rich.console import Console

    from hyperion.domain.manifest import Layer
    from hyperion.domain.platform import PlatformProfile
    from hyperion.domain.tensor import TensorSpec
    from hyperion.usecases.extract import ExtractSummary
    from hyperion.usecases.inspect import PackageOverview
    from hyperion.usecases.package import PackageSummary


_NO_SAMPLE = "no row of your data is in the package: the budget cannot be checked on the host that it is deployed to"


def show_summary(console: Console, summary: PackageSummary) -> None:
    """Layers with schemes, sizes and errors, why anything stayed in float, what was tried, the verdict, the package."""
    found = summary.measurements
    show_layers(console, summary.layers, found)
    show_reasons(console, summary.layers, summary.alone)
    if summary.layers:
        line(console, "")
    show_trials(console, found.trials, found.sets, every=False)
    show_classes(console, found.loss if summary.budget is not None else None, every=False)
    ratio = f" ({summary.bytes_after / summary.bytes_before:.0%})" if summary.bytes_before else ""
    agreement = describe_agreement(summary.agreement)
    judged = () if summary.budget is None else verdict(summary.budget, found)
    rows_below = (
        *(("" if at else "  converted", note) for at, note in enumerate(summary.converted)),
        ("  scheme", _scheme(summary)),
        ("  smaller", _smaller(summary)),
        ("  agreement", agreement or (None if judged else summary.agreement_unavailable)),
        *judged,
        ("  sample", _sample(summary)),
        ("  weights", f"{bytes_for_people(summary.bytes_before)} → {bytes_for_people(summary.bytes_after)}{ratio}"),
        ("  file", f"{summary.path}, {bytes_for_people(summary.size_bytes)}, in {number(summary.duration_s)} s"),
        ("  digest", summary.digest),
    )
    pairs(console, rows_below)
    line(console, f"packaged {summary.name} {summary.version}", "bold green")


def _scheme(summary: PackageSummary) -> str:
    shortfall = None if summary.shortfall is None else f"with the smallest everywhere, {summary.shortfall}"
    scheme = describe_scheme(summary.scheme, summary.layers)
    return ": ".join(part for part in (scheme, summary.reason, shortfall) if part is not None)


def _smaller(summary: PackageSummary) -> str | None:
    """What a dataset would allow, where ``auto`` had none."""
    sets = summary.measurements.sets
    if summary.requested != "auto" or sets is None or sets.is_data:
        return None
    return "perhaps with --dataset DIR: data allow w4 and static-int8 too, wherever they keep the answers"


def _sample(summary: PackageSummary) -> str | None:
    """That data travels, for whoever hands the package on; or that none does, and what follows from it."""
    rows = summary.sample_rows
    if not rows:
        quantized = summary.scheme not in ("none", "kept")
        return _NO_SAMPLE if summary.budget is not None and quantized else None
    sets = summary.measurements.sets
    of = "your data" if sets is None or sets.is_data else sets.source
    return f"{rows} row{f' of {of} is' if rows == 1 else f's of {of} are'} in the package ({BUDGET_FOLDER})"


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
        *(
            ("  confines", str(protection))
            for protection in (profile.confinement.protections if profile.confinement else ())
        ),
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
        ("  processing", "; ".join(finding.summary for finding in overview.processing)),
        ("  engine", f"{engine.name} from {engine.minimum_version}; opset {opsets}"),
        ("  scheme", None if quantization is None else describe_scheme(quantization.scheme, quantization.layers)),
        ("  agreement", describe_agreement(overview.measurements.agreement) or overview.measurements.unavailable),
        ("  on this host", overview.batching.unsaid(overview.tuning)),
        ("  batching", overview.batching.describe()),
        ("  golden", ", ".join(overview.golden) or "no golden requests"),
        ("  size", f"{bytes_for_people(overview.total_bytes)} of entries"),
        ("  weights", _weights(overview)),
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
    if overview.layers:
        table(console, ("layer", "name", "scheme", "tensors", "entry"), layers, right=("layer", "tensors", "entry"))
    show_version_history(console, overview.history)


def _weights(overview: PackageOverview) -> str:
    """Bytes of the weights as every table has them, and of their entries, where each begins on a page of its own."""
    entries = f"{bytes_for_people(overview.weights_bytes)} as entries, with headers and alignment"
    record = overview.quantization
    return entries if record is None else f"{bytes_for_people(record.bytes_after)}; {entries}"


def _input(spec: TensorSpec) -> str:
    return f"{spec.name} {spec.describe()}{' (optional)' if spec.optional else ''}"


def _schemes(layer: Layer) -> str:
    return ", ".join(sorted({tensor.scheme for tensor in layer.tensors}))
