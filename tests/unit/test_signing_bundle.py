"""model.sig: what is written reads back, and every lie in one is refused by its name."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
import rfc8785
from tests.packages import entries, manifest

from hyperion.domain.digest import digest_of
from hyperion.domain.manifest import Entry, Manifest
from hyperion.domain.signing import dsse_message, file_differences, signed_files
from hyperion.errors import MalformedPackageError
from hyperion.format.manifest_json import manifest_bytes
from hyperion.format.signing import make_bundle, read_bundle, statement_for
from hyperion.format.signing_key import SigningKey

KEY = SigningKey.generate()
MANIFEST = manifest({name: Entry(digest=digest_of(data), size_bytes=len(data)) for name, data in entries().items()})
RAW = manifest_bytes(MANIFEST)
STATEMENT = statement_for(RAW, MANIFEST)
BUNDLE = make_bundle(STATEMENT, KEY)


def test_what_is_written_reads_back_and_verifies() -> None:
    signing = read_bundle(BUNDLE, "tiny")

    assert signing.files == signed_files(MANIFEST, digest_of(RAW))
    assert signing.hint == KEY.public.hint
    assert KEY.public.verifies(signing.sig, signing.message)


def test_manifest_json_itself_is_signed() -> None:
    assert read_bundle(BUNDLE, "tiny").files["manifest.json"] == digest_of(RAW)


def test_the_same_package_gives_the_same_canonical_statement() -> None:
    assert statement_for(RAW, MANIFEST) == STATEMENT == rfc8785.dumps(json.loads(STATEMENT))


def test_files_are_in_the_order_of_their_paths_not_of_their_text() -> None:
    digest = digest_of(b"")
    named = [Entry(digest=digest, size_bytes=0)] * 3
    odd: Manifest = MANIFEST.model_copy(
        update={"entries": dict(zip(("assets/a.b", "assets/a/b", "assets/a-b"), named, strict=True))}
    )

    assert list(signed_files(odd, digest)) == ["assets/a/b", "assets/a-b", "assets/a.b", "manifest.json"]


def test_the_message_is_the_pre_authentication_encoding_of_dsse() -> None:
    assert dsse_message(b"hello world") == b"DSSEv1 28 application/vnd.in-toto+json 11 hello world"


@pytest.mark.parametrize(
    ("signed", "present", "said"),
    [
        ({"a": "1"}, {"a": "1"}, ()),
        ({"a": "1", "b": "2"}, {"a": "1"}, ("'b' was signed but is not there",)),
        ({"a": "1"}, {"a": "1", ".git/x": "2"}, ("'.git/x' was not signed",)),
        ({"a": "1"}, {"a": "2"}, ("'a' was signed as 1, is 2",)),
        ({"a": "1"}, {"A": "1"}, ("'a' was signed but is not there", "'A' was not signed")),
    ],
)
def test_differences_between_signed_and_present_files_are_named(
    signed: dict[str, str], present: dict[str, str], said: tuple[str, ...]
) -> None:
    assert file_differences(signed, present) == said


# --- lies in the envelope ---


def bundle(change: Callable[[dict[str, Any]], object]) -> bytes:
    tree = json.loads(BUNDLE)
    change(tree)
    return json.dumps(tree).encode()


def envelope(change: Callable[[dict[str, Any]], object]) -> bytes:
    return bundle(lambda tree: change(tree["dsseEnvelope"]))


SIGNATURE = json.loads(BUNDLE)["dsseEnvelope"]["signatures"][0]
ENVELOPES = {
    "nothing": (b"", "no valid JSON"),
    "no JSON": (b"\x00\x01", "no valid JSON"),
    "a byte-order mark": (b"\xef\xbb\xbf" + BUNDLE, "byte-order mark"),
    "a list": (b"[]", "object"),
    "a duplicate key": (BUNDLE.replace(b'{"dsseEnvelope"', b'{"mediaType":"x","dsseEnvelope"'), "twice in one object"),
    "depth": (b"[" * 100_000 + b"]" * 100_000, "nested deeper"),
    "another media type": (bundle(lambda t: t.update(mediaType="application/json")), "mediaType"),
    "no media type": (bundle(lambda t: t.pop("mediaType")), "mediaType: required"),
    "an unknown key": (bundle(lambda t: t.update(extra=1)), "extra: unknown key"),
    "a key in Python's spelling": (bundle(lambda t: t.update(media_type=t.pop("mediaType"))), "mediaType: required"),
    "another payload type": (envelope(lambda e: e.update(payloadType="text/plain")), "payloadType"),
    "no signature": (envelope(lambda e: e.update(signatures=[])), "at least 1 item"),
    "two signatures": (envelope(lambda e: e.update(signatures=[SIGNATURE, SIGNATURE])), "at most 1 item"),
    "an empty signature": (envelope(lambda e: e["signatures"][0].update(sig="")), "sig is empty"),
    "a signature of no base64": (envelope(lambda e: e["signatures"][0].update(sig="!!")), "sig is no base64"),
    "base64 of the web": (envelope(lambda e: e["signatures"][0].update(sig="_-__")), "sig is no base64"),
    "base64 with hidden bits": (envelope(lambda e: e["signatures"][0].update(sig="AB==")), "no canonical base64"),
    "base64 in lines": (envelope(lambda e: e.update(payload="AAAA\nAAAA")), "payload is no base64"),
    "a payload of non-ASCII": (envelope(lambda e: e.update(payload="é")), "payload is no base64"),
    "a number as payload": (envelope(lambda e: e.update(payload=7)), "payload"),
    "a certificate": (
        bundle(lambda t: t.update(verificationMaterial={"certificate": {"rawBytes": "AA=="}})),
        "found one by a certificate",
    ),
    "a chain of certificates": (
        bundle(lambda t: t.update(verificationMaterial={"x509CertificateChain": {}})),
        "found one by a certificate",
    ),
    "an entry of a log": (bundle(lambda t: t["verificationMaterial"].update(tlogEntries=[{}])), "at most 0 items"),
    "a hint in words": (bundle(lambda t: t["verificationMaterial"]["publicKey"].update(hint="me")), "hint"),
}


@pytest.mark.parametrize("name", ENVELOPES)
def test_a_bundle_that_is_not_what_it_must_be_is_refused(name: str) -> None:
    raw, said = ENVELOPES[name]

    with pytest.raises(MalformedPackageError) as caught:
        read_bundle(raw, "tiny.hyperion")

    assert caught.value.code == "signing.bundle"
    assert said in caught.value.message
    assert caught.value.message.startswith("tiny.hyperion: model.sig")
    assert len(caught.value.message) < 1000


def test_a_bundle_beyond_the_cap_is_refused_unparsed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hyperion.format.signing.MAX_SIGNING_BYTES", 100)

    with pytest.raises(MalformedPackageError, match="at most 100 are read"):
        read_bundle(BUNDLE, "tiny")


# --- lies in the statement, rightly signed ---


def signed(change: Callable[[dict[str, Any]], object]) -> bytes:
    """A statement with a lie in it, signed by the true key."""
    tree = json.loads(STATEMENT)
    change(tree)
    return make_bundle(json.dumps(tree).encode(), KEY)


def predicate(change: Callable[[dict[str, Any]], object]) -> bytes:
    return signed(lambda tree: change(tree["predicate"]))


def resource(**values: object) -> bytes:
    return predicate(lambda p: p["resources"][0].update(values))


STATEMENTS = {
    "no JSON": (make_bundle(b"{", KEY), "no valid JSON"),
    "a duplicate key": (make_bundle(STATEMENT.replace(b"{", b'{"_type":"x",', 1), KEY), "twice in one object"),
    "NaN": (make_bundle(b'{"_type":NaN}', KEY), "NaN"),
    "another type": (signed(lambda t: t.update(_type="https://in-toto.io/Statement/v0.1")), "_type"),
    "the type in Python's spelling": (signed(lambda t: t.update(kind=t.pop("_type"))), "_type: required"),
    "the predicate of version 0.1": (
        signed(lambda t: t.update(predicateType="https://model_signing/Digests/v0.1")),
        "predicateType",
    ),
    "no subject": (signed(lambda t: t.update(subject=[])), "at least 1 item"),
    "two subjects": (signed(lambda t: t.update(subject=t["subject"] * 2)), "at most 1 item"),
    "another subject": (
        signed(lambda t: t["subject"][0]["digest"].update(sha256="0" * 64)),
        "the statement contradicts itself",
    ),
    "shards": (predicate(lambda p: p["serialization"].update(method="shards")), "method"),
    "another hash of the whole": (predicate(lambda p: p["serialization"].update(hash_type="blake3")), "hash_type"),
    "another hash of a file": (resource(algorithm="sha1"), "algorithm"),
    "a digest in capitals": (resource(digest="A" * 64), "digest"),
    "a short digest": (resource(digest="ab"), "digest"),
    "a number for a name": (resource(name=1), "name"),
    "a changed digest": (resource(digest="0" * 64), "the statement contradicts itself"),
    "a file twice": (predicate(lambda p: p["resources"].append(p["resources"][0])), "names 'architecture.json' twice"),
    "files in another order": (predicate(lambda p: p["resources"].reverse()), "the statement contradicts itself"),
    "no resources": (predicate(lambda p: p.pop("resources")), "resources: required"),
}


@pytest.mark.parametrize("name", STATEMENTS)
def test_a_statement_that_is_not_what_it_must_be_is_refused(name: str) -> None:
    raw, said = STATEMENTS[name]

    with pytest.raises(MalformedPackageError) as caught:
        read_bundle(raw, "tiny.hyperion")

    assert caught.value.code == "signing.statement"
    assert said in caught.value.message
    assert len(caught.value.message) < 1000


def test_what_a_later_statement_says_besides_is_ignored_as_version_1_demands() -> None:
    raw = predicate(lambda p: p.update(model_card={"x": 1}))

    assert read_bundle(raw, "tiny").files == signed_files(MANIFEST, digest_of(RAW))


def test_every_single_bit_flip_of_what_the_key_made_is_found() -> None:
    signing = read_bundle(BUNDLE, "tiny")

    for position in range(len(signing.sig) * 8):
        flipped = bytearray(signing.sig)
        flipped[position // 8] ^= 1 << position % 8
        assert not KEY.public.verifies(bytes(flipped), signing.message)


def test_no_single_character_of_a_bundle_can_change_what_it_says() -> None:
    honest = read_bundle(BUNDLE, "tiny")

    for position in range(0, len(BUNDLE), 3):
        raw = bytearray(BUNDLE)
        raw[position] ^= 1
        try:
            found = read_bundle(bytes(raw), "tiny")
        except MalformedPackageError:
            continue
        same = (found.files, found.hint) == (honest.files, honest.hint)
        assert same or found.hint != honest.hint or not KEY.public.verifies(found.sig, found.message)


def test_a_signing_of_something_else_does_not_verify() -> None:
    other = base64.b64encode(KEY.sign(b"something else")).decode()
    signing = read_bundle(envelope(lambda e: e["signatures"][0].update(sig=other)), "tiny")

    assert not KEY.public.verifies(signing.sig, signing.message)
