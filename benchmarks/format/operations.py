"""What Hyperion does, as calls for benchmarks.format.child; importing this module imports all that they need."""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import numpy as np
import onnx
import onnxruntime
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

import hyperion
from hyperion.adapters.files.package_files import LocalPackages
from hyperion.adapters.host.silent_reporter import SilentReporter
from hyperion.bootstrap import open_host
from hyperion.domain.finding import Finding, Outcome
from hyperion.domain.version import Step
from hyperion.format.archive import ArchiveReader
from hyperion.format.package import PackageReader
from hyperion.format.signing import make_bundle, statement_for
from hyperion.format.signing_key import SigningKey
from hyperion.usecases.compare import compare_versions
from hyperion.usecases.extract import extract_model
from hyperion.usecases.package import PackageOptions, package_model
from hyperion.usecases.sign import sign_package
from hyperion.usecases.version import update_version
from hyperion.verification.integrity import check_integrity, check_quickly
from hyperion.verification.signing import check_signing

LOADED = (np.__version__, onnx.__version__, onnxruntime.__version__)
"""Imported above so that no measured call pays for it."""
BLOCK_BYTES = 2**20
PAGE_BYTES = 4096

_host = open_host()
_silent = SilentReporter()


@contextlib.contextmanager
def _durability(*, durable: bool) -> Iterator[None]:
    """As Hyperion always writes, or with fsync doing nothing: then no side of a comparison waits for the disk."""
    if durable:
        yield
    else:
        with mock.patch("os.fsync", return_value=None):
            yield


def package(source: str, output: str, *, durable: bool) -> str:
    """``package model --quantize none``, whole; the digest."""
    with _durability(durable=durable):
        return package_model(_host, PackageOptions(Path(source), Path(output), "none"), _silent).digest


def pack_again(source: str, output: str, *, durable: bool) -> str:
    """An extracted package, packed again: reading, digests, CRC and writing, no engine; the digest."""
    with _durability(durable=durable):
        return package_model(_host, PackageOptions(Path(source), Path(output)), _silent).digest


def extract(source: str, output: str, *, durable: bool) -> int:
    """Everything verified while it is written; returns how many entries."""
    with _durability(durable=durable):
        return extract_model(_host, Path(source), Path(output), _silent).entries


def read_through(path: str) -> int:
    """A plain read of a whole file, by preadv into one buffer."""
    buffer, done = memoryview(bytearray(BLOCK_BYTES)), 0
    descriptor = os.open(path, os.O_RDONLY)
    try:
        while count := os.preadv(descriptor, [buffer], done):
            done += count
    finally:
        os.close(descriptor)
    return done


def verify(path: str, *, threads: int) -> None:
    """``verify integrity`` with every byte read; raises where anything fails."""
    _require(check_integrity(_host, Path(path), _silent, threads=threads))


def verify_quickly(path: str) -> None:
    """``verify integrity --quick`` as the command runs it."""
    _require(check_quickly(_host, Path(path), _silent))


def _require(findings: tuple[Finding, ...]) -> None:
    failed = [finding.summary for finding in findings if finding.outcome is not Outcome.PASSED]
    if failed:
        raise RuntimeError("; ".join(failed))


def open_and_list(path: str, *, repeat: int) -> float:
    """Median seconds of opening, listing all entries, and viewing the first tensor."""
    return _median(lambda: _open(path).close(), repeat)


def open_zipfile(path: str, *, repeat: int) -> float:
    """Median seconds of the standard library's opening, which reads the same directory."""
    return _median(lambda: zipfile.ZipFile(path).close(), repeat)


def opening_growth(path: str) -> int:
    """Bytes by which the first opening of this process makes it grow, with list and first tensor kept."""
    before = _resident()
    with _open(path):
        return _resident() - before


def _open(path: str) -> PackageReader:
    package = hyperion.open_package(path)
    assert package.names()
    assert len(package.tensors()[0].data[:1]) == 1
    return package


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_BYTES


def update(path: str, *, repeat: int) -> float:
    """Median seconds of ``version update``, in place; the package is as it was afterwards."""

    def once() -> None:
        found = update_version(_host, Path(path), Step.PATCH, "measured")
        assert found.method == "in_place", found.method

    with _restored(path):
        return _median(once, repeat)


@contextlib.contextmanager
def _restored(path: str) -> Iterator[None]:
    """Take back what changes a package's manifest or signing, so that its history does not grow with every round."""
    with LocalPackages().open(Path(path)) as package, Path(path).open("r+b") as file:
        assert isinstance(package, ArchiveReader)
        file.seek(package.signing_offset)
        before = file.read()
        yield
        file.seek(package.signing_offset)
        file.write(before)
        file.truncate()
        os.fsync(file.fileno())


def three_writes(folder: str, *, repeat: int) -> float:
    """Median seconds of three times 4 KiB written and synced, at the end of a file in the same folder."""
    page = b"\1" * PAGE_BYTES
    descriptor = os.open(Path(folder, "writes.bin"), os.O_RDWR | os.O_CREAT)
    try:

        def once() -> None:
            for _ in range(3):
                os.pwrite(descriptor, page, os.fstat(descriptor).st_size)
                os.fsync(descriptor)

        return _median(once, repeat)
    finally:
        os.close(descriptor)


def compare(first: str, second: str, *, repeat: int) -> float:
    """Median seconds of ``version compare --quick`` on two packages."""
    return _median(lambda: compare_versions(_host, Path(first), Path(second), _silent, quick=True), repeat)


def read_manifests(first: str, second: str, *, repeat: int) -> float:
    """Median seconds of reading both manifests alone, where the directory says they are."""

    def once() -> None:
        for path in (first, second):
            with zipfile.ZipFile(path) as file:
                json.loads(file.read("manifest.json"))

    return _median(once, repeat)


def bytes_read_comparing(first: str, second: str) -> int:
    """Bytes that one comparison reads by system calls, as the kernel counts them."""
    before = _read_so_far()
    compare(first, second, repeat=1)
    return _read_so_far() - before


def _read_so_far() -> int:
    line = Path("/proc/self/io").read_text().splitlines()[0]
    return int(line.removeprefix("rchar: "))


def sign_and_check(path: str, *, repeat: int) -> float:
    """Median seconds of making a signing and checking one, in memory: all digests are the manifest's."""
    key = SigningKey.generate()
    with _restored(path):
        sign_package(_host, Path(path), key)
        with hyperion.open_package(path) as package:

            def once() -> None:
                make_bundle(statement_for(package.manifest_bytes, package.manifest), key)
                _require(check_signing(package, [key.public]))

            return _median(once, repeat)


def sign_in_place(path: str, *, repeat: int) -> float:
    """Median seconds of ``hyperion sign`` with the key loaded: opened, signed, written, synced."""
    key = SigningKey.generate()
    with _restored(path):
        return _median(lambda: sign_package(_host, Path(path), key), repeat)


def bare_p256(*, repeat: int) -> float:
    """Median seconds of one P-256 signature and its check."""
    key, message = ec.generate_private_key(ec.SECP256R1()), b"\1" * PAGE_BYTES
    algorithm = ec.ECDSA(hashes.SHA256())
    return _median(lambda: key.public_key().verify(key.sign(message, algorithm), message, algorithm), repeat)


def _median(call: Callable[[], object], repeat: int) -> float:
    found = []
    for _ in range(repeat):
        started = time.perf_counter()
        call()
        found.append(time.perf_counter() - started)
    return statistics.median(found)
