"""Watch a deployment while it serves: figures over windows, round by round.

The first round comes at once and covers the time since the revision was made; each later one covers the time since
the round before. Rounds end after ``count``, or never.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from hyperion.domain.metrics import MetricsDocument, MonitorRound
from hyperion.errors import ConfigError, ConflictError, HostError
from hyperion.format.strict_json import parse_json
from hyperion.ports import Host, Reporter
from hyperion.usecases.monitor_errors import error_rounds
from hyperion.usecases.monitor_figures import model_figures, performance_figures, resource_figures
from hyperion.usecases.monitor_window import Window, served_revision, windows

__all__ = ["error_rounds", "monitor_model", "performance_rounds", "resource_rounds", "served_revision"]

METRICS_FORMAT = "hyperion.metrics"
MAX_METRICS_BYTES = 1024 * 1024


def monitor_model(
    host: Host,
    path: Path,
    name: str | None,
    window_s: float,
    *,
    metrics: Path | None = None,
    count: int | None = None,
    reporter: Reporter,
) -> Iterator[MetricsDocument]:
    """The current figures of the deployment that serves a package; each document is also written to ``metrics``.

    Args:
        host: This host.
        path: Package in any form.
        name: The deployment, where several serve the package.
        window_s: Seconds between rounds.
        metrics: Where the latest document is kept, replaced atomically; None for nowhere.
        count: Rounds until the end, None for no end.
        reporter: Warned where the package is not the one that is active now.

    Raises:
        NotFoundError: There is no package, or no deployment serves it.
        ConflictError: ``metrics`` exists and is not ours, or several deployments serve the package.
        HostError: No supervisor runs, or ``metrics`` cannot be written.
    """
    if metrics is not None:
        _refuse_others(metrics)
    for window in windows(host, served_revision(host, path, name, reporter), window_s, count):
        now = window.now
        document = MetricsDocument(
            deployment=now.deployment,
            model=now.model,
            version=now.version,
            revision=now.revision,
            digest=now.digest,
            measured_at=now.at,
            window_s=window.length_s,
            **model_figures(host, window).model_dump(),
        )
        if metrics is not None:
            with host.files.replacing(metrics) as stream:
                stream.write(document.model_dump_json(indent=2).encode() + b"\n")
        yield document


def performance_rounds(
    host: Host, path: Path, name: str | None, interval_s: float, *, count: int | None = None, reporter: Reporter
) -> Iterator[MonitorRound]:
    """Latency, throughput, CPU and caches of the deployment that serves a package; arguments as monitor_model."""
    for window in windows(host, served_revision(host, path, name, reporter), interval_s, count, counters=True):
        yield _round(window, "performance", performance_figures(host, window).model_dump())


def resource_rounds(
    host: Host, path: Path, name: str | None, interval_s: float, *, count: int | None = None, reporter: Reporter
) -> Iterator[MonitorRound]:
    """Memory, disk, network and cycles of the deployment that serves a package; arguments as monitor_model."""
    for window in windows(host, served_revision(host, path, name, reporter), interval_s, count, counters=True):
        yield _round(window, "resources", resource_figures(host, window).model_dump())


def _round(window: Window, kind: str, figures: dict[str, object]) -> MonitorRound:
    now = window.now
    return MonitorRound.model_validate(
        {
            "kind": kind,
            "deployment": now.deployment,
            "model": now.model,
            "version": now.version,
            "revision": now.revision,
            "digest": now.digest,
            "measured_at": now.at,
            "window_s": window.length_s,
            **figures,
        }
    )


def _refuse_others(metrics: Path) -> None:
    """A file that is not ours is not touched.

    Raises:
        ConflictError: ``metrics`` exists and is no metrics.json of ours (code ``metrics.not_ours``).
        HostError: It cannot be read.
    """
    try:
        with metrics.open("rb") as stream:
            raw = stream.read(MAX_METRICS_BYTES + 1)
    except FileNotFoundError:
        return
    except OSError as error:
        raise HostError(f"cannot read {metrics}: {error.strerror}", code="metrics.unreadable") from error
    try:
        found = parse_json(raw, str(metrics), limit=MAX_METRICS_BYTES)
    except ConfigError:
        found = None
    if not isinstance(found, dict) or found.get("format") != METRICS_FORMAT:
        raise ConflictError(
            f"{metrics} exists and was not written by 'hyperion monitor'; it was not touched",
            hint="name another file, or remove this one",
            code="metrics.not_ours",
        )
