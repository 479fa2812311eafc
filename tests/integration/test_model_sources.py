"""Bad model directories: each refused in words that name what was looked for, where, and what to do."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from tests.models import expected, inputs, mlp, write_model_dir
from tests.packaging import load, model_of, pack, tensor, weight, write_model

from hyperion.adapters.files.package_files import LocalPackages
from hyperion.errors import ConfigError, HyperionError, ModelSourceError, NotFoundError
from hyperion.verification.golden import load_golden

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 3\n"


def refused(folder: Path, kind: type[HyperionError] = ModelSourceError) -> HyperionError:
    """The refusal; nothing may be left beside the folder."""
    with pytest.raises(kind) as refusal:
        pack(folder, folder.parent / "m.hyperion", "none")
    assert not (folder.parent / "m.hyperion").exists()
    assert refusal.value.message
    return refusal.value


class TestNoModelDirectory:
    def test_nothing_there(self, tmp_path: Path) -> None:
        error = refused(tmp_path / "gone", NotFoundError)

        assert (error.code, "model.onnx" in (error.hint or "")) == ("model_source.not_found", True)
        assert error.message.startswith("there is nothing at ")

    def test_a_single_onnx_file_is_a_model(self, tmp_path: Path) -> None:
        write_model(tmp_path / "d", mlp()).joinpath("model.onnx").rename(tmp_path / "My Net.onnx")

        summary = pack(tmp_path / "My Net.onnx", tmp_path / "m.hyperion", "none")

        assert summary.name == "my-net"
        found = load(tmp_path / "m.hyperion").run({"x": inputs()})["probabilities"]
        assert np.array_equal(found, expected(mlp(), inputs()))

    def test_the_only_onnx_file_of_a_folder_is_its_model_whatever_its_name(self, tmp_path: Path) -> None:
        folder = write_model(tmp_path / "d", mlp())
        (folder / "model.onnx").rename(folder / "net.onnx")

        assert pack(folder, tmp_path / "m.hyperion", "none").name == "d"

    def test_a_file_that_is_no_model(self, tmp_path: Path) -> None:
        (tmp_path / "notes.md").write_bytes(b"x")

        assert "a model directory was expected" in refused(tmp_path / "notes.md").message

    def test_several_models_are_named(self, tmp_path: Path) -> None:
        (tmp_path / "d").mkdir()
        for name in ("encoder.onnx", "decoder.onnx"):
            (tmp_path / "d" / name).write_bytes(b"x")

        error = refused(tmp_path / "d")

        assert "decoder.onnx, encoder.onnx" in error.message
        assert error.hint == f"name one of them, such as --input {tmp_path / 'd' / 'decoder.onnx'}"

    def test_a_model_in_a_folder_below_is_pointed_at(self, tmp_path: Path) -> None:
        write_model(tmp_path / "d" / "onnx", mlp())

        assert refused(tmp_path / "d").hint == f"name it: --input {tmp_path / 'd' / 'onnx' / 'model.onnx'}"

    def test_an_empty_folder_names_what_was_looked_for(self, tmp_path: Path) -> None:
        (tmp_path / "d").mkdir()

        error = refused(tmp_path / "d")

        assert "looked for model.onnx, found an empty folder" in error.message
        assert "a folder with model.onnx" in (error.hint or "")

    def test_a_foreign_model_is_told_what_to_do(self, tmp_path: Path) -> None:
        (tmp_path / "d").mkdir()
        (tmp_path / "d" / "model.gguf").write_bytes(b"GGUF")

        assert refused(tmp_path / "d").code == "model_source.foreign"

    @pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no model", b"\x00" * 100, os.urandom(200), b"{}"])
    def test_a_file_that_is_no_onnx_model(self, content: bytes, tmp_path: Path) -> None:
        (tmp_path / "d").mkdir()
        (tmp_path / "d" / "model.onnx").write_bytes(content)

        assert refused(tmp_path / "d").code == "model_source.not_onnx"

    def test_an_empty_model_is_called_empty(self, tmp_path: Path) -> None:
        (tmp_path / "d").mkdir()
        (tmp_path / "d" / "model.onnx").touch()

        assert "the file is empty" in refused(tmp_path / "d").message

    def test_a_folder_in_place_of_the_model(self, tmp_path: Path) -> None:
        (tmp_path / "d" / "model.onnx").mkdir(parents=True)

        error = refused(tmp_path / "d")

        assert (error.code, error.hint) == ("model_source.no_model", None)
        assert "is a folder; expected an ONNX file" in error.message

    def test_a_truncated_model(self, tmp_path: Path) -> None:
        folder = write_model(tmp_path / "d", mlp())
        raw = (folder / "model.onnx").read_bytes()
        (folder / "model.onnx").write_bytes(raw[: len(raw) // 2])

        refused(folder)

    def test_a_git_lfs_pointer(self, tmp_path: Path) -> None:
        (tmp_path / "d").mkdir()
        (tmp_path / "d" / "model.onnx").write_bytes(POINTER)

        error = refused(tmp_path / "d")

        assert (error.code, error.hint) == ("model_source.lfs_pointer", "fetch the real file with `git lfs pull`")

    def test_an_output_that_is_no_tensor(self, tmp_path: Path) -> None:
        model = mlp()
        sequence = onnx.helper.make_tensor_sequence_value_info("probabilities", onnx.TensorProto.FLOAT, None)
        model.graph.output[0].CopyFrom(sequence)

        assert "is no tensor but a sequence" in refused(write_model(tmp_path / "d", model)).message

    def test_a_weight_with_too_few_bytes(self, tmp_path: Path) -> None:
        model = mlp()
        model.graph.initializer[0].raw_data = model.graph.initializer[0].raw_data[:-4]

        assert refused(write_model(tmp_path / "d", model)).code == "model_source.bad_tensor"


class TestExternalData:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        return write_model(
            tmp_path / "d", mlp(), save_as_external_data=True, location="model.onnx.data", size_threshold=0
        )

    def relocate(self, folder: Path, **changes: str) -> None:
        """Change the references of the saved model, as an attacker would."""
        model = onnx.load(folder / "model.onnx", load_external_data=False)
        for item in model.graph.initializer:
            for entry in item.external_data:
                entry.value = changes.get(entry.key, entry.value)
        (folder / "model.onnx").write_bytes(model.SerializeToString())

    @pytest.mark.parametrize("quantize", ["none", "int8"])
    def test_parts_inside_the_directory_are_taken(self, quantize: str, folder: Path, tmp_path: Path) -> None:
        pack(folder, tmp_path / "m.hyperion", quantize)

        found = load(tmp_path / "m.hyperion").run({"x": inputs()})["probabilities"]
        assert np.abs(found - expected(mlp(), inputs())).max() <= (0 if quantize == "none" else 0.02)

    def test_parts_in_a_folder_below_are_taken(self, folder: Path, tmp_path: Path) -> None:
        (folder / "parts").mkdir()
        (folder / "model.onnx.data").rename(folder / "parts" / "w.bin")
        self.relocate(folder, location="parts/w.bin")

        pack(folder, tmp_path / "m.hyperion", "none")

        assert np.array_equal(
            load(tmp_path / "m.hyperion").run({"x": inputs()})["probabilities"], expected(mlp(), inputs())
        )

    @pytest.mark.parametrize(
        "location", ["../model.onnx.data", "/etc/hostname", "a/../../x", "..", "", "a\\..\\b", "model.onnx.data/x", "."]
    )
    def test_a_part_outside_is_refused(self, location: str, folder: Path) -> None:
        (folder.parent / "model.onnx.data").write_bytes(b"\0" * 100_000)
        self.relocate(folder, location=location)

        assert refused(folder).code == "model_source.external_data"

    def test_a_symbolic_link_is_refused(self, folder: Path) -> None:
        (folder / "model.onnx.data").rename(folder.parent / "data")
        (folder / "model.onnx.data").symlink_to(folder.parent / "data")

        assert "symbolic link" in refused(folder).message

    def test_a_linked_folder_is_refused(self, folder: Path) -> None:
        (folder.parent / "out").mkdir()
        (folder / "model.onnx.data").rename(folder.parent / "out" / "w.bin")
        (folder / "parts").symlink_to(folder.parent / "out")
        self.relocate(folder, location="parts/w.bin")

        assert "symbolic link" in refused(folder).message

    def test_a_hard_link_is_refused(self, folder: Path) -> None:
        os.link(folder / "model.onnx.data", folder.parent / "other name")

        assert "hard link" in refused(folder).message

    def test_a_device_is_refused(self, folder: Path) -> None:
        (folder / "model.onnx.data").unlink()
        os.mkfifo(folder / "model.onnx.data")

        assert "no plain file" in refused(folder).message

    def test_a_missing_part_is_named(self, folder: Path) -> None:
        (folder / "model.onnx.data").unlink()

        error = refused(folder)

        assert "model.onnx.data" in error.message
        assert "every file that the exporter wrote" in (error.hint or "")

    def test_a_pointer_in_place_of_a_part_is_refused(self, folder: Path) -> None:
        (folder / "model.onnx.data").write_bytes(POINTER)

        assert refused(folder).code == "model_source.lfs_pointer"

    def test_a_part_that_is_too_short_is_refused(self, folder: Path) -> None:
        raw = (folder / "model.onnx.data").read_bytes()
        (folder / "model.onnx.data").write_bytes(raw[:-1])

        assert "needs" in refused(folder).message

    @pytest.mark.parametrize(
        "changes", [{"offset": "-1"}, {"offset": "99999999"}, {"offset": "x"}, {"length": "3"}, {"length": "9" * 30}]
    )
    def test_ranges_beyond_the_part_are_refused(self, changes: dict[str, str], folder: Path) -> None:
        self.relocate(folder, **changes)

        assert refused(folder).code == "model_source.external_data"


class TestFiles:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        folder = write_model(tmp_path / "d", mlp())
        (folder / "assets").mkdir()
        return folder

    def test_a_pickle_is_refused(self, folder: Path) -> None:
        (folder / "assets" / "tokenizer.bin").write_bytes(pickle.dumps({"a": 1}))

        assert "Python pickle" in refused(folder).message

    def test_a_link_is_refused(self, folder: Path) -> None:
        (folder / "assets" / "passwd").symlink_to("/etc/passwd")

        assert "symbolic link" in refused(folder).message

    def test_a_linked_folder_is_refused(self, folder: Path) -> None:
        (folder / "assets" / "etc").symlink_to("/etc")

        assert "symbolic link" in refused(folder).message

    @pytest.mark.parametrize("name", ["a b.txt", "ü.txt", "CON", "a\x1b[31m.txt"])
    def test_a_name_that_no_package_may_hold_is_refused(self, name: str, folder: Path) -> None:
        (folder / "assets" / name).write_text("x")

        error = refused(folder)

        assert error.hint == "rename the file"
        assert "\x1b" not in error.message.replace(str(folder / "assets" / name), "")

    def test_a_readme_beside_an_asset_of_the_same_name_is_refused(self, folder: Path) -> None:
        (folder / "README.md").write_text("a")
        (folder / "assets" / "Readme.md").write_text("b")

        assert refused(folder).hint == "rename or remove one of them"

    def test_the_golden_folder_of_packages_is_reserved(self, folder: Path) -> None:
        (folder / "assets" / "golden").mkdir()
        (folder / "assets" / "golden" / "x.json").write_text("{}")

        assert "golden/" in (refused(folder).hint or "")

    def test_the_quantization_policy_must_be_one(self, folder: Path) -> None:
        (folder / "config").mkdir()
        (folder / "config" / "quantization.json").write_text('{"schemes": "int8"}')

        assert "schemes: unknown key" in refused(folder, ConfigError).message


class TestGoldenRequests:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        return write_model_dir(tmp_path / "d")

    @pytest.mark.parametrize(
        ("arrays", "fault"),
        [
            ({"y": inputs()}, "does not know"),
            ({"probabilities": np.zeros((1, 8), np.float32)}, "lacks the inputs 'x'"),
            ({"x": np.zeros((4, 7), np.float32)}, "expected size 32"),
            ({"x": np.zeros((4, 32), np.complex64)}, "expected dtype float32"),
            ({"x": np.zeros(32, np.float32)}, "expected 2 dimensions"),
            ({"x": np.full((4, 32), "a")}, "instead of float32"),
        ],
    )
    def test_arrays_that_do_not_fit_are_refused(self, arrays: dict[str, np.ndarray], fault: str, folder: Path) -> None:
        np.savez(folder / "golden" / "sample.npz", **arrays)

        error = refused(folder)

        assert error.code == "model_source.golden"
        assert fault in error.message

    def test_doubles_become_what_the_model_takes(self, folder: Path) -> None:
        np.savez(folder / "golden" / "sample.npz", x=inputs().astype(np.float64))

        pack(folder, folder.parent / "m.hyperion", "none")

        with LocalPackages().open(folder.parent / "m.hyperion") as package:
            assert load_golden(package, "sample").inputs["x"].dtype == np.float32

    def test_foreign_byte_order_is_turned(self, folder: Path) -> None:
        x = inputs()
        np.savez(folder / "golden" / "sample.npz", x=x.astype(">f4"), probabilities=expected(mlp(), x).astype(">f4"))

        assert pack(folder, folder.parent / "m.hyperion", "none").warnings == ()

    def test_a_pickled_array_is_refused(self, folder: Path) -> None:
        np.savez(folder / "golden" / "sample.npz", x=np.array([object()], dtype=object))

        assert "no NPZ file of plain arrays" in refused(folder).message

    def test_a_broken_npz_is_refused(self, folder: Path) -> None:
        (folder / "golden" / "sample.npz").write_bytes(b"PK\x03\x04 broken")

        assert refused(folder).code == "model_source.golden"

    def test_unknown_keys_beside_a_request_are_refused(self, folder: Path) -> None:
        (folder / "golden" / "sample.json").write_text(json.dumps({"absolut": 1}))

        assert "absolut" in refused(folder, ConfigError).message

    def test_ragged_lists_are_refused(self, folder: Path) -> None:
        (folder / "golden" / "two.json").write_text(json.dumps({"inputs": {"x": [[1, 2], [3]]}}))

        assert "inputs.x" in refused(folder).message

    def test_text_inputs_cannot_be_kept(self, tmp_path: Path) -> None:
        text = onnx.TensorProto.STRING
        node = onnx.helper.make_node("Identity", ["s"], ["t"])
        model = model_of([node], [tensor("s", 1, kind=text)], [tensor("t", 1, kind=text)], [])
        folder = write_model(tmp_path / "d", model)
        (folder / "golden").mkdir()
        (folder / "golden" / "g.json").write_text(json.dumps({"inputs": {"s": ["a"]}}))

        assert "string tensors cannot be kept" in refused(folder).message


def test_stale_shapes_do_not_matter(tmp_path: Path) -> None:
    model = mlp()
    model.graph.value_info.append(tensor("h", 7, 9))

    summary = pack(write_model(tmp_path / "d", model), tmp_path / "m.hyperion", "int8")

    assert summary.scheme == "int8"


def test_unknown_fields_are_refused_rather_than_lost(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "d", mlp())
    raw = (folder / "model.onnx").read_bytes()
    (folder / "model.onnx").write_bytes(raw + b"\xfa\x3e\x03abc")  # field 1007, which no version of ONNX has

    assert refused(folder).code == "model_source.lossy"


def test_typed_fields_count_like_raw_bytes(tmp_path: Path) -> None:
    model = mlp()
    for item in model.graph.initializer:
        values = numpy_helper.to_array(item).reshape(-1)
        item.ClearField("raw_data")
        item.float_data.extend(values.tolist())

    pack(write_model(tmp_path / "d", model), tmp_path / "m.hyperion", "none")

    assert np.array_equal(
        load(tmp_path / "m.hyperion").run({"x": inputs()})["probabilities"], expected(mlp(), inputs())
    )


def test_special_numbers_in_attributes_survive(tmp_path: Path) -> None:
    odd = [float("nan"), float("-inf"), 1e-45, 3.4028235e38, -3.4028235e38]
    node = onnx.helper.make_node("Constant", [], ["c"], value_floats=odd)
    model = model_of(
        [node, onnx.helper.make_node("Add", ["c", "x"], ["y"])],
        [tensor("x", 5)],
        [tensor("y", 5)],
        [weight("unused", 2)],
    )
    pack(write_model(tmp_path / "d", model), tmp_path / "m.hyperion", "none")

    found = load(tmp_path / "m.hyperion").run({"x": np.zeros(5, np.float32)})["y"]

    assert np.array_equal(found, np.array(odd, np.float32) + np.float32(0), equal_nan=True)
