"""Conversion in its child: what it may not do, what it leaves behind, and how its words come back."""

from __future__ import annotations

import os
import pickle
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from skops.io import dump
from tests.fakes.reporter import CollectingReporter
from tests.packaging import load, pack

from hyperion.adapters.conversion import model_converters
from hyperion.adapters.conversion.model_converters import ChildConverters
from hyperion.adapters.conversion.protocol import REPORT, RESULT, WORK
from hyperion.adapters.conversion.result import read_report, take_result
from hyperion.adapters.files.package_files import LocalPackages
from hyperion.adapters.sandbox.confinement import available
from hyperion.errors import ConfigError, EngineError, HyperionError, ModelSourceError, NotFoundError
from hyperion.ports import ConversionOptions

TRUSTING = ConversionOptions(trust_pickle=True)
needs_confinement = pytest.mark.skipif(bool(available().missing), reason="this kernel cannot confine a process")

ATTEMPTS = """
import os, socket, subprocess
done = []
def attempt(what, act):
    try:
        act()
        done.append(what)
    except (OSError, KeyError):
        pass
attempt("write", lambda: open({outside!r} + "/written", "w"))
attempt("read", lambda: open({secret!r}).read())
attempt("list", lambda: os.listdir({outside!r}))
attempt("remove", lambda: os.remove({secret!r}))
attempt("socket", lambda: socket.socket())
attempt("unix socket", lambda: socket.socket(socket.AF_UNIX))
attempt("program", lambda: subprocess.run(["/bin/true"]))
attempt("environment", lambda: os.environ["HYPERION_SECRET_OF_TEST"])
"""


class Code:
    """Pickles as code that runs while it is read."""

    def __init__(self, code: str) -> None:
        self.code = code

    def __reduce__(self) -> tuple[Any, tuple[str, dict[str, Any]]]:
        return exec, (self.code, {})


def pickled(path: Path, code: str) -> Path:
    path.write_bytes(pickle.dumps(Code(code)))
    return path


def refused(path: Path, scratch: Path, options: ConversionOptions = TRUSTING, **limits: float) -> HyperionError:
    """The refusal; the private folder must be gone."""
    with pytest.raises(HyperionError) as refusal:
        with ChildConverters(scratch, **limits).convert(path, options, CollectingReporter()):
            pass
    assert list(scratch.glob("hyperion-conversion-*")) == []
    return refusal.value


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    folder = tmp_path / "scratch"
    folder.mkdir()
    return folder


