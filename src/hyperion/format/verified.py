"""Reading entries with proof: bytes go on only with their digest, CRC and content checked."""

from __future__ import annotations

from collections.abc import Callable

from hyperion.domain.manifest import CHUNKS, GOLDEN_FOLDER, WEIGHTS_FOLDER, GoldenRequest
from hyperion.errors import ConfigError, MalformedPackageError
from hyperion.format.archive import ArchiveReader
from hyperion.format.block_pump import BlockPump, Progress
from hyperion.format.chunk_tree import list_positions, root_of
from hyperion.format.content import HEAD_BYTES, require_harmless
from hyperion.format.entry_fault import damaged_entry, wrong_chunks, wrong_crc
from hyperion.format.names import is_json
from hyperion.format.package import PackageReader
from hyperion.format.strict_json import parse_document, parse_json
from hyperion.format.weights import TensorSlice, check_padding, read_header


def pump_entry(
    package: PackageReader,
    name: str,
    pump: BlockPump,
    *,
    write: Callable[[memoryview], object] | None = None,
    progress: Progress | None = None,
) -> None:
    """Read one entry to its end, giving its bytes to ``write``, and demand that they are what was promised.

    Where the bytes go nowhere, ``proving.prove_entries`` is quicker.

    Raises:
        DigestMismatchError: Not the bytes that the manifest names; ``write`` got them all the same.
        MalformedPackageError: A CRC that is not that of the bytes (``package.crc``), or another size
            (``package.size_mismatch``).
    """
    entry = package.manifest.entries[name]
    with package.open(name) as source:
        found = pump.pump(
            source,
            entry.size_bytes,
            f"{package.source}: {name}",
            write=write,
            progress=progress,
        )
    if found.digest != entry.digest:
        raise damaged_entry(package, name, entry.digest, found.digest)
    if isinstance(package, ArchiveReader) and package.crc32(name) != found.crc32:
        raise wrong_crc(name, package.source, package.crc32(name), found.crc32, digest_known=True)


def check_content(package: PackageReader, name: str) -> None:
    """Demand that an entry is what its place in the package says: weights, a golden request, a JSON document, or data.

    Raises:
        MalformedPackageError: Code ``package.weights_header``, ``…_layout`` or ``…_mismatch``, ``package.chunks``,
            ``package.document`` or a ``json.…`` one, ``package.pickle``, ``package.nested_archive`` or
            ``package.native_code``.
    """
    if name == CHUNKS:  # any bytes may be a digest, so how they begin says nothing
        _check_chunks(package)
        return
    with package.open(name) as stream:
        require_harmless(name, package.source, stream.read(HEAD_BYTES))
    if name.startswith(WEIGHTS_FOLDER):
        _check_weights(package, name)
    elif name.startswith(GOLDEN_FOLDER) and name.endswith(".safetensors"):
        _header(package, name, aligned=False)
    elif is_json(name):
        where = f"{package.source}: {name}"
        try:
            if name.startswith(GOLDEN_FOLDER):
                parse_document(GoldenRequest, package.read(name), where)
            else:
                parse_json(package.read(name), where)
        except ConfigError as error:
            code = "package.document" if error.code == "config.invalid" else error.code
            raise MalformedPackageError(error.message, entry=name, code=code) from error


def _check_chunks(package: PackageReader) -> None:
    """Demand that the chunk digests of every entry come to the root that the manifest states."""
    digests, entries = package.read(CHUNKS), package.manifest.entries
    for name, position in list_positions(entries).items():
        tree, found = entries[name].chunks, root_of(digests[position])
        if tree is None or tree.digest != found:
            raise wrong_chunks(package, name, found)


def _check_weights(package: PackageReader, name: str) -> None:
    """Demand that the tensors of a weights entry are those that the manifest lists for its layer, and padding zeros."""
    layer = package.layer(name)
    stored = {key: (piece.dtype, piece.shape) for key, piece in _header(package, name, aligned=True).items()}
    listed = {tensor.name: (tensor.dtype, tensor.shape) for tensor in layer.tensors}
    if stored != listed:
        key = min(key for key in stored.keys() | listed.keys() if stored.get(key) != listed.get(key))
        raise MalformedPackageError(
            f"{package.source}: the tensor {key!r} in {name} is not what the manifest says: "
            f"expected {_describe(listed.get(key))}, found {_describe(stored.get(key))}",
            entry=name,
            code="package.weights_mismatch",
        )
    with package.open(name) as stream:
        check_padding(stream, package.manifest.entries[name].size_bytes, name)


def _header(package: PackageReader, name: str, *, aligned: bool) -> dict[str, TensorSlice]:
    with package.open(name) as stream:
        return read_header(stream, package.manifest.entries[name].size_bytes, name, aligned=aligned)


def _describe(tensor: tuple[str, tuple[int, ...]] | None) -> str:
    return f"{tensor[0]}{list(tensor[1])}" if tensor else "none"
