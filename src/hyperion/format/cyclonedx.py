"""A package's bill of materials: a CycloneDX 1.6 ML-BOM in JSON, made of the manifest alone.

The same package gives the same bytes on every machine: keys are sorted, the serial number follows from the digest, and
there is no time in it unless one is given. Source: https://cyclonedx.org/docs/1.6/json/
"""

from __future__ import annotations

import json
import re
import uuid
from datetime import datetime
from typing import Any

from hyperion.domain.digest import hex_of
from hyperion.domain.manifest import MANIFEST, Manifest
from hyperion.domain.signing import signed_files
from hyperion.domain.tensor import TensorSpec
from hyperion.errors import ConfigError
from hyperion.format.strict_json import parse_json

SCHEMA = "http://cyclonedx.org/schema/bom-1.6.schema.json"
TOOL = "hyperion"

_SPDX_ID = re.compile(r"(?!LicenseRef-)[A-Za-z0-9.-]+")


def bom_bytes(manifest: Manifest, digest: str, tool_version: str, made_at: datetime | None = None) -> bytes:
    """The bill of materials of a package, as JSON text.

    Args:
        manifest: The package's.
        digest: The package's.
        tool_version: This Hyperion's.
        made_at: When, UTC; None leaves it out.
    """
    files = signed_files(manifest, digest)
    metadata: dict[str, Any] = {
        "tools": {"components": [{"type": "application", "name": TOOL, "version": tool_version}]},
        "component": _model(manifest, digest),
    }
    if made_at is not None:
        metadata["timestamp"] = made_at.strftime("%Y-%m-%dT%H:%M:%SZ")
    bom = {
        "$schema": SCHEMA,
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, f'hyperion:{digest}')}",
        "version": 1,
        "metadata": metadata,
        "components": [_file(name, file_digest, manifest) for name, file_digest in files.items()],
        "dependencies": [{"ref": digest, "dependsOn": [_reference(name) for name in files]}],
    }
    return json.dumps(bom, indent=2, sort_keys=True).encode("ascii") + b"\n"


def is_own_bom(raw: bytes) -> bool:
    """Whether these bytes are a bill of materials that Hyperion wrote."""
    try:
        tree = parse_json(raw, "the file")
    except ConfigError:
        return False
    if not isinstance(tree, dict) or tree.get("bomFormat") != "CycloneDX":
        return False
    node: Any = tree
    for key in ("metadata", "tools", "components"):
        node = node.get(key) if isinstance(node, dict) else None
    return isinstance(node, list) and any(isinstance(tool, dict) and tool.get("name") == TOOL for tool in node)


def _model(manifest: Manifest, digest: str) -> dict[str, Any]:
    """The component that the bill is about; what the manifest leaves empty is left out."""
    component: dict[str, Any] = {
        "type": "machine-learning-model",
        "bom-ref": digest,
        "name": manifest.name,
        "version": manifest.version,
        "hashes": [_hash(digest)],
        "modelCard": {"modelParameters": _parameters(manifest)},
        "properties": _properties(
            ("digest", digest),
            ("format_version", str(manifest.format_version)),
            ("engine", f"{manifest.engine.name}>={manifest.engine.minimum_version}"),
            *(("opset", f"{domain} {version}") for domain, version in sorted(manifest.engine.opsets.items())),
            *(("scheme", scheme) for scheme in _schemes(manifest)),
            ("platform", manifest.platform),
            ("parent", manifest.parent.digest if manifest.parent else None),
        ),
    }
    if manifest.description:
        component["description"] = manifest.description
    if manifest.author:
        component["authors"] = [{"name": manifest.author}]
    if manifest.tags:
        component["tags"] = list(manifest.tags)
    if manifest.license:
        component["licenses"] = [_license(manifest.license)]
    return component


def _parameters(manifest: Manifest) -> dict[str, Any]:
    signature = manifest.signature
    parameters: dict[str, Any] = {
        "inputs": [{"format": _describe(spec)} for spec in signature.inputs],
        "outputs": [{"format": _describe(spec)} for spec in signature.outputs],
    }
    if signature.labels is not None:
        parameters["task"] = "classification"
    return parameters


def _describe(spec: TensorSpec) -> str:
    return f"{spec.name}: {spec.describe()}{' (optional)' if spec.optional else ''}"


def _schemes(manifest: Manifest) -> list[str]:
    return sorted({tensor.scheme for layer in manifest.layers for tensor in layer.tensors})


def _license(text: str) -> dict[str, Any]:
    """An SPDX identifier or expression in its canonical spelling, else the words as they are."""
    from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

    try:
        found = canonicalize_license_expression(text)
    except InvalidLicenseExpression:
        return {"license": {"name": text}}
    return {"license": {"id": found}} if _SPDX_ID.fullmatch(found) else {"expression": found}


def _file(name: str, digest: str, manifest: Manifest) -> dict[str, Any]:
    component: dict[str, Any] = {
        "type": "file",
        "bom-ref": _reference(name),
        "name": name,
        "hashes": [_hash(digest)],
    }
    if name != MANIFEST:
        component["properties"] = _properties(("size_bytes", str(manifest.entries[name].size_bytes)))
    return component


def _hash(digest: str) -> dict[str, str]:
    return {"alg": "SHA-256", "content": hex_of(digest)}


def _reference(name: str) -> str:
    return f"file:{name}"


def _properties(*values: tuple[str, str | None]) -> list[dict[str, str]]:
    return [{"name": f"{TOOL}:{name}", "value": value} for name, value in values if value is not None]
