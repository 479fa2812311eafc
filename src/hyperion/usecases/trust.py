"""This host's trust policy, read whole or not at all: a policy that cannot be understood denies everything."""

from __future__ import annotations

import os
from pathlib import Path

from hyperion.domain.finding import Finding, Outcome
from hyperion.domain.history import trace_revisions
from hyperion.domain.trust import TrustPolicy
from hyperion.errors import ConfigError, HyperionError, NotFoundError, Problem
from hyperion.format.package import PackageReader
from hyperion.format.signing_key import PublicKey, parse_public_key
from hyperion.ports import Host
from hyperion.usecases.config import load_config
from hyperion.usecases.key_file import load_public_key
from hyperion.verification.signing import PLAN, SERVED_BEFORE, Trust, check_trust

POLICY_FILE = "trust.json"
_EXAMPLE = "an example is in docs/how-to/sign-your-package.md, all keys in docs/reference/documents.md"
_PEM = "-----BEGIN "


def load_trust(host: Host) -> Trust | None:
    """The policy that this host was given, else ``trust.json`` in its state folder, else None.

    Raises:
        NotFoundError: The policy that was given is not there (code ``trust.not_found``).
        ConfigError: It is no policy, or has keys that are none: all of them, with their paths (code ``trust.keys``).
        HostError: It cannot be read.
    """
    path = host.trust_policy
    if path is None:
        path = host.state_dir / POLICY_FILE
        if not os.path.lexists(path):
            return None
    try:
        policy = load_config(TrustPolicy, path)
    except NotFoundError as error:
        raise NotFoundError(
            f"there is no trust policy {path}, so nothing can be deployed",
            hint="write it, or unset HYPERION_TRUST_POLICY",
            code="trust.not_found",
        ) from error
    except ConfigError as error:
        hint = f"{error.hint}; {_EXAMPLE}" if error.hint else _EXAMPLE
        raise ConfigError(error.message, problems=error.problems, hint=hint, code=error.code) from error
    return Trust(str(path), policy, _load_keys(policy, path))


def judge_signing(host: Host, package: PackageReader, deployment: str, *, rescue: bool) -> Finding:
    """Whether this host's policy lets a package into a deployment.

    A rescue to what the ledger says that the deployment served before is only warned of: a way back must not hang on a
    policy, a key or a typing error that came later.

    Raises:
        NotFoundError: As ``load_trust``, unless it is such a rescue; so ConfigError and HostError.
    """
    known = rescue and _was_served(host, deployment, package.digest)
    try:
        trust = load_trust(host)
    except HyperionError as error:
        if not known:
            raise
        summary, reason = "the trust policy cannot be applied", f"{error.message}; {SERVED_BEFORE}"
        return Finding(check=PLAN, outcome=Outcome.WARNED, summary=summary, reason=reason, hint=error.hint)
    return check_trust(package, trust, served_before=known)


def _was_served(host: Host, deployment: str, digest: str) -> bool:
    """Whether a package was active in a deployment at some time, by the ledger."""
    revisions = [revision for revision in host.ledger.revisions(deployment) if revision.digest == digest]
    return any(found.promoted_at is not None for found in trace_revisions(revisions, host.ledger.events(deployment)))


def _load_keys(policy: TrustPolicy, path: Path) -> dict[str, tuple[PublicKey, ...]]:
    keys: dict[str, tuple[PublicKey, ...]] = {}
    problems: list[Problem] = []
    for name, rule in policy.models.items():
        loaded = []
        for index, text in enumerate(rule.keys):
            try:
                loaded.append(_load_key(text, f"{name}.keys[{index}]", path.parent))
            except HyperionError as error:
                problems.append(Problem(f"models.{name}.keys[{index}]", error.message))
        keys[name] = tuple(loaded)
    if problems:
        faults = "; ".join(str(problem) for problem in problems)
        raise ConfigError(
            f"{path} has keys that cannot be used: {faults}", problems=problems, hint=_EXAMPLE, code="trust.keys"
        )
    return keys


def _load_key(text: str, where: str, folder: Path) -> PublicKey:
    if text.startswith(_PEM):
        return parse_public_key(text.encode(), where)
    return load_public_key(folder / text)
