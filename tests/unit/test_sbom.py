"""sbom: what a package holds, as CycloneDX; the same bytes every time, and no other file is touched."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest
from tests.oracle_venv import CYCLONEDX, oracle
from tests.packages import SIGNATURE, entries, write_directory, write_package
from tests.partial_host import files_host

from hyperion import __version__
from hyperion.adapters.files.package_files import LocalPackages
from hyperion.domain.digest import digest_of
from hyperion.domain.manifest import Parent
from hyperion.errors import ConfigError, ConflictError, HostError, NotFoundError
from hyperion.format.cyclonedx import is_own_bom
from hyperion.format.signing_key import SigningKey
from hyperion.ports import Host
from hyperion.usecases import sbom
from hyperion.usecases.sbom import WrittenBom
from hyperion.usecases.sign import sign_package

LABELLED = SIGNATURE.model_copy(update={"labels": ("cat", "dog")})
FULL: dict[str, Any] = {
    "description": "Cats, dogs and \x1b[31m\u202e <script>",
    "author": "Ada Lovelace",
    "license": "apache-2.0",
    "tags": ("vision", "pets"),
    "signature": LABELLED,
    "platform": "linux/amd64",
    "parent": Parent(digest="sha256:" + "ab" * 32, version="0.9.0", signature=LABELLED),
}


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    return files_host(tmp_path / "state")


def print_bom(host: Host, path: Path) -> str:
    return sbom.print_bom(host, path, __version__)


def write_bom(host: Host, path: Path, output: Path) -> WrittenBom:
    return sbom.write_bom(host, path, output, __version__)


def bom(host: Host, path: Path) -> dict[str, Any]:
    tree: dict[str, Any] = json.loads(print_bom(host, path))
    return tree


def test_every_file_is_there_with_its_digest(host: Host, tmp_path: Path) -> None:
    path = write_package(tmp_path / "tiny.hyperion")
    with LocalPackages().open(path) as package:
        expected = {name: digest_of(data) for name, data in entries().items()} | {"manifest.json": package.digest}

    found = bom(host, path)["components"]

    assert {c["name"]: f"sha256:{c['hashes'][0]['content']}" for c in found} == expected
    assert {c["type"] for c in found} == {"file"}


def test_the_model_and_its_card_say_what_the_manifest_says(host: Host, tmp_path: Path) -> None:
    model = bom(host, write_package(tmp_path / "tiny.hyperion", **FULL))["metadata"]["component"]

    assert (model["type"], model["name"], model["version"]) == ("machine-learning-model", "tiny", "1.0.0")
    assert (model["description"], model["authors"], model["tags"]) == (
        FULL["description"], [{"name": "Ada Lovelace"}], ["vision", "pets"],
    )  # fmt: skip
    assert model["modelCard"] == {
        "modelParameters": {
            "task": "classification",
            "inputs": [{"format": "x: float32[batch, 4]"}],
            "outputs": [{"format": "y: float32[batch, 2]"}],
        }
    }
    properties = {item["name"]: item["value"] for item in model["properties"]}
    assert properties["hyperion:parent"] == "sha256:" + "ab" * 32
    assert properties["hyperion:platform"] == "linux/amd64"


def test_what_the_manifest_leaves_empty_is_left_out(host: Host, tmp_path: Path) -> None:
    model = bom(host, write_package(tmp_path / "tiny.hyperion"))["metadata"]["component"]

    assert not model.keys() & {"description", "authors", "tags", "licenses"}
    assert "task" not in model["modelCard"]["modelParameters"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Apache-2.0", {"license": {"id": "Apache-2.0"}}),
        ("apache-2.0", {"license": {"id": "Apache-2.0"}}),
        ("mit or apache-2.0", {"expression": "MIT OR Apache-2.0"}),
        (
            "GPL-2.0-or-later WITH Classpath-exception-2.0",
            {"expression": "GPL-2.0-or-later WITH Classpath-exception-2.0"},
        ),
        ("LicenseRef-Acme", {"expression": "LicenseRef-Acme"}),
        ("Proprietary, ask us", {"license": {"name": "Proprietary, ask us"}}),
        ("Apache License 2.0", {"license": {"name": "Apache License 2.0"}}),
        ("MIT AND", {"license": {"name": "MIT AND"}}),
        ("(" * 500, {"license": {"name": "(" * 500}}),
    ],
)
def test_a_licence_is_an_identifier_an_expression_or_words(
    host: Host, tmp_path: Path, text: str, expected: dict[str, Any]
) -> None:
    model = bom(host, write_package(tmp_path / "tiny.hyperion", license=text))["metadata"]["component"]

    assert model["licenses"] == [expected]


def test_all_forms_of_a_package_and_a_signed_one_have_the_same_bill(host: Host, tmp_path: Path) -> None:
    file, folder = write_package(tmp_path / "tiny.hyperion", **FULL), write_directory(tmp_path / "tiny", **FULL)
    before = print_bom(host, file)

    sign_package(host, file, SigningKey.generate())

    assert print_bom(host, file) == print_bom(host, folder) == before


def test_the_serial_number_follows_from_the_digest(host: Host, tmp_path: Path) -> None:
    first, other = write_package(tmp_path / "a.hyperion"), write_package(tmp_path / "b.hyperion", entries(1))

    numbers = [uuid.UUID(bom(host, path)["serialNumber"]) for path in (first, other)]

    assert [number.version for number in numbers] == [5, 5]
    assert numbers[0] != numbers[1]


def test_other_locales_time_zones_and_hash_seeds_give_the_same_bytes(host: Host, tmp_path: Path) -> None:
    path = write_package(tmp_path / "tiny.hyperion", **FULL)
    write_bom(host, path, tmp_path / "tiny.cdx.json")
    surroundings = (
        {"LC_ALL": "C.UTF-8", "TZ": "Asia/Kolkata", "PYTHONHASHSEED": "7"},
        {"LC_ALL": "POSIX", "PYTHONIOENCODING": "latin-1", "PYTHONHASHSEED": "1"},
    )

    pages = [
        subprocess.run(
            [sys.executable, "-m", "hyperion", "sbom", str(path), "--output", "-"],
            env={**os.environ, **added}, check=True, capture_output=True,
        ).stdout
        for added in surroundings
    ]  # fmt: skip

    assert pages == [(tmp_path / "tiny.cdx.json").read_bytes()] * 2


def test_a_time_stands_in_it_only_where_one_is_given(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_package(tmp_path / "tiny.hyperion")
    without = bom(host, path)["metadata"]

    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")

    assert "timestamp" not in without
    assert bom(host, path)["metadata"]["timestamp"] == "2023-11-14T22:13:20Z"


def test_a_source_date_that_is_none_is_refused(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")

    with pytest.raises(ConfigError, match="SOURCE_DATE_EPOCH"):
        print_bom(host, write_package(tmp_path / "tiny.hyperion"))


def test_an_earlier_bill_is_replaced(host: Host, tmp_path: Path) -> None:
    output = tmp_path / "tiny.cdx.json"
    write_bom(host, write_package(tmp_path / "a.hyperion"), output)

    written = write_bom(host, write_package(tmp_path / "b.hyperion", entries(1)), output)

    assert written.size_bytes == output.stat().st_size
    assert written.digest in output.read_text()


@pytest.mark.parametrize(
    "text",
    ["my notes", "", "{}", "[]", '{"bomFormat":"CycloneDX"}', '{"bomFormat":"CycloneDX","metadata":{"tools":[]}}'],
)
def test_a_file_of_another_kind_is_not_touched(host: Host, tmp_path: Path, text: str) -> None:
    output = tmp_path / "tiny.cdx.json"
    output.write_text(text)

    with pytest.raises(ConflictError) as caught:
        write_bom(host, write_package(tmp_path / "tiny.hyperion"), output)

    assert caught.value.code == "conflict.output_exists"
    assert output.read_text() == text


@pytest.mark.parametrize("kind", ["folder", "dangling link", "pipe", "device"])
def test_what_is_no_file_is_not_touched(host: Host, tmp_path: Path, kind: str) -> None:
    output = tmp_path / "tiny.cdx.json"
    make = {
        "folder": output.mkdir,
        "dangling link": lambda: output.symlink_to("nowhere"),
        "pipe": lambda: os.mkfifo(output),
        "device": lambda: output.symlink_to("/dev/zero"),
    }
    make[kind]()

    with pytest.raises(ConflictError):
        write_bom(host, write_package(tmp_path / "tiny.hyperion"), output)

    assert os.path.lexists(output)


def test_a_folder_that_is_not_there_is_said(host: Host, tmp_path: Path) -> None:
    with pytest.raises(HostError):
        write_bom(host, write_package(tmp_path / "tiny.hyperion"), tmp_path / "absent" / "tiny.cdx.json")


def test_a_package_that_is_not_there_is_said(host: Host, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        write_bom(host, tmp_path / "absent.hyperion", tmp_path / "tiny.cdx.json")


def test_our_bills_are_known_again(host: Host, tmp_path: Path) -> None:
    assert is_own_bom(print_bom(host, write_package(tmp_path / "tiny.hyperion")).encode())


@pytest.mark.slow
@pytest.mark.parametrize("license_text", ["", "MIT", "MIT OR Apache-2.0", "LicenseRef-Acme", "ask us"])
def test_it_validates_against_the_official_schema(host: Host, tmp_path: Path, license_text: str) -> None:
    path = write_package(tmp_path / "tiny.hyperion", **{**FULL, "license": license_text})
    write_bom(host, path, tmp_path / "tiny.cdx.json")
    program = (
        "import sys; from cyclonedx.validation.json import JsonStrictValidator as V;"
        "from cyclonedx.schema import SchemaVersion as S;"
        "print(V(S.V1_6).validate_str(open(sys.argv[1]).read()))"
    )

    found = subprocess.run(
        [str(oracle(*CYCLONEDX) / "python"), "-c", program, str(tmp_path / "tiny.cdx.json")],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip

    assert found.stdout.strip() == "None"


@pytest.mark.slow
def test_every_licence_that_we_name_by_its_identifier_is_one_of_the_official_schema() -> None:
    from packaging.licenses._spdx import LICENSES

    program = (
        "import json; from pathlib import Path; import cyclonedx.schema._res as r;"
        "print(json.dumps(json.loads((Path(r.__file__).parent / 'spdx.SNAPSHOT.schema.json').read_text())['enum']))"
    )
    made = subprocess.run([str(oracle(*CYCLONEDX) / "python"), "-c", program], capture_output=True, check=True)

    assert {known["id"] for known in LICENSES.values()} <= set(json.loads(made.stdout))
