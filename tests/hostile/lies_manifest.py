"""Lies of manifest.json: texts that are no strict JSON, another format, and documents that contradict themselves."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from hyperion.domain.manifest import ARCHITECTURE, MANIFEST, SIGNING
from tests.hostile.forge import BadPackage, changed_manifest, honest_manifest, lie, pack
from tests.packages import entries

Change = Callable[[dict[str, Any]], object]

_DIGEST = "sha256:" + "0" * 64


def texts() -> Iterator[BadPackage]:
    """What two readers would read differently, or one not at all."""
    payloads = sorted(entries().items())
    good = honest_manifest(entries())

    def odd(value: bytes) -> bytes:
        return good.replace(b'"annotations":{}', b'"annotations":' + value)

    deep = b'{"a":' * 100_000 + b"1" + b"}" * 100_000
    for name, raw, code in (
        ("empty", b"", "json.invalid"), ("no json", b"{", "json.invalid"),
        ("two documents", good + good, "json.invalid"), ("trailing text", good + b"x", "json.invalid"),
        ("comment", good[:-1] + b"/* */}", "json.invalid"), ("trailing comma", good[:-1] + b",}", "json.invalid"),
        ("single quotes", good.replace(b'"', b"'"), "json.invalid"), ("zeros", bytes(1000), "json.invalid"),
        ("control character in a text", odd(b'{"a":"\x1b"}'), "json.invalid"),
        ("bom", b"\xef\xbb\xbf" + good, "json.encoding"), ("utf-16", good.decode().encode("utf-16"), "json.encoding"),
        ("utf-16 without a bom", good.decode().encode("utf-16-le"), "json.invalid"),
        ("utf-32", good.decode().encode("utf-32"), "json.encoding"),
        ("latin-1", odd(b'{"a":"\xe9"}'), "json.encoding"),
        ("overlong utf-8", odd(b'{"a":"\xc0\xaf"}'), "json.encoding"),
        ("surrogate in utf-8", odd(b'{"a":"\xed\xa0\x80"}'), "json.encoding"),
        ("lone surrogate", odd(b'{"a":"\\ud800"}'), "json.encoding"),
        ("lone surrogate in a key", odd(b'{"\\udc00":"a"}'), "json.encoding"),
        ("nan", odd(b"NaN"), "json.number"), ("infinity", odd(b"-Infinity"), "json.number"),
        ("1e999", odd(b"1e999"), "json.number"), ("integer of 2^53", odd(b"9007199254740992"), "json.number"),
        ("integer of 5000 digits", odd(b"9" * 5000), "json.number"),
        ("integer of a million digits", odd(b"9" * 1_000_000), "json.number"),
        ("key twice", odd(b'{},"annotations":{}'), "json.duplicate_key"),
        ("key twice inside", odd(b'{"a":"1","a":"2"}'), "json.duplicate_key"),
        ("key twice by an escape", odd(b'{"a":"1","\\u0061":"2"}'), "json.duplicate_key"),
        ("deeply nested", deep, "json.nesting"), ("nested lists", b"[" * 200_000, "json.nesting"),
        ("65 levels", odd(b"[" * 64 + b"]" * 64), "json.nesting"),
        ("64 levels", odd(b"[" * 63 + b"]" * 63), "package.manifest"),
        ("not an object", b"[]", "package.not_a_package"),
        ("another format", good.replace(b'"hyperion"', b'"other"'), "package.not_a_package"),
        ("spaces", good.replace(b'":', b'": '), "package.manifest_encoding"),
        ("a line feed at the end", good + b"\n", "package.manifest_encoding"),
        ("needless escape", good.replace(b"tiny", b"t\\u0069ny"), "package.manifest_encoding"),
        ("keys in another order", _reordered(good), "package.manifest_encoding"),
        ("parent is null", odd(b'{},"parent":null').replace(b',"parent":null', b"", 0), "package.manifest_encoding"),
    ):  # fmt: skip
        yield lie(f"manifest: {name}", pack(payloads, raw), code, MANIFEST)
    too_large = partial(pack, payloads, b'{"a":"' + b"x" * (17 * 1024 * 1024) + b'"}')
    yield BadPackage("manifest: 17 MiB", too_large, "package.too_large", MANIFEST)


def _reordered(good: bytes) -> bytes:
    tree = json.loads(good)
    return json.dumps(dict(reversed(tree.items())), separators=(",", ":")).encode()


def format_versions() -> Iterator[BadPackage]:
    """Every format version but the integer 1."""
    good = honest_manifest(entries())
    for version in (b"0", b"2", b"-1", b"1.0", b"1.5", b'"1"', b"true", b"false", b"null", b"[]", b"[1]", b"{}"):
        raw = good.replace(b'"format_version":1', b'"format_version":' + version)
        name = f"format version {version.decode()}"
        yield lie(name, pack(entries(), raw), "package.unknown_format_version", MANIFEST)
    missing = changed_manifest(lambda m: m.pop("format_version"))
    yield lie("format version missing", pack(entries(), missing), "package.unknown_format_version", MANIFEST)
    later = changed_manifest(lambda m: m.update(format_version=2, novelty={"a": 1}))
    yield lie("format version 2 with other keys", pack(entries(), later), "package.unknown_format_version", MANIFEST)


def documents() -> Iterator[BadPackage]:
    """Keys and values that the manifest may not have."""
    spec = {"name": "x", "dtype": "float32", "shape": [1]}
    parent = {"digest": _DIGEST, "version": "1.0.0", "signature": {"inputs": [spec], "outputs": [spec]}}

    def with_parent(**lies: object) -> Change:
        return lambda m: m.update(parent={**parent, **lies})

    def with_history(**lies: object) -> Change:
        return lambda m: m.update(history=[{"version": "1.0.0", "message": "x", **lies}])

    def with_entry(**lies: object) -> Change:
        return lambda m: m["entries"][ARCHITECTURE].update(lies)

    changes: dict[str, Change] = {
        "unknown key": lambda m: m.update(evil=1),
        "unknown key inside": lambda m: m["engine"].update(evil=1),
        "unknown key in an entry": with_entry(evil=1),
        "required key missing": lambda m: m.pop("signature"),
        "no entries key": lambda m: m.pop("entries"),
        "version is a number": lambda m: m.update(version=1),
        "version is no SemVer": lambda m: m.update(version="1.0"),
        "version with a line break": lambda m: m.update(version="1.0.0\n"),
        "bad name": lambda m: m.update(name="../Evil"),
        "name with an escape sequence": lambda m: m.update(name="a\x1b[2J"),
        "name with a line break": lambda m: m.update(name="tiny\n"),
        "description is a list": lambda m: m.update(description=["x"]),
        "negative size": with_entry(size_bytes=-1),
        "size is a text": with_entry(size_bytes="1"),
        "size is true": with_entry(size_bytes=True),
        "size is a fraction": with_entry(size_bytes=1.5),
        "other digest algorithm": with_entry(digest="md5:" + "0" * 32),
        "short digest": with_entry(digest="sha256:00"),
        "upper-case digest": with_entry(digest="sha256:" + "A" * 64),
        "digest with a line break": with_entry(digest=_DIGEST + "\n"),
        "entries are a list": lambda m: m.update(entries=[]),
        "another engine": lambda m: m["engine"].update(name="pickle"),
        "negative shape": lambda m: m["signature"]["inputs"][0].update(shape=[-4]),
        "unknown dtype": lambda m: m["signature"]["inputs"][0].update(dtype="object"),
        "scheme with an escape sequence": lambda m: m["layers"][0]["tensors"][0].update(scheme="\x1b[2J"),
        "annotation that is no text": lambda m: m.update(annotations={"a": 1}),
        "parent is a list": lambda m: m.update(parent=[]),
        "parent is a text": lambda m: m.update(parent=_DIGEST),
        "parent without a digest": lambda m: m.update(parent={"version": "1.0.0"}),
        "parent's digest is a number": with_parent(digest=1),
        "parent's version is a number": with_parent(version=1),
        "parent's signature is a text": with_parent(signature="x"),
        "parent's processing is a number": with_parent(processing=1),
        "parent with an unknown key": with_parent(evil=1),
        "history is an object": lambda m: m.update(history={}),
        "history line with a bad date": with_history(date="yesterday"),
        "history line with a number as date": with_history(date=1),
        "history line with a local date": with_history(date="2026-01-02T03:04:05"),
        "history line with a date of another offset": with_history(date="2026-01-02T03:04:05+01:00"),
        "history line with a bad version": with_history(version="one"),
        "parent's version is no SemVer": with_parent(version="1"),
        "parent's signature has a bad shape": with_parent(
            signature={"inputs": [{**spec, "shape": [-1]}], "outputs": []}
        ),
        "history line with a bad digest": with_history(digest_before="x"),
    }
    for name, change in changes.items():
        yield _bad(name, change, "package.manifest", MANIFEST)
    for power in (53, 63, 64, 200):
        integers: dict[str, bytes] = {
            "size": b'"size_bytes":%d', "dimension": b'"shape":[%d]', "opset": b'{"ai.onnx":%d}',
        }  # fmt: skip
        for what, text in integers.items():
            raw = re.sub(
                re.escape(text).replace(b"%d", b"[^]},]+"), text % 2**power, honest_manifest(entries()), count=1
            )
            yield lie(f"manifest: {what} of 2^{power}", pack(entries(), raw), "json.number", MANIFEST)
    nulls: dict[str, Change] = {
        "null for no parent": lambda m: m.update(parent=None),
        "null for no platform": lambda m: m.update(platform=None),
        "null for no chunks": with_entry(chunks=None),
        "null for no labels": lambda m: m["signature"].update(labels=None),
        "null for no date": with_history(date=None),
        "null for no processing": with_parent(processing=None),
        "a default left out": lambda m: m.pop("annotations"),
        "date of midnight spelt otherwise": with_history(date="2026-01-02T03:04:05.000Z"),
        "date with an offset of zero": with_history(date="2026-01-02T03:04:05+00:00"),
    }
    for name, change in nulls.items():
        yield _bad(name, change, "package.manifest_encoding", MANIFEST)


def contradictions() -> Iterator[BadPackage]:
    """Manifests that are well formed and not so."""
    size = "size_bytes"
    itself = {MANIFEST: {"digest": _DIGEST, size: 1}}
    yield _bad("lists itself", lambda m: m["entries"].update(itself), "package.manifest", MANIFEST)
    signing = {SIGNING: {"digest": _DIGEST, size: 1}}
    yield _bad("lists its signing", lambda m: m["entries"].update(signing), "package.manifest", MANIFEST)
    layers: dict[str, Change] = {
        "no architecture": lambda m: m["entries"].pop(ARCHITECTURE),
        "layer without entry": lambda m: m["layers"][0].update(entry="weights/none.weights"),
        "layer is an asset": lambda m: m["layers"][0].update(entry="assets/README.md"),
        "layer index": lambda m: m["layers"][0].update(index=7),
        "weights of no layer": lambda m: m.update(layers=[]),
        "two layers, one entry": lambda m: m["layers"].append({**m["layers"][0], "index": 1}),
    }
    for name, change in layers.items():
        yield _bad(name, change, "package.manifest", MANIFEST)
    evil = {"../evil": {"digest": _DIGEST, size: 1}}
    yield _bad("lists a bad name", lambda m: m["entries"].update(evil), "package.unsafe_name", "../evil")
    shout = {"assets/readme.md": {"digest": _DIGEST, size: 1}}
    yield _bad("lists a name twice but for case", lambda m: m["entries"].update(shout), "package.duplicate_entry",
               "assets/readme.md")  # fmt: skip
    ghost = {"assets/ghost": {"digest": _DIGEST, size: 1}}
    yield _bad("lists what is not there", lambda m: m["entries"].update(ghost), "package.missing_entry", "assets/ghost")
    yield _bad("another size", lambda m: m["entries"]["assets/README.md"].update(size_bytes=8_388_607),
               "package.size_mismatch", "assets/README.md")  # fmt: skip
    yield _bad("another digest", lambda m: m["entries"][ARCHITECTURE].update(digest=_DIGEST),
               "package.digest_mismatch", ARCHITECTURE)  # fmt: skip
    thousands = {f"assets/{number}": {"digest": _DIGEST, size: 1} for number in range(65_536)}
    yield _bad("lists 65 536 more", lambda m: m["entries"].update(thousands), "package.too_large", MANIFEST)


def _bad(name: str, change: Change, code: str, entry: str) -> BadPackage:
    small = code != "package.too_large"
    return BadPackage(
        f"manifest: {name}", lambda: pack(entries(), changed_manifest(change)), code, entry, is_small=small
    )
