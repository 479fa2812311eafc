"""Laws of the format: what is written is read back, and only one encoding is read at all."""

from __future__ import annotations

import io
import json
import math
from functools import partial
from pathlib import Path

import numpy as np
import rfc8785
from hypothesis import event, given, settings
from hypothesis import strategies as st
from tests.packages import entries, package_bytes

from hyperion.errors import ConfigError, PackageError
from hyperion.format.archive import ArchiveReader, repack
from hyperion.format.block_pump import BlockPump
from hyperion.format.manifest_json import manifest_bytes, read_manifest
from hyperion.format.names import name_fault
from hyperion.format.strict_json import parse_json
from hyperion.format.verified import check_content, pump_entry
from hyperion.format.weights import ITEM_BYTES, WeightTensor, read_header, weights_entry
from hyperion.format.zip_records import ALIGNMENT, EntryRecord, local_header

component = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,20}", fullmatch=True)
asset_names = st.lists(component, min_size=1, max_size=6).map(lambda parts: "assets/" + "/".join(parts))
texts = st.text(st.characters(exclude_categories=["Cs"]))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(-1e15, 1e15)
    | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=20,
)  # fmt: skip


class TestStrictJson:
    @given(json_values)
    def test_it_reads_what_the_standard_library_writes(self, value: object) -> None:
        assert parse_json(json.dumps(value).encode(), "x") == value

    @given(st.binary(max_size=60))
    def test_it_refuses_or_agrees_with_the_standard_library(self, raw: bytes) -> None:
        try:
            value = parse_json(raw, "x")
        except ConfigError:
            return
        assert value == json.loads(raw)

    @given(json_values)
    def test_canonical_bytes_are_a_fixed_point(self, value: object) -> None:
        raw = rfc8785.dumps(value)  # type: ignore[arg-type]
        assert rfc8785.dumps(parse_json(raw, "x")) == raw


class TestArchive:
    @settings(max_examples=50)
    @given(st.dictionaries(asset_names, st.binary(max_size=9000), max_size=8))
    def test_entries_survive_and_every_form_repacks_to_the_same_bytes(self, assets: dict[str, bytes]) -> None:
        payloads = entries() | {name: b"." + data for name, data in assets.items()}
        try:
            data = package_bytes(payloads)
        except PackageError as error:
            event(str(error.code))
            return
        with ArchiveReader(io.BytesIO(data), "p", Path("/nowhere")) as package:
            assert {name: package.read(name) for name in package.names()} == payloads
            assert all(package.locate(name).offset % ALIGNMENT == 0 for name in package.names())
            again = io.BytesIO()
            assert repack(again, package) == package.digest
            assert again.getvalue() == data

    @settings(max_examples=200)
    @given(st.data())
    def test_no_changed_byte_goes_unseen(self, data: st.DataObject) -> None:
        good = package_bytes()
        position = data.draw(st.integers(0, len(good) - 1))
        other = data.draw(st.integers(0, 255).filter(lambda byte: byte != good[position]))
        changed = good[:position] + bytes([other]) + good[position + 1 :]

        assert self.refused(changed)

    @settings(max_examples=200)
    @given(st.data())
    def test_no_removed_or_inserted_bytes_go_unseen(self, data: st.DataObject) -> None:
        good = package_bytes()
        start = data.draw(st.integers(0, len(good)))
        end = data.draw(st.integers(start, len(good)))
        insert = data.draw(st.binary(max_size=50))
        changed = good[:start] + insert + good[end:]

        assert changed == good or self.refused(changed)

    @given(st.binary(max_size=300))
    def test_noise_is_refused_and_never_crashes(self, noise: bytes) -> None:
        assert self.refused(noise)

    def refused(self, data: bytes) -> bool:
        try:
            with ArchiveReader(io.BytesIO(data), "p", Path("/nowhere")) as package, BlockPump() as pump:
                for name in package.names():
                    pump_entry(package, name, pump)
                    check_content(package, name)
        except PackageError:
            return True
        return False


