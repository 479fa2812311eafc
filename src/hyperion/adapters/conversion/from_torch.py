"""A program of torch.export (.pt2) → ONNX; runs in the converting child only, for reading it can run code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hyperion.adapters.conversion.converted_model import ConvertedModel
from hyperion.adapters.conversion.torch_export import OPSET, largest_difference, open_session, save_program
from hyperion.errors import ModelSourceError

LIBRARIES = ("torch", "onnxscript")


def convert_torch(source: Path, made: ConvertedModel) -> None:
    """Read a program, export it with the dynamic dimensions that it has, and compare on its own example inputs.

    Raises:
        ModelSourceError: It cannot be exported, or answers otherwise after conversion.
    """
    import torch

    made.came_from("PyTorch exported program", LIBRARIES)
    program = torch.export.load(source)
    save_program(torch.onnx.export(program, dynamo=True, opset_version=OPSET, verbose=False), made.model)
    made.write_card()
    session = open_session(made.model)
    if program.example_inputs is None:
        made.notes.append("the program holds no example inputs: the conversion was not compared with PyTorch")
        return
    arguments, named = program.example_inputs
    given = _arrays((*arguments, *named.values()))
    inputs = session.get_inputs()
    if len(given) != len(inputs):
        raise ModelSourceError(
            f"{source}: takes {len(given)} tensors, {len(inputs)} of them after conversion",
            hint="export it with tensors as its only inputs",
            code="model_source.not_convertible",
        )
    with torch.no_grad():
        expected = _arrays(program.module()(*arguments, **named))
    feeds = {spec.name: array for spec, array in zip(inputs, given, strict=True)}
    share = largest_difference(session, feeds, expected, source)
    made.notes.append(f"on its example inputs it differs from PyTorch by at most {share:.1g} of the largest output")


def _arrays(values: Any) -> list[Any]:
    """Every tensor in nested tuples, lists and dictionaries, in the order in which torch.export flattens them."""
    import torch
    from torch.utils._pytree import tree_leaves

    return [leaf.detach().numpy() for leaf in tree_leaves(values) if isinstance(leaf, torch.Tensor)]
