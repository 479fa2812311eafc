"""P4: packaging against MLflow, BentoML and torch-model-archiver, each followed by sha256sum of what it made.

The peers that compress are measured on a small model: at full size they would take an hour.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.format.bench import COMMAND, Bench
from benchmarks.format.children import Child, ChildFailedError, TooSlowError
from benchmarks.format.models import MIB, write_model
from benchmarks.format.packaging import HASH, shell
from benchmarks.format.peers_environment import PeersUnavailableError, peers_python
from benchmarks.format.rounds import Timing, figure, fresh, measured
from benchmarks.measure import Figure, Result, median

MODULE = "benchmarks.format.peers"
SMALL_LAYERS, SMALL_LAYER_MIB = 10, 10
LIMIT_S = 45.0
"""A peer that takes longer is stopped; that it takes at least so long is what counts then."""


@dataclass
class Way:
    """How one peer packages.

    Attributes:
        title: For the page.
        bar: What our time may be at most, as a part of its time.
        run: Packages once; seconds of the peer's own part. A text says why it cannot be run.
        made: What it makes there, which is hashed afterwards.
    """

    title: str
    bar: float
    run: Callable[[], float] | str
    made: Path

    def __post_init__(self) -> None:
        self.own_s: list[float] = []

    def __call__(self) -> float:
        """Seconds of packaging and of hashing the result."""
        assert not isinstance(self.run, str)
        fresh(self.made)
        self.own_s.append(self.run())
        return self.own_s[-1] + shell(HASH, self.made, self.made)


def measure(bench: Bench) -> Result:
    small = write_model(bench.folder / "small-model", SMALL_LAYERS, SMALL_LAYER_MIB * MIB)
    peers = _Peers(bench.folder / "peers")
    try:
        figures = _compare(bench, bench.model, bench.size, peers.copying(bench.model))
        figures += _compare(bench, small, f"{SMALL_LAYERS * SMALL_LAYER_MIB} MiB", peers.compressing(small))
    finally:
        peers.close()
    return Result("peers", "Packaging against peers", f"{COMMAND} --only P4", tuple(figures))


def _compare(bench: Bench, model: Path, size: str, ways: list[Way]) -> list[Figure]:
    """A row for each way; those that can be run, and quickly, take turns with ours."""
    output = bench.folder / "out.hyperion"

    def ours() -> float:
        fresh(output)
        return bench.child.seconds("package", source=str(model), output=str(output), durable=False)

    fixed = {way.title: found for way in ways if (found := _settled_at_once(way)) is not None}
    quick = {way.title: way for way in ways if way.title not in fixed}
    ours()
    found = measured({"ours": ours, **quick}, warm=True)
    fresh(output)
    title = f"package {size}, no fsync"
    figures = []
    for way in ways:
        reference = fixed.get(way.title) or found[way.title]
        if isinstance(reference, str):
            mine = found["ours"]
            figures.append(
                Figure(
                    title, "s", mine.seconds, mine.spread, way.title, key="P4", bar=way.bar, unavailable=reference,
                )
            )  # fmt: skip
        else:
            note = f"{way.title}: its own part alone takes {median(way.own_s):.3g} s." if way.own_s else ""
            figures.append(figure("P4", title, found["ours"], way.title, reference, bar=way.bar, note=note))
    return figures


def _settled_at_once(way: Way) -> Timing | str | None:
    """Why a way cannot be run, or that it is too slow to take turns; None where it can."""
    if isinstance(way.run, str):
        return way.run
    try:
        way()
    except TooSlowError:
        return Timing(LIMIT_S, (LIMIT_S, LIMIT_S), "one run", at_least=True)
    except ChildFailedError as error:
        return str(error).splitlines()[0]
    way.own_s.clear()
    return None


class _Peers:
    """The peers' processes, each with what it writes below one folder.

    Args:
        folder: Made here.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir()
        self._children: dict[str, Child] = {}
        self._versions: dict[str, str] = {}
        self._faults: dict[str, str] = {}
        environment = {
            "BENTOML_HOME": str(folder / "bentoml"), "BENTOML_DO_NOT_TRACK": "True", "GIT_PYTHON_REFRESH": "quiet",
            "MLFLOW_DISABLE_TELEMETRY": "true", "PYTHONWARNINGS": "ignore",
        }  # fmt: skip
        for name in ("mlflow", "bentoml", "archiver"):
            self._start(name, environment)

    def _start(self, name: str, environment: dict[str, str]) -> None:
        try:
            self._children[name] = Child(MODULE, peers_python(), environment)
            self._versions[name] = str(self._children[name].call(f"prepare_{name}", folder=str(self._folder)).value)
        except (PeersUnavailableError, ChildFailedError) as error:
            self._faults[name] = str(error).splitlines()[0]

    def close(self) -> None:
        """Stop them and remove what they wrote."""
        for child in self._children.values():
            child.close()
        fresh(self._folder)

    def copying(self, model: Path) -> list[Way]:
        """The ways that store the files as they are."""
        source, saved, archived = str(model), self._folder / "saved", self._folder / "archived"
        stored = self._folder / "bentoml" / "models" / "bench-format"
        return [
            self._way("mlflow", "MLflow {} pyfunc.save_model", 1.0, saved, "mlflow_save", source, output=str(saved)),
            self._way("mlflow", "MLflow {} pyfunc.log_model", 1.0, self._folder / "artifacts", "mlflow_log", source),
            self._way("bentoml", "BentoML {} models.create + copytree", 1.0, stored, "bentoml_create", source),
            self._archiver(archived, source, "no-archive", 1.0),
            self._archiver(archived, source, "zip-store", 1.0),
        ]

    def compressing(self, model: Path) -> list[Way]:
        """The ways that compress."""
        source, exported = str(model), self._folder / "exported"
        return [
            self._archiver(self._folder / "archived", source, "default", 0.1),
            self._way(
                "bentoml", "BentoML {} models.export_model", 0.05, exported, "bentoml_export", source,
                output=str(exported),
            ),
        ]  # fmt: skip

    def _archiver(self, made: Path, source: str, form: str, bar: float) -> Way:
        title = f"torch-model-archiver {{}} --archive-format {form}"
        return self._way("archiver", title, bar, made, "archiver", source, output=str(made), form=form)

    def _way(self, peer: str, title: str, bar: float, made: Path, call: str, source: str, **more: str) -> Way:
        title = f"{title.format(self._versions.get(peer, ''))}, then sha256sum".replace("  ", " ")
        if peer in self._faults:
            return Way(title, bar, self._faults[peer], made)
        child = self._children[peer]
        return Way(title, bar, lambda: child.seconds(call, timeout_s=LIMIT_S, source=source, **more), made)