class TestZipRecords:
    @given(asset_names, st.integers(0, 2**62), st.integers(0, 2**32 - 1), st.integers(0, 2**62))
    def test_every_payload_is_aligned_wherever_its_header_begins(
        self, name: str, size: int, crc: int, offset: int
    ) -> None:
        record = EntryRecord(name, size, crc, offset)
        assert record.payload_offset % ALIGNMENT == 0
        assert record.payload_offset == offset + len(local_header(record))


class TestWeights:
    shapes = st.lists(st.integers(0, 5), max_size=3).map(tuple)

    @given(
        st.dictionaries(
            st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(lambda n: not n.startswith("__")),
            st.tuples(st.sampled_from(sorted(ITEM_BYTES)), shapes),
            max_size=6,
        ),
        st.randoms(use_true_random=False),
    )
    def test_tensors_survive_aligned_and_without_holes(self, given_tensors, dice) -> None:  # type: ignore[no-untyped-def]
        tensors = []
        payload = {}
        for name, (dtype, shape) in given_tensors.items():
            size = ITEM_BYTES[dtype] * math.prod(shape)
            payload[name] = dice.randbytes(size)
            tensors.append(WeightTensor(name, dtype, shape, size, partial(bytes, payload[name])))
        with weights_entry(tensors).open() as stream:
            data = stream.read()

        found = read_header(io.BytesIO(data), len(data), "w")

        assert set(found) == set(payload)
        for name, piece in found.items():
            assert (piece.dtype, piece.shape) == given_tensors[name]
            assert piece.offset % 64 == 0 or piece.size_bytes == 0
            assert data[piece.offset :][: piece.size_bytes] == payload[name]

    @given(st.binary(max_size=200))
    def test_noise_is_refused_and_never_crashes(self, noise: bytes) -> None:
        for data in (noise, len(noise).to_bytes(8, "little") + noise):
            try:
                found = read_header(io.BytesIO(data), len(data), "w")
            except PackageError:
                continue
            assert all(piece.offset + piece.size_bytes <= len(data) for piece in found.values())

    @given(st.lists(st.sampled_from(["float32", "int8", "float64", "bool"]), max_size=5))
    def test_the_safetensors_library_agrees(self, dtypes: list[str]) -> None:
        from safetensors.numpy import load

        codes = {"float32": "F32", "int8": "I8", "float64": "F64", "bool": "BOOL"}
        arrays = {f"t{i}": np.arange(i + 1).astype(dtype) for i, dtype in enumerate(dtypes)}
        tensors = [WeightTensor(n, codes[a.dtype.name], a.shape, a.nbytes, a.tobytes) for n, a in arrays.items()]
        with weights_entry(tensors).open() as stream:
            loaded = load(stream.read())

        for name, array in arrays.items():
            np.testing.assert_array_equal(loaded[name], array)


class TestNames:
    @given(st.text(max_size=300))
    def test_a_legal_name_stays_inside_its_folder(self, name: str) -> None:
        if name_fault(name) is None:
            path = Path("/root") / name
            assert str(path) == f"/root/{name}"
            assert ".." not in path.parts


class TestManifest:
    @given(texts, st.dictionaries(texts, texts, max_size=4))
    def test_any_text_survives(self, text: str, annotations: dict[str, str]) -> None:
        with ArchiveReader(io.BytesIO(package_bytes()), "p", Path("/nowhere")) as package:
            manifest = package.manifest.model_copy(update={"description": text, "annotations": annotations})
        raw = manifest_bytes(manifest)
        assert read_manifest(raw, "p") == manifest
        assert manifest_bytes(read_manifest(raw, "p")) == raw
        assert rfc8785.dumps(json.loads(raw)) == raw

    @given(st.data())
    def test_one_manifest_has_one_text(self, data: st.DataObject) -> None:
        with ArchiveReader(io.BytesIO(package_bytes()), "p", Path("/nowhere")) as package:
            raw = package.manifest_bytes
        place = data.draw(st.integers(0, len(raw)))
        changed = (
            raw[:place]
            + data.draw(st.sampled_from([b" ", b"\n", b"0", b"\\u0061", b"null", b",", b'""']))
            + raw[place:]
        )
        try:
            found = read_manifest(changed, "p")
        except PackageError:
            return
        assert manifest_bytes(found) == changed
        assert found != read_manifest(raw, "p")
