"""Calls of MLflow, BentoML and torch-model-archiver, run by benchmarks.format.child in their own environment.

Each stores the same model directory by the peer's own function; ``prepare_*`` imports it, so that no measured call
pays for that.
"""

from __future__ import annotations

import shutil
import tempfile
from importlib.metadata import version
from pathlib import Path

NAME = "bench-format"


def prepare_mlflow(folder: str) -> str:
    """A tracking store in SQLite and a folder for artifacts, as MLflow uses without a server; the version."""
    import mlflow.pyfunc

    mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
    mlflow.create_experiment(NAME, artifact_location=Path(folder, "artifacts").as_uri())
    mlflow.set_experiment(NAME)
    return version("mlflow-skinny")


def mlflow_save(source: str, output: str) -> None:
    """``pyfunc.save_model`` with the directory as the model's data."""
    import mlflow.pyfunc

    mlflow.pyfunc.save_model(output, loader_module="benchmark_loader", data_path=source, pip_requirements=["onnx"])


def mlflow_log(source: str) -> None:
    """``pyfunc.log_model`` in a run of its own."""
    import mlflow.pyfunc

    with mlflow.start_run():
        mlflow.pyfunc.log_model(
            name="model", loader_module="benchmark_loader", data_path=source, pip_requirements=["onnx"]
        )


def prepare_bentoml(folder: str) -> str:  # noqa: ARG001 - the environment's BENTOML_HOME says where
    """The version."""
    import bentoml

    bentoml.models.list()
    return version("bentoml")


def bentoml_create(source: str) -> str:
    """``models.create`` and a copy into it; where it lies."""
    import bentoml

    with bentoml.models.create(NAME) as model:
        shutil.copytree(source, model.path_of("model"))
    return str(model.path)


def bentoml_export(source: str, output: str) -> None:
    """``models.create``, and ``models.export_model`` to one file."""
    import bentoml

    Path(output).mkdir()
    bentoml_create(source)
    bentoml.models.export_model(f"{NAME}:latest", f"{output}/model.bentomodel")


def prepare_archiver(folder: str) -> str:
    """It copies everything to the temporary folder first, which must lie on the same disk; the version."""
    import model_archiver.model_packaging  # noqa: F401

    tempfile.tempdir = f"{folder}/temporary"
    Path(tempfile.tempdir).mkdir()
    return version("torch-model-archiver")


def archiver(source: str, output: str, form: str) -> None:
    """``torch-model-archiver --archive-format FORM``, all files as extra files."""
    from model_archiver.model_archiver_config import ModelArchiverConfig
    from model_archiver.model_packaging import generate_model_archive

    Path(output).mkdir()
    generate_model_archive(
        ModelArchiverConfig(
            model_name=NAME, handler="image_classifier", version="1.0", extra_files=source, export_path=output,
            archive_format=form, force=True,
        )
    )  # fmt: skip
