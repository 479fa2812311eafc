"""Record the deployment guide under load and write its page (``make recording``; a few minutes).

python -m benchmarks.recording            play it all, keep it, write the page
python -m benchmarks.recording --page     write the page again from what was kept
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from benchmarks.measure import ROOT
from benchmarks.page import RESULTS, machine
from benchmarks.recording import page
from benchmarks.recording.clients import Seen, clients, write_questions
from benchmarks.recording.record import Act, Recording, Typed, by_revision, faults, load, save, sliced
from benchmarks.recording.script import PACKAGES, PREPARED, SCENES, Scene
from benchmarks.recording.stage import Stage, stage, write_bad_models, write_canary_config

KEPT = RESULTS / "recording.json"
LIBRARIES = ("onnxruntime", "httptools", "uvloop", "numpy")
NAME = "current_model"
TOLD_APART_FROM = 200
"""Images of the test data among which the clients' are chosen."""


def main(words: Sequence[str]) -> int:
    # A shell starts its background jobs with Ctrl-C ignored, children inherit that, and a scene presses it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if "--page" not in words:
        save(recorded(), KEPT)
    recording = load(KEPT)
    page.write(recording)
    for fault in recording.broken():
        print(f"NOT AS IT MUST BE: {fault}")
    return 1 if recording.broken() else 0


def recorded() -> Recording:
    """Play all scenes under load."""
    facts = machine(LIBRARIES, os.getloadavg()[0])
    played: list[tuple[Typed, ...]] = []
    with stage() as made:
        distance = _prepare(made)
        with clients(made.port, NAME, made.folder / "questions.json") as crowd:
            time.sleep(2.0)
            for number, scene in enumerate(SCENES, 1):
                print(f"{number}. {scene.title}", flush=True)
                played.append(_play(made, scene, crowd.began))
    return Recording(
        commit=_commit(),
        machine=facts,
        prepared=PREPARED,
        distance=distance,
        lasted_s=crowd.seen[-1].at_s,
        acts=_acts(played, crowd.seen),
        whole=by_revision(crowd.seen),
        slices=sliced(crowd.seen),
    )


def _prepare(made: Stage) -> float:
    """All packages, 1.0.0 in service, and the clients' questions; how far apart their answers are."""
    write_bad_models(made)
    write_canary_config(made)
    for command in PREPARED:
        print(f"$ {command}", flush=True)
        made.prepare(command)
    with np.load(made.folder.parent / "mnist" / "test_data" / "digits.npz") as data:
        images = data["image"][:TOLD_APART_FROM]
    packages = {version: made.folder / name for version, name in PACKAGES.items()}
    return write_questions(made.folder / "questions.json", packages, images)


def _play(made: Stage, scene: Scene, began: float) -> tuple[Typed, ...]:
    typed = []
    for line in scene.lines:
        typed.append(made.type(line, began))
        print(f"  {typed[-1].exit_code} after {typed[-1].took_s:.1f} s: {typed[-1].command}", flush=True)
        time.sleep(line.rest_s)
    return tuple(typed)


def _acts(played: Sequence[tuple[Typed, ...]], seen: Sequence[Seen]) -> tuple[Act, ...]:
    """Each scene with the answers that came until the next one; the first has also those from before."""
    borders = [0.0, *(typed[0].began_s for typed in played[1:]), float("inf")]
    acts = []
    for scene, typed, (start, end) in zip(SCENES, played, pairwise(borders), strict=True):
        own = [one for one in seen if start <= one.at_s < end]
        acts.append(
            Act(scene.title, scene.about, scene.forgiven_version, scene.held, typed, by_revision(own), faults(own))
        )
    return tuple(acts)


def _commit() -> str:
    """The commit of the source that ran, and whether it was changed since."""

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()

    changed = git("status", "--porcelain", "--", "src")
    return (git("rev-parse", "--short=12", "HEAD") or "unknown") + (", with changes in src" if changed else "")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
