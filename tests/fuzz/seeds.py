"""Where fuzzing begins: good packages, every lie of the corpus that is small, and all that was ever found."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

from hyperion.domain.manifest import MANIFEST, SIGNING, Entry
from hyperion.format.manifest_json import manifest_bytes
from tests.fuzz.items import encoded
from tests.hostile import lies_contents, lies_manifest, lies_names, lies_weights
from tests.hostile.corpus import corpus
from tests.hostile.forge import honest_manifest, pack, pack_only
from tests.packages import entries, manifest, package_bytes

FOUND = Path(__file__).parent / "found"
"""Inputs that once broke a target, in a folder of its name."""
LARGEST_BYTES = 40_000


def seeds(target: str) -> Iterator[bytes]:
    """Inputs for a target of ``tests.fuzz.targets``."""
    yield from (path.read_bytes() for path in sorted((FOUND / target).glob("*")))
    small = (data for data in _SEEDS[target]() if len(data) <= LARGEST_BYTES)
    yield from dict.fromkeys(small)


def _archives() -> Iterator[bytes]:
    good = package_bytes()
    yield good
    yield pack_only([*sorted(entries().items()), (SIGNING, b"{}"), (MANIFEST, honest_manifest(entries()))])
    yield good + bytes(100)
    yield from (bad.make() for bad in corpus() if bad.is_small)


def _items() -> Iterator[bytes]:
    payloads = entries() | {"assets/golden/a.json": b"{}", "assets/golden/a.safetensors": b"\x02" + bytes(7) + b"{}"}
    yield encoded(_unpacked(pack(payloads)))
    for family in (lies_contents.contents, lies_contents.documents, lies_names.listed_names):
        yield from (encoded(_unpacked(bad.make())) for bad in family() if bad.is_small)


def _manifests() -> Iterator[bytes]:
    entry = Entry(digest="sha256:" + "0" * 64, size_bytes=1)
    whole = manifest({"architecture.json": entry, "weights/layer0.weights": entry}, description="é\u2028😀\x7f\x1b")
    yield manifest_bytes(whole)
    for family in (lies_manifest.texts, lies_manifest.documents, lies_manifest.contradictions):
        yield from (dict(_unpacked(bad.make()))[MANIFEST] for bad in family() if bad.is_small)


def _weights() -> Iterator[bytes]:
    yield entries()["weights/layer0.weights"]
    for family in (lies_weights.headers, lies_weights.layouts):
        yield from (dict(_unpacked(bad.make()))["weights/layer0.weights"] for bad in family() if bad.is_small)


def _signings() -> Iterator[bytes]:
    from hyperion.domain.signing import BUNDLE_TYPE, PAYLOAD_TYPE

    yield b"{}"
    envelope = {"payload": "e30=", "payloadType": PAYLOAD_TYPE, "signatures": [{"sig": "MAA=", "keyid": ""}]}
    material = {"publicKey": {"hint": "0" * 64}, "tlogEntries": []}
    bundle = {"mediaType": BUNDLE_TYPE, "verificationMaterial": material, "dsseEnvelope": envelope}
    yield json.dumps(bundle).encode()


def _names() -> Iterator[bytes]:
    yield from (name.encode() for name in entries())
    yield from (name.encode() for name in (*lies_names.UNSAFE, *lies_names.CLASHING))


def _unpacked(data: bytes) -> list[tuple[str, bytes]]:
    with zipfile.ZipFile(BytesIO(data)) as archive:
        return [(info.filename, archive.read(info)) for info in archive.infolist()]


_SEEDS = {
    "archive": _archives, "entries": _items, "contents": _items, "manifest": _manifests, "tensor_header": _weights,
    "json_text": _manifests, "signing": _signings, "recovery": _archives, "names": _names,
}  # fmt: skip
