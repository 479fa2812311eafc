"""Names of entries: one portable spelling, safe to write on any file system."""

from __future__ import annotations

import re
from collections.abc import Iterable

from hyperion.domain.manifest import ARCHITECTURE, CHUNKS, GOLDEN_FOLDER, MANIFEST, SIGNING
from hyperion.errors import MalformedPackageError
from hyperion.format.limits import MAX_NAME_BYTES, MAX_NAME_COMPONENTS

ROOT_FILES = (ARCHITECTURE, MANIFEST, SIGNING)
ROOT_FOLDERS = ("weights", "config", "assets")
_BEGINNINGS = (*ROOT_FILES, *(f"{folder}/" for folder in ROOT_FOLDERS))
CONFIG_FOLDER = "config/"

_NAME = re.compile(
    r"(architecture\.json|manifest\.json|model\.sig|(weights|config|assets)"
    r"(/(?!(con|prn|aux|nul|com[0-9]|lpt[0-9])(\.|/|\Z))[a-z0-9_]([a-z0-9._-]*[a-z0-9_-])?){1,7})",
    re.IGNORECASE | re.ASCII,
)
"""The whole rule at once, but for the case of what comes first; who does not match is told which part it breaks."""
_COMPONENT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)


def name_fault(name: str) -> str | None:
    """What keeps ``name`` from being an entry's name, or None where it may be one."""
    if len(name) <= MAX_NAME_BYTES and name.startswith(_BEGINNINGS) and _NAME.fullmatch(name):
        return None
    if len(name.encode("utf-8", "surrogatepass")) > MAX_NAME_BYTES:
        return f"is longer than {MAX_NAME_BYTES} bytes"
    components = name.split("/")
    if len(components) > MAX_NAME_COMPONENTS:
        return f"has more than {MAX_NAME_COMPONENTS} components"
    for component in components:
        if not _COMPONENT.fullmatch(component):
            return f"has the component {component!r}; allowed are letters, digits, '_', and inside also '.' and '-'"
        if component.endswith("."):
            return f"has the component {component!r}, which ends in a dot"
        if _RESERVED.fullmatch(component):
            return f"has the component {component!r}, a device name on Windows"
    if name in ROOT_FILES or (len(components) > 1 and components[0] in ROOT_FOLDERS):
        return None
    return f"is neither {' nor '.join(ROOT_FILES)} nor under {', '.join(f'{folder}/' for folder in ROOT_FOLDERS)}"


def is_json(name: str) -> bool:
    """Whether an entry of this name is a JSON document that the format knows and checks."""
    if name.startswith(GOLDEN_FOLDER):
        return not name.endswith(".safetensors")
    return name == ARCHITECTURE or (name.startswith(CONFIG_FOLDER) and name != CHUNKS)


def check_names(names: Iterable[str], source: str) -> None:
    """Demand that every name is legal and that all can stand side by side in one folder tree.

    Raises:
        MalformedPackageError: Code ``package.unsafe_name`` or ``package.duplicate_entry``.
    """
    seen: dict[str, str] = {}
    for name in names:
        fault = name_fault(name)
        if fault is not None:
            raise MalformedPackageError(
                f"{source}: the entry name {name!r} {fault}", entry=name, code="package.unsafe_name"
            )
        other = seen.setdefault(name.casefold(), name)
        if other is not name:
            raise MalformedPackageError(
                f"{source}: the entries {other!r} and {name!r} have the same name (case does not count)",
                entry=name,
                code="package.duplicate_entry",
            )
    folders: dict[str, str] = {}
    for folded, name in seen.items():
        parent = folded.rpartition("/")[0]
        while parent and parent not in folders:
            folders[parent] = name
            parent = parent.rpartition("/")[0]
    for parent, name in folders.items():
        if parent in seen:
            raise MalformedPackageError(
                f"{source}: the entry {seen[parent]!r} would have to be a file and the folder of {name!r}",
                entry=name,
                code="package.duplicate_entry",
            )


def in_order(names: Iterable[str]) -> list[str]:
    """Sorted by UTF-8 bytes, then model.sig, then manifest.json, as entries stand in a package."""
    ordered = sorted(names)  # by code points, which is the order of their UTF-8 bytes
    last = [name for name in (SIGNING, MANIFEST) for _ in range(ordered.count(name))]
    return [*(name for name in ordered if name not in (SIGNING, MANIFEST)), *last]
