"""The deployment guide's commands, to the letter and in its order, and a folder in which they can be typed.

What types them: the end-to-end test (all of them), and the recorded run of the documentation (deployment and rollback,
under load).
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

_EXAMPLES = Path(__file__).resolve().parent

PACKAGING = (
    "hyperion package model --input model_dir --output model.hyperion",
    "hyperion extract model --input model.hyperion --output model_dir",
    "hyperion verify model --input model.hyperion",
)
VERSIONS = (
    "hyperion version check model.hyperion",
    "hyperion version update model.hyperion --major",
    "hyperion version update model.hyperion --minor",
    "hyperion version update model.hyperion --patch",
    "hyperion version compare model_v1.hyperion model_v2.hyperion",
)
DEPLOYMENT = (
    "hyperion backup model --name current_model --output backup/",
    "hyperion deploy model --input model.hyperion --config deployment.json",
    "hyperion verify deployment --model model.hyperion --config verification.json",
    "hyperion monitor model --model model.hyperion --metrics metrics.json",
)
ROLLBACK = (
    'hyperion rollback model --backup backup/current_model --reason "Performance issues"',
    "hyperion verify deployment --model backup/current_model",
    'hyperion log rollback --backup backup/current_model --reason "Performance issues"',
)
VERIFICATION = (
    "hyperion verify integrity model.hyperion",
    "hyperion verify performance model.hyperion --dataset test_data/",
    "hyperion verify memory model.hyperion --config memory_config.json",
    "hyperion verify compatibility model.hyperion --platform target_platform",
)
MONITORING = (
    "hyperion monitor performance --model model.hyperion --interval 60",
    "hyperion monitor resources --model model.hyperion --interval 30",
    "hyperion monitor errors --model model.hyperion --log errors.log",
)
COMMANDS = (*PACKAGING, *VERSIONS, *DEPLOYMENT, *ROLLBACK, *VERIFICATION, *MONITORING)


def copied_folder(into: Path, port: int) -> Path:
    """examples/guide and the models that it needs, as they are committed, in a new folder; the service gets ``port``.

    ``./prepare.sh`` there brings it to where the guide begins.
    """
    shutil.copytree(_EXAMPLES / "mnist", into / "examples" / "mnist")
    made = shutil.ignore_patterns("*.hyperion", "backup", "metrics.json", "errors.log")
    folder = Path(shutil.copytree(_EXAMPLES / "guide", into / "examples" / "guide", ignore=made))
    config = json.loads((folder / "deployment.json").read_text())
    config["serve"]["port"] = port
    (folder / "deployment.json").write_text(json.dumps(config))
    return folder
