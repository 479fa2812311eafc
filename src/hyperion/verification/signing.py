"""Signing: is a package signed, are those its files, and is the signer trusted? Says why not, never raises for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hyperion.domain.finding import Finding, Outcome
from hyperion.domain.manifest import SIGNING
from hyperion.domain.signing import file_differences, signed_files
from hyperion.domain.trust import ANY_MODEL, TrustPolicy, TrustRule
from hyperion.errors import PackageError
from hyperion.format.package import PackageReader
from hyperion.format.signing import Signing, read_bundle
from hyperion.format.signing_key import PublicKey

PRESENT = "signing.present"
VALID = "signing.valid"
TRUSTED = "signing.trusted"
PLAN = "plan.signing"

SERVED_BEFORE = "it may come back, since this deployment served it before"

_SHOWN_DIFFERENCES = 3
_SHOWN_DIGITS = 16
_TRUST_IT = "have a trusted key sign it, or trust this one where you know whose it is"
_SIGN_AGAIN = "have it signed: 'hyperion sign F --key K'"


@dataclass(frozen=True, slots=True)
class Trust:
    """A trust policy with its keys.

    Attributes:
        source: The policy's path.
        policy: As it was read.
        keys: Of each rule, by its name.
    """

    source: str
    policy: TrustPolicy
    keys: Mapping[str, tuple[PublicKey, ...]]


def check_signing(package: PackageReader, keys: Sequence[PublicKey] = ()) -> tuple[Finding, ...]:
    """Check a package's signing: that it is there, that it names exactly this package's files, and who made it.

    The payloads are not read: that their digests are those of the manifest is integrity's to say.

    Args:
        package: Opened.
        keys: Trusted. Without any, there is nothing to find in a package that is not signed, and a signer stays
            unproven.
    """
    if package.signing is None:
        return (_absent(),) if keys else ()
    present = Finding(check=PRESENT, outcome=Outcome.PASSED, summary=f"there is a signing, {SIGNING}", entry=SIGNING)
    try:
        signing = read_bundle(package.signing, package.source)
    except PackageError as error:
        reason = f"{error.message} [{error.code}]"
        return (present, _failed(VALID, f"{SIGNING} is no signing that can be checked", reason, error.hint))
    fault = _files_fault(signing, package) or _forgery_fault(signing, keys)
    if fault is not None:
        return (present, fault)
    valid = Finding(check=VALID, outcome=Outcome.PASSED, summary=f"it names these {len(signing.files)} files")
    return (present, valid, _check_signer(signing, keys))


def check_trust(package: PackageReader, trust: Trust | None, *, served_before: bool = False) -> Finding:
    """Whether this host's trust policy lets a package be served.

    Args:
        package: Opened.
        trust: None where this host has no policy.
        served_before: Whether the deployment served it already: then what would deny it only warns, for a way back
            must not hang on a policy or a key that came later.
    """
    finding = _apply(package, trust)
    if finding.outcome is not Outcome.FAILED or not served_before:
        return finding
    return finding.model_copy(update={"outcome": Outcome.WARNED, "reason": f"{finding.reason}; {SERVED_BEFORE}"})


def _apply(package: PackageReader, trust: Trust | None) -> Finding:
    if trust is None:
        return _judge(check_signing(package), TrustRule(require=False))
    model = package.manifest.name
    name = trust.policy.rule_name(model)
    if name is None:
        reason = f"{trust.source} names neither {model!r} nor '{ANY_MODEL}'"
        hint = f"add a rule for it, or a rule '{ANY_MODEL}' for all that no other rule names"
        return _failed(PLAN, f"the trust policy has no rule for {model}", reason, hint)
    rule = trust.policy.models[name]
    if rule.require and not rule.keys:
        reason = f"the rule {name!r} of {trust.source} demands a signing and names no key"
        return _failed(PLAN, f"nobody may sign {model}", reason, "add the signer's public key to the rule")
    return _judge(check_signing(package, trust.keys[name]), rule)


def _judge(findings: Sequence[Finding], rule: TrustRule) -> Finding:
    """One checklist item: a false signing always fails, a missing or unknown one where the rule demands it."""
    fault = next((finding for finding in findings if finding.outcome is Outcome.FAILED), None)
    if fault is not None:
        fails = rule.require or fault.check == VALID
        return fault.model_copy(update={"check": PLAN, "outcome": Outcome.FAILED if fails else Outcome.WARNED})
    if findings:
        return findings[-1].model_copy(update={"check": PLAN})
    return Finding(
        check=PLAN, outcome=Outcome.SKIPPED, summary="not signed", reason="no trust policy of this host asks for it"
    )


def _absent() -> Finding:
    return _failed(PRESENT, "the package is not signed", f"there is no {SIGNING} in it", _SIGN_AGAIN)


def _files_fault(signing: Signing, package: PackageReader) -> Finding | None:
    differences = file_differences(signing.files, signed_files(package.manifest, package.digest))
    if not differences:
        return None
    shown = "; ".join(differences[:_SHOWN_DIFFERENCES])
    more = f"; and {len(differences) - _SHOWN_DIFFERENCES} more" if len(differences) > _SHOWN_DIFFERENCES else ""
    return _failed(VALID, "what was signed is another package", shown + more, _SIGN_AGAIN)


def _forgery_fault(signing: Signing, keys: Sequence[PublicKey]) -> Finding | None:
    """A signing that names a trusted key, which did not make it."""
    named = next((key for key in keys if key.hint == signing.hint), None)
    if named is None or named.verifies(signing.sig, signing.message):
        return None
    reason = f"it says that it is by {_shown(named)}, which did not sign this: it is forged or damaged"
    return _failed(VALID, "the signing is false", reason, _SIGN_AGAIN)


def _check_signer(signing: Signing, keys: Sequence[PublicKey]) -> Finding:
    named = f"the key {signing.hint[:_SHOWN_DIGITS]}…" if signing.hint else "a key that it does not name"
    if not keys:
        return Finding(
            check=TRUSTED,
            outcome=Outcome.SKIPPED,
            summary=f"signed by {named}, by its own account",
            reason="not checked against a trusted key",
            measured=signing.hint,
            hint="'hyperion verify model --input F --trust PUB' checks it against a public key that you have",
        )
    candidates = (key for key in keys if signing.hint in (None, key.hint))
    signer = next((key for key in candidates if key.verifies(signing.sig, signing.message)), None)
    if signer is None:
        trusted = ", ".join(_shown(key) for key in keys)
        return _failed(TRUSTED, f"signed by {named}, which is not trusted", f"trusted: {trusted}", _TRUST_IT)
    return Finding(check=TRUSTED, outcome=Outcome.PASSED, summary=f"signed by {_shown(signer)}", measured=signer.hint)


def _shown(key: PublicKey) -> str:
    return f"{key.source} (key {key.hint[:_SHOWN_DIGITS]}…)"


def _failed(check: str, summary: str, reason: str, hint: str | None) -> Finding:
    return Finding(check=check, outcome=Outcome.FAILED, summary=summary, reason=reason, hint=hint)
