"""Laws of signing: what is written reads back, and whatever else is read is refused in one way."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.packages import manifest

from hyperion.domain.digest import digest_of
from hyperion.domain.manifest import Entry
from hyperion.domain.signing import file_differences, signed_files
from hyperion.errors import MalformedPackageError
from hyperion.format.manifest_json import manifest_bytes
from hyperion.format.signing import make_bundle, read_bundle, statement_for
from hyperion.format.signing_key import SigningKey

KEY = SigningKey.generate()
NAMES = st.from_regex(r"assets/[a-z0-9_][a-z0-9._-]{0,8}(/[a-z0-9_]{1,4})?", fullmatch=True)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=10), children, max_size=3),
    max_leaves=8,
)
GOOD = json.loads(make_bundle(b"{}", KEY))


@given(st.dictionaries(NAMES, st.binary(max_size=8), max_size=20))
def test_every_signing_reads_back_as_the_files_that_were_signed(files: dict[str, bytes]) -> None:
    signed = manifest({name: Entry(digest=digest_of(data), size_bytes=len(data)) for name, data in files.items()})
    raw = manifest_bytes(signed)

    signing = read_bundle(make_bundle(statement_for(raw, signed), KEY), "tiny")

    assert list(signing.files.items()) == list(signed_files(signed, digest_of(raw)).items())
    assert KEY.public.verifies(signing.sig, signing.message)


@given(st.binary(max_size=200))
def test_no_bytes_do_more_than_be_refused(raw: bytes) -> None:
    with pytest.raises(MalformedPackageError) as caught:
        read_bundle(raw, "tiny")
    assert caught.value.code == "signing.bundle"


@given(st.sampled_from(["mediaType", "verificationMaterial", "dsseEnvelope"]), JSON)
def test_no_other_value_in_a_bundle_does_more_than_be_refused(key: str, value: Any) -> None:
    with pytest.raises(MalformedPackageError) as caught:
        read_bundle(json.dumps({**GOOD, key: value}).encode(), "tiny")
    assert caught.value.code in ("signing.bundle", "signing.statement")


@given(JSON)
def test_no_statement_does_more_than_be_refused(statement: Any) -> None:
    with pytest.raises(MalformedPackageError) as caught:
        read_bundle(make_bundle(json.dumps(statement).encode(), KEY), "tiny")
    assert caught.value.code == "signing.statement"


@given(st.dictionaries(NAMES, st.sampled_from("ab")), st.dictionaries(NAMES, st.sampled_from("ab")))
def test_only_the_same_files_do_not_differ(signed: dict[str, str], present: dict[str, str]) -> None:
    assert (file_differences(signed, present) == ()) is (signed == present)
