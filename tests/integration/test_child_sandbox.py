"""The sandbox: a real child, a real engine, and what happens when the child does not come back."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import pytest
from tests.fakes.checks_host import checks_host, packaged
from tests.models import expected, inputs, mlp, write_model_dir

from hyperion.adapters.sandbox.child_sandbox import ChildSandbox
from hyperion.adapters.sandbox.confinement import available
from hyperion.errors import EngineError, HostError, PackageError
from hyperion.ports import InferenceJob, SandboxLimits

ENDLESS = 10**9


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("package")
    return packaged(folder, checks_host(folder))


@pytest.fixture
def sandbox(tmp_path: Path) -> ChildSandbox:
    return ChildSandbox(tmp_path / "jobs")


def children() -> list[psutil.Process]:
    found = []
    for child in psutil.Process().children():
        with suppress(psutil.ZombieProcess):  # a supervisor that another test started from here, and that has ended
            if "hyperion.cli.child" in child.cmdline():
                found.append(child)
    return found


def eventually(condition: Callable[[], bool], timeout_s: float = 60) -> bool:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return False


def running(folder: Path) -> bool:
    return any("request" in stage.read_text() for stage in folder.glob("*/stage"))


@pytest.fixture
def when_running(tmp_path: Path) -> Iterator[Callable[[Callable[[int], object]], None]]:
    """Does something to the child as soon as it runs its first request."""
    threads: list[threading.Thread] = []

    def begin(act: Callable[[int], object]) -> None:
        def wait() -> None:
            assert eventually(lambda: running(tmp_path / "jobs"))
            act(children()[0].pid)

        threads.append(threading.Thread(target=wait))
        threads[-1].start()

    yield begin
    for thread in threads:
        thread.join()


def test_a_job_gives_the_outputs_of_the_model_and_what_it_took(sandbox: ChildSandbox, package: Path) -> None:
    x = inputs(3)

    result = sandbox.run(InferenceJob(package, [{"x": x}, {"x": x[:1]}], repeats=4, warmup=1, unload=True))

    first, second = result.outputs
    assert first is not None
    assert second is not None
    np.testing.assert_allclose(first["probabilities"], expected(mlp(0), x), atol=1e-6)
    assert second["probabilities"].shape == (1, 8)
    assert result.errors == (None, None)
    assert len(result.latencies_ms) == 8
    assert result.cpu_s > 0
    assert result.wall_s >= sum(result.latencies_ms) / 1000
    assert 0 < result.memory.before_load <= result.memory.peak
    assert result.memory.after_unload is not None
    assert (result.counters["cycles"] is None) == (result.counters_unavailable is not None)


def test_requests_are_taken_one_at_a_time_from_any_iterable(sandbox: ChildSandbox, package: Path) -> None:
    taken = []

    def requests() -> Iterator[dict[str, np.ndarray]]:
        for index in range(3):
            taken.append(index)
            yield {"x": inputs(1, index)}

    result = sandbox.run(InferenceJob(package, requests(), keep_outputs=False))

    assert taken == [0, 1, 2]
    assert result.outputs == (None, None, None)
    assert result.errors == (None, None, None)


def test_only_the_named_outputs_come_back(sandbox: ChildSandbox, package: Path) -> None:
    result = sandbox.run(InferenceJob(package, [{"x": inputs(1)}], kept=frozenset({"other"})))

    assert result.outputs == ({},)


def test_a_request_that_the_engine_refuses_is_told_and_the_others_still_run(
    sandbox: ChildSandbox, package: Path
) -> None:
    wrong = {"x": np.zeros((1, 5), dtype=np.float32)}

    result = sandbox.run(InferenceJob(package, [wrong, {"x": inputs(1)}]))

    assert result.outputs[0] is None
    assert result.errors[0] is not None
    assert result.outputs[1] is not None


def test_a_child_that_a_signal_ends_is_a_crash_with_the_signals_name(
    sandbox: ChildSandbox, package: Path, when_running: Callable[[Callable[[int], object]], None]
) -> None:
    when_running(lambda pid: os.kill(pid, signal.SIGSEGV))

    with pytest.raises(EngineError, match="killed by SIGSEGV before it had run request 1 of 1") as caught:
        sandbox.run(InferenceJob(package, [{"x": inputs(1)}], repeats=ENDLESS))

    assert caught.value.code == "engine.crashed"


def test_a_child_that_used_up_its_processor_time_ran_out_of_time(
    sandbox: ChildSandbox, package: Path, when_running: Callable[[Callable[[int], object]], None]
) -> None:
    when_running(lambda pid: os.kill(pid, signal.SIGXCPU))

    with pytest.raises(EngineError, match="processor time") as caught:
        sandbox.run(InferenceJob(package, [{"x": inputs(1)}], repeats=ENDLESS))

    assert caught.value.code == "engine.timeout"


def test_a_report_that_cannot_be_read_is_a_crash(
    sandbox: ChildSandbox, package: Path, tmp_path: Path, when_running: Callable[[Callable[[int], object]], None]
) -> None:
    def spoil(pid: int) -> None:
        next((tmp_path / "jobs").glob("*/stage")).with_name("report.json").write_text("{")
        os.kill(pid, signal.SIGTERM)

    when_running(spoil)

    with pytest.raises(EngineError, match="report cannot be read") as caught:
        sandbox.run(InferenceJob(package, [{"x": inputs(1)}], repeats=ENDLESS))

    assert caught.value.code == "engine.crashed"


def test_no_place_for_the_job_is_an_error_of_the_host(package: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(HostError, match="cannot make a folder"):
        ChildSandbox(tmp_path / "file" / "jobs").run(InferenceJob(package))


def test_a_child_that_takes_too_long_is_killed(sandbox: ChildSandbox, package: Path) -> None:
    with pytest.raises(EngineError) as caught:
        sandbox.run(InferenceJob(package, [{"x": inputs(1)}], repeats=ENDLESS), SandboxLimits(timeout_s=2))

    assert caught.value.code == "engine.timeout"
    assert children() == []


def test_a_model_beyond_its_address_space_is_a_failure_and_not_a_crash_of_ours(
    sandbox: ChildSandbox, package: Path
) -> None:
    with pytest.raises(EngineError):
        sandbox.run(InferenceJob(package, [{"x": inputs(1)}]), SandboxLimits(address_space_bytes=150 * 1024**2))


def test_a_package_that_breaks_the_format_is_the_same_error_as_outside(sandbox: ChildSandbox, tmp_path: Path) -> None:
    broken = tmp_path / "broken.hyperion"
    broken.write_bytes(b"PK\x03\x04" + b"x" * 500)

    with pytest.raises(PackageError) as caught:
        sandbox.run(InferenceJob(broken))

    assert "broken.hyperion" in caught.value.message


def test_nothing_is_left_behind_even_by_a_sandbox_that_was_killed(
    sandbox: ChildSandbox, package: Path, tmp_path: Path
) -> None:
    leftover = tmp_path / "jobs" / "hyperion-job-99999999-abc"
    leftover.mkdir(parents=True)

    sandbox.run(InferenceJob(package))

    assert list((tmp_path / "jobs").iterdir()) == []


def test_the_child_sees_nothing_of_the_environment(
    sandbox: ChildSandbox,
    package: Path,
    when_running: Callable[[Callable[[int], object]], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("A_SECRET", "swordfish")
    seen: dict[str, str] = {}

    def look(pid: int) -> None:
        seen.update(psutil.Process(pid).environ())
        os.kill(pid, signal.SIGKILL)

    when_running(look)
    with pytest.raises(EngineError, match="SIGKILL"):
        sandbox.run(InferenceJob(package, [{"x": inputs(1)}], repeats=ENDLESS))

    assert "PYTHONPATH" in seen
    assert "A_SECRET" not in seen


def test_the_child_is_confined_as_far_as_the_kernel_can(sandbox: ChildSandbox, package: Path) -> None:
    found = sandbox.run(InferenceJob(package)).confinement

    assert found is not None
    assert [p.name for p in found.missing] == [p.name for p in available().missing]


def test_a_model_that_is_in_no_package_runs_from_its_folder(sandbox: ChildSandbox, tmp_path: Path) -> None:
    model = write_model_dir(tmp_path / "source") / "model.onnx"

    result = sandbox.run(InferenceJob(model, [{"x": inputs(2)}], source=True))

    assert result.errors == (None,)
    assert result.outputs[0] is not None


def test_a_source_that_breaks_the_rules_is_refused_in_the_child(sandbox: ChildSandbox, tmp_path: Path) -> None:
    model = write_model_dir(tmp_path / "source") / "model.onnx"
    model.write_bytes(b"no model")

    with pytest.raises(PackageError) as caught:
        sandbox.run(InferenceJob(model, source=True))

    assert caught.value.code == "model_source.not_onnx"
