"""What is typed in the recording, act by act."""

from __future__ import annotations

from dataclasses import dataclass

from examples.deployment_guide import DEPLOYMENT, PACKAGING, ROLLBACK

from benchmarks.recording.clients import KEEP_ALIVE, ONE_SHOT
from benchmarks.recording.stage import Line

PREPARED = (
    "./prepare.sh",
    PACKAGING[0],
    "cp model.hyperion next.hyperion",
    "hyperion version update next.hyperion --minor",
    "hyperion package model --input undefined --output undefined.hyperion --parent model.hyperion",
    "hyperion package model --input greedy --output greedy.hyperion --parent model.hyperion",
)
PACKAGES = {
    "1.0.0": "model_v1.hyperion",
    "1.1.0": "model.hyperion",
    "1.2.0": "next.hyperion",
    "1.3.0": "undefined.hyperion",
    "1.4.0": "greedy.hyperion",
}
"""Every package of the recording, by its version."""
MONITORED_S = 6.0


@dataclass(frozen=True)
class Scene:
    """An act before it is played; see ``record.Act``."""

    title: str
    about: str
    lines: tuple[Line, ...]
    forgiven_version: str | None = None
    held: int = 0


def _typed(command: str) -> Line:
    """A command of the guide; an endless one is ended as a person would, with Ctrl-C."""
    return Line(command, interrupted_after_s=MONITORED_S if " monitor " in command else None)


SCENES = (
    Scene(
        "The guide's deployment",
        "The guide's section *Deployment Steps*, to the letter. 1.0.0 serves; 1.1.0 takes its place, blue-green. "
        f"Ctrl-C is pressed after {MONITORED_S:.0f} s of monitoring.",
        tuple(_typed(command) for command in DEPLOYMENT),
    ),
    Scene(
        "The guide's rollback",
        "The section *Rollback Procedure*, to the letter. The backup holds what the deploy replaced a moment ago, and "
        "that is still warm: the way back is a flip.",
        tuple(_typed(command) for command in ROLLBACK),
    ),
    Scene(
        "A rollback of the rollback",
        "1.1.0 was not to blame. It is warm now in its turn.",
        (Line('hyperion rollback model --to 1.1.0 --reason "It was the network"', rest_s=2.0),),
    ),
    Scene(
        "A canary",
        "1.2.0 gets 5 %, 25 % and 50 % of the requests, 6 s each, and is then promoted. canary.json is the guide's "
        "deployment.json with these steps and a spare worker.",
        (Line("hyperion deploy model --input next.hyperion --config canary.json", rest_s=2.0),),
    ),
    Scene(
        "A bad candidate in the canary",
        "1.3.0 answers NaN for faint images. Its golden images are bright, so that it passes its proof; 2 of the 16 "
        "images that the clients send are faint. It must be aborted by itself (exit code 7), and nobody but those to "
        "whom it answered may see a failure.",
        (Line("hyperion deploy model --input undefined.hyperion --config canary.json", expected=7, rest_s=2.0),),
        forgiven_version="1.3.0",
    ),
    Scene(
        "A bad candidate after promotion",
        "1.4.0 is deployed without a canary. It answers well, but faint images make it take 400 MiB and keep them. "
        "It must be gone back from by itself (exit code 7), and no request may fail.",
        (Line("hyperion deploy model --input greedy.hyperion --config deployment.json --follow", 7, rest_s=2.0),),
    ),
    Scene(
        "A worker is killed",
        f"With it go the connections that it holds, and what is sent on them: one for each of the "
        f"{KEEP_ALIVE + ONE_SHOT} clients at most. The spare takes its place, and a new spare is started.",
        (Line("kill -9 {worker}", rest_s=3.0), Line("hyperion status")),
        held=KEEP_ALIVE + ONE_SHOT,
    ),
    Scene(
        "The supervisor is killed",
        "The workers serve on. The next command that needs a supervisor starts one, which adopts them.",
        (
            Line("kill -9 {supervisor}", rest_s=3.0),
            Line('hyperion rollback model --to 1.1.0 --reason "Enough for today"', rest_s=2.0),
            Line("hyperion status"),
        ),
    ),
    Scene(
        "What the ledger says",
        "Of all this; the clients still send.",
        (Line("hyperion history current_model"), Line("hyperion log verify")),
    ),
)  # fmt: skip
