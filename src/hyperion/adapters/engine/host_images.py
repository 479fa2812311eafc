"""Host images on disk: ``images/HEX/{image.json, graph.onnx, weights.bin}``, named by the digest of image.json.

Everything is this user's alone (0700, 0600). image.json names the digest of every other file, the folder's name is the
digest of image.json, and the ledger names the folder: so one changed bit anywhere is an image that is not used. What
was digested once is not read again while identity and time stamps of the file stay as they are (``proofs.db``).
"""

from __future__ import annotations

import os
import platform
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from hyperion.adapters.engine.image import GRAPH, WEIGHTS
from hyperion.adapters.engine.image_files import IMAGE_FILE, check_image, is_private, read_record, tree_bytes
from hyperion.adapters.engine.prepared_graphs import PreparedGraphs
from hyperion.adapters.files.atomic_file import sync_folder, translated
from hyperion.adapters.files.file_digest import file_digest
from hyperion.adapters.files.private_folder import owned_prefix, sweep
from hyperion.adapters.files.state_folder import claim_state, make_private
from hyperion.adapters.host.host_facts import cpu_features
from hyperion.adapters.onnx.validator import rules_of_host
from hyperion.domain.digest import PREFIX, digest_of, hex_of, short
from hyperion.domain.image import SPACE_FACTOR, HostImage, ImageFile, KeptImage
from hyperion.errors import HostError
from hyperion.format.free_space import require_space
from hyperion.format.package import PackageReader
from hyperion.ports import (
    BuiltImage,
    Clock,
    Engine,
    ImageChoice,
    InferenceJob,
    ProofRecord,
    Sandbox,
    SandboxLimits,
    SessionOptions,
    Tensors,
)

FOLDER = "images"
LIMIT_BYTES = 16 * 1024**3
"""What all images may take by default; ``$HYPERION_IMAGE_LIMIT_MB`` says otherwise."""
BUILD_TIMEOUT_S = 300.0
_LAYOUT = 1
_FRESH = "new-"
"""Begins the name of an image that is being built."""
_ADDRESS_SPACE = 8 * 1024**3
_SPARE = 64 * 1024**2