@needs_confinement
def test_a_hostile_pickle_reaches_nothing(tmp_path: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outside = tmp_path / "home" / ".ssh"
    outside.mkdir(parents=True)
    (outside / "id_rsa").write_text("secret")
    monkeypatch.setenv("HYPERION_SECRET_OF_TEST", "secret")
    attempts = ATTEMPTS.format(outside=str(outside), secret=str(outside / "id_rsa"))
    model = pickled(tmp_path / "model.pkl", attempts + 'raise ValueError(f"managed: {done}")')

    error = refused(model, scratch)

    assert "ValueError: managed: []" in error.message
    assert [path.name for path in outside.iterdir()] == ["id_rsa"]


def test_without_trust_nothing_of_a_pickle_runs(tmp_path: Path, scratch: Path) -> None:
    canary = scratch / "canary"
    model = pickled(tmp_path / "model.joblib", f"open({str(canary)!r}, 'w')")

    error = refused(model, scratch, ConversionOptions())

    assert isinstance(error, ModelSourceError)
    assert error.code == "model_source.pickle"
    assert "--trust-pickle" in (error.hint or "")
    assert not canary.exists()


@needs_confinement
def test_a_pickle_that_does_not_end_is_killed(tmp_path: Path, scratch: Path) -> None:
    model = pickled(tmp_path / "model.pkl", "while True: pass")

    error = refused(model, scratch, timeout_s=1.0)

    assert (type(error), error.code) == (EngineError, "engine.timeout")


@needs_confinement
def test_a_child_that_crashes_is_told_with_its_last_words(tmp_path: Path, scratch: Path) -> None:
    model = pickled(tmp_path / "model.pkl", "import os; print('nearly there', flush=True); os._exit(7)")

    error = refused(model, scratch)

    assert error.code == "engine.crashed"
    assert "status 7" in error.message
    assert "nearly there" in error.message


def test_a_skops_model_is_packaged_and_answers_as_scikit_learn(tmp_path: Path) -> None:
    x, y = load_iris(return_X_y=True)
    model = LogisticRegression(max_iter=1000).fit(x, np.array(["a", "b", "c"])[y])
    folder = tmp_path / "Iris Model"
    (folder / "assets").mkdir(parents=True)
    (folder / "assets" / "notes.txt").write_text("mine")
    (folder / "hyperion.json").write_text('{"version": "2.0.0", "annotations": {"team": "a"}}')
    dump(model, folder / "estimator.skops")

    summary = pack(folder, tmp_path / "m.hyperion", "none")

    found = load(tmp_path / "m.hyperion").run({"X": x.astype(np.float32)})
    assert np.abs(found["probabilities"] - model.predict_proba(x)).max() < 1e-5
    assert (summary.name, summary.version) == ("iris-model", "2.0.0")
    assert summary.converted[0] == "from scikit-learn LogisticRegression"
    with LocalPackages().open(tmp_path / "m.hyperion") as package:
        manifest = package.manifest
    assert manifest.signature.labels == ("a", "b", "c")
    assert {"assets/notes.txt", "config/processing.json"} <= set(manifest.entries)
    assert manifest.annotations["team"] == "a"
    assert manifest.annotations["converted.from"] == "scikit-learn LogisticRegression"
    assert list(tmp_path.glob("hyperion-conversion-*")) == []


def test_a_missing_extra_is_named(tmp_path: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model.skops").write_bytes(b"PK")
    monkeypatch.setattr(model_converters, "find_spec", lambda name: None)

    error = refused(tmp_path / "model.skops", scratch)

    assert isinstance(error, ConfigError)
    assert (error.code, error.hint) == ("extra.missing", "pip install 'hyperion-deploy[sklearn]'")


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (("model.onnx", "estimator.skops"), None),
        (("net.onnx", "estimator.skops"), None),
        (("estimator.skops",), "scikit-learn"),
        (("estimator.pkl",), "scikit-learn"),
        (("one.skops", "two.skops"), None),
        (("program.pt2",), "torch"),
        (("model.safetensors",), None),
        ((), None),
    ],
)
def test_what_needs_converting_is_recognised_by_its_files(
    names: tuple[str, ...], kind: str | None, tmp_path: Path
) -> None:
    for name in names:
        (tmp_path / name).write_bytes(b"x")

    assert ChildConverters().recognise(tmp_path) == kind


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        ('{"model_type": "bert"}', "hugging-face"),
        ('{"architectures": ["B"]}', "hugging-face"),
        ("{}", None),
        ("[", None),
    ],
)
def test_a_hugging_face_directory_names_its_architecture(config: str, kind: str | None, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(config)
    (tmp_path / "model.safetensors").write_bytes(b"x")

    assert ChildConverters().recognise(tmp_path) == kind


def test_weights_of_a_hugging_face_directory_in_a_pickle_need_trust(tmp_path: Path, scratch: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x02.")

    error = refused(tmp_path, scratch, ConversionOptions())

    assert (error.code, "save_pretrained" in (error.hint or "")) == ("model_source.pickle", True)


def test_a_model_that_generates_text_is_refused_before_an_extra_is_asked_for(
    tmp_path: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.json").write_text('{"architectures": ["LlamaForCausalLM"]}')
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x02.")
    monkeypatch.setattr(model_converters, "find_spec", lambda name: None)

    assert refused(tmp_path, scratch, ConversionOptions()).code == "model_source.task"


@pytest.mark.parametrize("name", ["model.skops", "model.joblib", "model.pkl"])
@needs_confinement
def test_a_damaged_estimator_is_called_damaged(name: str, tmp_path: Path, scratch: Path) -> None:
    (tmp_path / name).write_bytes(b"0")

    error = refused(tmp_path / name, scratch)

    assert (error.code, "the file is damaged" in (error.hint or "")) == ("model_source.not_convertible", True)


@pytest.mark.parametrize("options", [ConversionOptions(), ConversionOptions(trusted_types=("a.B",))])
def test_a_model_that_is_not_there_is_not_found_whatever_the_options(
    options: ConversionOptions, tmp_path: Path
) -> None:
    with pytest.raises(NotFoundError, match="there is nothing at"):
        pack(tmp_path / "gone.skops", tmp_path / "m.hyperion", conversion=options)


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (ConversionOptions(task="embedding"), "--task is for Hugging Face"),
        (ConversionOptions(trust_pickle=True, trusted_types=("a.B",)), "--trust-type is for scikit-learn"),
    ],
)
def test_an_option_of_another_kind_of_model_is_refused(
    options: ConversionOptions, word: str, tmp_path: Path, scratch: Path
) -> None:
    name = "m.skops" if options.task else "m.pt2"
    (tmp_path / name).write_bytes(b"x")

    error = refused(tmp_path / name, scratch, options)

    assert error.code == "convert.option"
    assert word in error.message


@pytest.mark.parametrize("make", ["link", "pipe", "linked folder"])
def test_a_result_that_is_no_plain_file_is_refused(make: str, tmp_path: Path) -> None:
    result = tmp_path / WORK / RESULT
    result.mkdir(parents=True)
    if make == "link":
        (result / "model.onnx").symlink_to("/etc/hostname")
    elif make == "pipe":
        os.mkfifo(result / "model.onnx", stat.S_IRUSR)
    else:
        result.rmdir()
        result.symlink_to("/etc")

    with pytest.raises(ModelSourceError, match="no plain file"):
        take_result(tmp_path)


@pytest.mark.parametrize("make", ["link", "pipe", "nothing"])
def test_a_report_that_leads_elsewhere_or_blocks_is_none(make: str, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text('{"origin": "secret"}')
    if make == "link":
        (tmp_path / REPORT).symlink_to(tmp_path / "secret")
    elif make == "pipe":
        os.mkfifo(tmp_path / REPORT)

    with pytest.raises(EngineError) as refusal:
        read_report(tmp_path, 0)

    assert refusal.value.code == "engine.crashed"
    assert "secret" not in refusal.value.message


@needs_confinement
def test_a_killed_conversion_is_swept_by_the_next_one(tmp_path: Path, scratch: Path) -> None:
    left = scratch / "hyperion-conversion-999999999-abc"
    left.mkdir()

    refused(pickled(tmp_path / "m.pkl", "raise ValueError"), scratch)

    assert not left.exists()
