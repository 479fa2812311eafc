"""Does a deployment serve this very package, and serve it well? Asked from outside, over HTTP."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from hyperion.domain.command import DeploymentStatus
from hyperion.domain.config import VerificationConfig
from hyperion.domain.deployment import Revision
from hyperion.domain.finding import Finding, Outcome
from hyperion.domain.metrics import percentile
from hyperion.errors import ConfigError, EngineError, PackageError
from hyperion.format.package import PackageReader
from hyperion.ports import Answer, Host, NotReady, Reporter, Tensors
from hyperion.verification.golden import Golden, compare, load_golden_requests
from hyperion.verification.performance import Measurement
from hyperion.verification.request import NoRequestError, generated_request

ACTIVE, READY, GOLDEN = "deployment.active", "deployment.ready", "deployment.golden"
IDENTITY, LATENCY, ERRORS = "deployment.identity", "deployment.latency_p95", "deployment.error_ratio"


def measure_deployment(
    host: Host,
    revision: Revision,
    status: DeploymentStatus | None,
    package: PackageReader,
    config: VerificationConfig,
    reporter: Reporter,
) -> Measurement:
    """Ask the deployment whether it is ready, send it golden requests, then ``config.samples`` more.

    Args:
        host: This host.
        revision: The active revision that serves the package.
        status: What the supervisor says of the deployment, None where none runs.
        package: What should be served.
        config: What must be shown.
        reporter: Where progress goes.
    """
    measurement = Measurement()
    summary = f"revision {revision.number} of {revision.deployment} is this package"
    measurement.findings.append(Finding(check=ACTIVE, outcome=Outcome.PASSED, summary=summary))
    url = None if status is None else status.url
    if url is None:
        trouble = "no supervisor runs" if status is None else status.trouble
        measurement.findings.append(_not_ready("it does not serve", trouble, None))
        return measurement
    if (found := host.inference.not_ready(url, revision.deployment, config.timeout_s)) is not None:
        trouble = None if status is None else status.trouble
        measurement.findings.append(_not_ready(f"it is not ready at {url}", trouble, found))
        return measurement
    measurement.findings.append(Finding(check=READY, outcome=Outcome.PASSED, summary=f"it is ready at {url}"))
    try:
        golden = load_golden_requests(package)
    except (ConfigError, PackageError) as error:
        measurement.findings.append(
            Finding(check=GOLDEN, outcome=Outcome.FAILED, summary="golden requests are broken", reason=error.message)
        )
        return measurement
    caller = _Caller(host, url, revision, config)
    measurement.findings.append(_check_golden(caller, golden))
    requests = [request.inputs for request in golden]
    if not requests:
        try:
            requests = [generated_request(package.manifest.signature)]
        except NoRequestError as error:
            measurement.findings.append(_no_samples(str(error)))
            return measurement
    _sample(measurement, caller, requests, reporter, generated=not golden)
    return measurement


class _Caller:
    """Sends requests to one deployment and notes who answered."""

    def __init__(self, host: Host, url: str, revision: Revision, config: VerificationConfig) -> None:
        self._host, self._url, self._revision, self.config = host, url, revision, config
        self.strangers: list[str] = []

    def ask(self, feeds: Tensors) -> Answer | EngineError:
        try:
            answer = self._host.inference.infer(self._url, self._revision.deployment, feeds, self.config.timeout_s)
        except EngineError as error:
            return error
        if (answer.version, answer.revision) != (self._revision.version, self._revision.number):
            self.strangers.append(f"version {answer.version}, revision {answer.revision}")
        return answer

    def identity(self) -> Finding:
        """Whether all answers came from the revision that is asked about."""
        expected = f"version {self._revision.version}, revision {self._revision.number}"
        if self.strangers:
            return Finding(
                check=IDENTITY,
                outcome=Outcome.FAILED,
                summary=f"{len(self.strangers)} answers came from another revision",
                reason=f"expected {expected}, found {self.strangers[0]}",
                hint="a rollout may be running: see 'hyperion status'",
            )
        return Finding(check=IDENTITY, outcome=Outcome.PASSED, summary=f"all answers name {expected}")


def _not_ready(summary: str, trouble: str | None, found: NotReady | None) -> Finding:
    """What the probe met, behind what the supervisor says is wrong; the hint is for whoever of both can end it."""
    reasons = [reason for reason in (trouble, None if found is None else found.reason) if reason is not None]
    hint = None if found is None else found.hint
    return Finding(
        check=READY,
        outcome=Outcome.FAILED,
        summary=summary,
        reason="; ".join(reasons) or None,
        hint=hint or "see 'hyperion status' and 'hyperion logs'",
    )


def _check_golden(caller: _Caller, golden: Sequence[Golden]) -> Finding:
    if not golden:
        return Finding(
            check=GOLDEN,
            outcome=Outcome.SKIPPED,
            summary="the package holds no golden requests",
            reason="nothing says which outputs are right",
        )
    faults = []
    for request in golden:
        answer = caller.ask(request.inputs)
        if isinstance(answer, EngineError):
            faults.append(f"{request.name}: {answer.message} [{answer.code}]")
        elif (fault := compare(request, answer.outputs).fault) is not None:
            faults.append(f"{request.name}: {fault}")
    if faults:
        return Finding(
            check=GOLDEN,
            outcome=Outcome.FAILED,
            summary=f"golden requests answered wrongly: {len(faults)} of {len(golden)}",
            reason="; ".join(faults[:5]),
            measured=len(faults),
            limit=0,
        )
    judged = sum(bool(request.outputs) for request in golden)
    if not judged:
        return Finding(
            check=GOLDEN,
            outcome=Outcome.SKIPPED,
            summary=f"golden requests that were answered, with nothing to compare: {len(golden)}",
            reason="they name no outputs: nothing says which answers are right",
        )
    summary = f"golden requests answered within tolerance: {judged} of {judged}"
    return Finding(check=GOLDEN, outcome=Outcome.PASSED, summary=summary, measured=0, limit=0)


def _sample(
    measurement: Measurement, caller: _Caller, requests: Sequence[Tensors], reporter: Reporter, *, generated: bool
) -> None:
    samples = caller.config.samples
    latencies: list[float] = []
    failures: list[EngineError] = []
    with reporter.stage("Send requests", samples, "requests") as advance:
        for index in range(samples):
            answer = caller.ask(requests[index % len(requests)])
            if isinstance(answer, EngineError):
                failures.append(answer)
            else:
                latencies.append(answer.latency_ms)
            advance(1)
    if generated and failures and not latencies and all(error.code == "inference.refused" for error in failures):
        measurement.findings.append(_no_samples(f"the model rejects a generated input: {failures[0].message}"))
        return
    _add_figures(measurement, latencies, failures, samples)
    measurement.findings += [
        caller.identity(),
        _latency_finding(percentile(latencies, 0.95), caller.config.latency_p95_ms),
        _errors_finding(failures, samples, caller.config.error_ratio),
    ]


def _add_figures(
    measurement: Measurement, latencies: Sequence[float], failures: Sequence[EngineError], samples: int
) -> None:
    measurement.set("samples", samples)
    for name, q in (("p50", 0.50), ("p95", 0.95), ("p99", 0.99)):
        measurement.set(f"latency_{name}_ms", percentile(latencies, q), "no request was answered")
    measurement.set("error_ratio", len(failures) / samples)
    measurement.set("errors", {**Counter(error.code for error in failures)})


def _latency_finding(p95: float | None, limit: float) -> Finding:
    if p95 is None:
        return Finding(
            check=LATENCY,
            outcome=Outcome.SKIPPED,
            summary="latency is unknown",
            reason="no request was answered",
            limit=limit,
        )
    passed = p95 <= limit
    return Finding(
        check=LATENCY,
        outcome=Outcome.PASSED if passed else Outcome.FAILED,
        summary=f"95 % of the requests are answered within {p95:.2f} ms",
        reason=None if passed else f"expected at most {limit:g} ms (latency_p95_ms)",
        measured=p95,
        limit=limit,
    )


def _errors_finding(failures: Sequence[EngineError], samples: int, limit: float) -> Finding:
    ratio = len(failures) / samples
    passed = ratio <= limit
    first = f"; the first: {failures[0].message} [{failures[0].code}]" if failures else ""
    return Finding(
        check=ERRORS,
        outcome=Outcome.PASSED if passed else Outcome.FAILED,
        summary=f"{len(failures)} of {samples} requests failed",
        reason=None if passed else f"expected a share of at most {limit:g} (error_ratio), found {ratio:g}{first}",
        measured=ratio,
        limit=limit,
    )


def _no_samples(reason: str) -> Finding:
    return Finding(
        check=ERRORS,
        outcome=Outcome.SKIPPED,
        summary="no requests were sent",
        reason=reason,
        hint="put golden requests into the package: they are requests that the model accepts",
    )