class LocalHostImages:
    """Implements ports.HostImages.

    Args:
        state: The state folder.
        engine: Whose images these are.
        proofs: Which files were digested before.
        clock: Dates images and proofs.
        sandbox: Builds them; None where images are only used.
        limit_bytes: What all images may take.
    """

    def __init__(
        self,
        state: Path,
        engine: Engine,
        proofs: ProofRecord,
        clock: Clock,
        sandbox: Sandbox | None = None,
        limit_bytes: int = LIMIT_BYTES,
    ) -> None:
        self._state = state
        self._folder = state / FOLDER
        self._engine = engine
        self._proofs = proofs
        self._clock = clock
        self._sandbox = sandbox
        self._limit_bytes = limit_bytes
        self._graphs = PreparedGraphs(state)

    def key(self, digest: str, options: SessionOptions) -> str:
        """Package, engine, rules of validation, CPU and session, as one digest; see ports.HostImages."""
        facts: dict[str, Any] = {
            "layout": _LAYOUT,
            "package": digest,
            "engine": self._engine.version(),
            "rules": rules_of_host(),  # an image is not validated again: what is refused now must not be in one
            "machine": platform.machine(),
            "cpu_features": sorted(cpu_features() or ()),
            "threads": options.threads,
            "prepacking": options.prepacking,
        }
        return digest_of(orjson.dumps(facts, option=orjson.OPT_SORT_KEYS))

    def choose(self, digest: str, options: SessionOptions, recorded: Mapping[str, str]) -> ImageChoice:
        """The checked image of a package, or why there is none; see ports.HostImages."""
        image = recorded.get(self.key(digest, options))
        if image is None:
            stale = (
                " (one was built for another engine, CPU or number of threads, or under other rules)"
                if recorded
                else ""
            )
            return ImageChoice(None, f"no host image was built for this package here{stale}")
        folder = self._place(image)
        fault = check_image(folder, image, digest, self._proofs, self._clock)
        if fault is not None:
            return ImageChoice(None, f"the host image {short(image)} is not used: {fault}")
        self.touch(image)
        return ImageChoice(folder)

    def build(
        self, path: Path, package: PackageReader, requests: Iterable[Tensors], options: SessionOptions, proof: str
    ) -> BuiltImage:
        """Make, prove and keep an image; see ports.HostImages."""
        if self._sandbox is None:
            raise HostError("this process builds no host images", code="image.no_sandbox")
        size = package.manifest.total_bytes
        with translated(self._folder):
            claim_state(self._state)
            make_private(self._folder)
            sweep(self._folder, _FRESH)  # what builders left that were killed
            self._make_room(round(SPACE_FACTOR * size))
            require_space(self._folder, round(SPACE_FACTOR * size), f"the host image of {short(package.digest)}")
        fresh = self._folder / f"{owned_prefix(_FRESH)}{secrets.token_hex(6)}"
        job = InferenceJob(path, requests, threads=options.threads, image=fresh)
        limits = SandboxLimits(
            timeout_s=BUILD_TIMEOUT_S,
            address_space_bytes=_ADDRESS_SPACE + 8 * size,
            file_size_bytes=_SPARE + round(SPACE_FACTOR * size),
        )
        try:
            self._sandbox.run(job, limits)
            with translated(fresh):
                return self._keep(fresh, package, options, proof)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)

    def kept(self, *, full: bool = False) -> tuple[KeptImage, ...]:
        """All images, the least recently used first; see ports.HostImages."""
        found = [self._kept(folder, full=full) for folder in self._folders()]
        return tuple(sorted(found, key=lambda image: image.used_at))

    def touch(self, image: str) -> None:
        """Set the time of last use; a folder that may not be written keeps its own."""
        try:
            os.utime(self._place(image) / IMAGE_FILE)
        except OSError:
            return

    def remove(self, image: str) -> int:
        """Remove an image; see ports.HostImages."""
        folder = self._place(image)
        size = tree_bytes(folder)
        with translated(folder):
            if folder.is_dir():
                shutil.rmtree(folder)
        return size

    def other_bytes(self) -> int:
        return self._graphs.size_bytes()

    def clear_others(self) -> int:
        size = self._graphs.size_bytes()
        self._graphs.clear()
        return size

    def _keep(self, fresh: Path, package: PackageReader, options: SessionOptions, proof: str) -> BuiltImage:
        """Describe what the child left, make it durable, and give it its name."""
        began_at = self._clock.now()
        files: dict[str, ImageFile] = {}
        states = []
        for name in sorted(path.name for path in fresh.iterdir()):
            if name not in (GRAPH, WEIGHTS):
                raise HostError(f"the child left {name!r} in a host image", code="image.unexpected_file")
            os.chmod(fresh / name, 0o600)  # noqa: PTH101
            state, digest = file_digest(fresh / name)
            files[name] = ImageFile(digest=digest, size_bytes=state.size_bytes)
            states.append((state, digest))
        record = HostImage(
            key=self.key(package.digest, options),
            package=package.digest,
            model=package.manifest.name,
            version=package.manifest.version,
            engine_version=self._engine.version(),
            threads=options.threads,
            files=files,
            proof=proof,
            built_at=began_at,
        )
        raw = record.model_dump_json(indent=2).encode() + b"\n"
        with os.fdopen(os.open(fresh / IMAGE_FILE, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
            stream.write(raw)
        self._make_room(record.size_bytes)
        image = digest_of(raw)
        place = self._place(image)
        fresh.chmod(0o700)
        fresh.replace(place)
        sync_folder(self._folder)
        self._proofs.remember(states, began_at)
        return BuiltImage(image, record)

    def _make_room(self, needed_bytes: int) -> None:
        """Remove the least recently used images until another one of this size is within the limit."""
        if needed_bytes > self._limit_bytes:
            raise HostError(
                f"a host image of {needed_bytes} bytes is beyond the limit of all images, {self._limit_bytes}",
                hint='raise it with HYPERION_IMAGE_LIMIT_MB, or set "image": "off" in deployment.json',
                code="image.limit",
                expected=self._limit_bytes,
                actual=needed_bytes,
            )
        kept = list(self.kept())
        total = sum(image.size_bytes for image in kept)
        while kept and total + needed_bytes > self._limit_bytes:
            total -= self.remove(kept.pop(0).image)

    def _kept(self, folder: Path, *, full: bool) -> KeptImage:
        image = PREFIX + folder.name
        record = read_record(folder, image)
        fault = None
        if record is None:
            fault = "image.json is missing, damaged, or not the one that the ledger names"
        else:
            proofs = None if full else self._proofs
            fault = check_image(folder, image, record.package, proofs, self._clock, read=full)
        stamp = folder / IMAGE_FILE
        used = (stamp if stamp.exists() else folder).stat().st_mtime
        return KeptImage(
            image=image, record=record, size_bytes=tree_bytes(folder), used_at=datetime.fromtimestamp(used, UTC),
            fault=fault,
        )  # fmt: skip

    def _folders(self) -> Iterator[Path]:
        with translated(self._folder):
            if not self._folder.is_dir() or not is_private(self._folder):
                return
            for folder in sorted(self._folder.iterdir()):
                if len(folder.name) == 64 and folder.is_dir() and not folder.is_symlink():
                    yield folder

    def _place(self, image: str) -> Path:
        return self._folder / hex_of(image)
