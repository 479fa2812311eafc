"""Lies of model.sig's place and size; what stands in it is checked by those who verify a signing."""

from __future__ import annotations

from collections.abc import Iterator

from hyperion.domain.manifest import MANIFEST, SIGNING
from tests.hostile.forge import BadPackage, honest_manifest, lie, pack_only
from tests.packages import entries


def signing() -> Iterator[BadPackage]:
    """model.sig elsewhere, twice, too large, damaged, or called otherwise."""
    payloads, raw = sorted(entries().items()), honest_manifest(entries())
    bundle, manifest = (SIGNING, b"{}"), (MANIFEST, raw)
    sorted_in = sorted([*payloads, bundle])
    yield lie("signing: sorted among the entries", pack_only([*sorted_in, manifest]), "package.order", SIGNING)
    yield lie("signing: first", pack_only([bundle, *payloads, manifest]), "package.order", SIGNING)
    yield lie("signing: last", pack_only([*payloads, manifest, bundle]), "package.order", MANIFEST)
    twice = pack_only([*payloads, bundle, bundle, manifest])
    yield lie("signing: twice", twice, "package.duplicate_entry", SIGNING)
    damaged = pack_only([*payloads, bundle, manifest], wrong_crc=SIGNING)
    yield lie("signing: wrong crc", damaged, "package.crc", SIGNING)
    for name in ("Model.sig", "model.sig.", "model.sig.bak", "weights/../model.sig"):
        renamed = pack_only([*sorted([*payloads, (name, b"{}")]), manifest])
        yield lie(f"signing: called {name}", renamed, "package.unsafe_name", name)
    huge = BadPackage("signing: 33 MiB", _huge, "package.too_large", SIGNING)
    yield huge
    alone = pack_only([*payloads, bundle])
    yield lie("signing: no manifest behind it", alone, "package.missing_entry", MANIFEST)


def _huge() -> bytes:
    payloads = sorted(entries().items())
    return pack_only([*payloads, (SIGNING, bytes(33 * 1024 * 1024)), (MANIFEST, honest_manifest(entries()))])
