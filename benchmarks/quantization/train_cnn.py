"""Trains recipe b's net and exports it; run by the interpreter that has torch: train_cnn.py FOLDER (with rows.npz)."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn


def main(folder: Path) -> None:
    with np.load(folder / "rows.npz") as rows:
        x, label = torch.from_numpy(rows["train"]), torch.from_numpy(rows["train_label"])
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(3136, 256), nn.ReLU(), nn.Dropout(0.3), nn.Linear(256, 10),
    )  # fmt: skip
    optimizer, loss = torch.optim.Adam(net.parameters(), lr=1e-3), nn.CrossEntropyLoss()
    for _ in range(10):
        order = torch.randperm(len(x))
        for start in range(0, len(x), 64):
            batch = order[start : start + 64]
            optimizer.zero_grad()
            loss(net(x[batch]), label[batch]).backward()
            optimizer.step()
    net.eval()
    torch.onnx.export(
        net, (x[:2],), folder / "model.onnx", input_names=["image"], output_names=["logits"],
        dynamic_shapes=({0: torch.export.Dim("batch")},), dynamo=True, external_data=False, opset_version=18,
    )  # fmt: skip


if __name__ == "__main__":
    main(Path(sys.argv[1]))
