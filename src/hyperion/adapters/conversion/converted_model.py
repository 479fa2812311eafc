"""The model directory that a converter writes: model.onnx, and what follows from the model it came from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from hyperion.domain.manifest import MODEL_FILE, PROCESSING, ModelCard

if TYPE_CHECKING:
    from onnx import ModelProto

    from hyperion.domain.processing import Processing

CARD = "hyperion.json"


@dataclass
class ConvertedModel:
    """A folder that is being filled, and what is to be said of it.

    Attributes:
        folder: Empty at first.
        origin: What the model was.
        libraries: Names and versions of those that converted it.
        notes: What a person should know.
    """

    folder: Path
    origin: str = ""
    libraries: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def model(self) -> Path:
        """Where model.onnx is to be written."""
        return self.folder / MODEL_FILE

    def came_from(self, origin: str, libraries: Iterable[str]) -> None:
        """Say what the model was, and which installed libraries convert it."""
        self.origin = origin
        self.libraries = {name: version(name) for name in libraries}

    def write_card(self) -> None:
        """Write hyperion.json, which says where the model came from; nothing of it depends on the host."""
        libraries = ", ".join(f"{name} {number}" for name, number in self.libraries.items())
        card = ModelCard(annotations={"converted.from": self.origin, "converted.with": libraries})
        (self.folder / CARD).write_text(card.model_dump_json(exclude_defaults=True, indent=2) + "\n")

    def write_processing(self, processing: Processing) -> None:
        """Write config/processing.json: the keys that were given, so each ``kind`` has to be."""
        place = self.folder / PROCESSING
        place.parent.mkdir(exist_ok=True)
        place.write_text(processing.model_dump_json(exclude_unset=True, exclude_none=True, indent=2) + "\n")

    def write_asset(self, name: str, data: bytes) -> None:
        """Write a file under assets/."""
        (self.folder / "assets").mkdir(exist_ok=True)
        (self.folder / "assets" / name).write_bytes(data)


def name_batch(model: ModelProto) -> None:
    """Call the first dimension of every input and output ``batch`` where it is open and has no name."""
    for value in (*model.graph.input, *model.graph.output):
        shape = value.type.tensor_type.shape
        if shape.dim and not shape.dim[0].HasField("dim_value") and not shape.dim[0].dim_param:
            shape.dim[0].dim_param = "batch"
