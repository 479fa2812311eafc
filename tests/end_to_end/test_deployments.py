"""The commands that look at a deployment, on one that is live."""

from __future__ import annotations

import json
import signal
import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from docs.generate import FIGURES
from tests.end_to_end.conftest import Live, write_config
from tests.end_to_end.shell import ask, eventually, refused
from tests.models import inputs, write_model_dir


def infer(url: str, model: str = "current_model", rows: int = 2) -> Any:
    x = inputs(rows)
    tensor = {"name": "x", "datatype": "FP32", "shape": list(x.shape), "data": x.ravel().tolist()}
    return ask(f"{url}/v2/models/{model}/infer", {"inputs": [tensor]})


def fail_once(live: Live) -> None:
    """A request that the deployment refuses, and logs."""
    with pytest.raises(OSError, match="400"):
        ask(f"{live.url}/v2/models/current_model/infer", {"inputs": []})


def test_the_deployment_answers_open_inference_protocol_and_names_its_version(live: Live) -> None:
    answer = infer(live.url)

    assert answer["model_version"] == "1.0.0"
    assert answer["outputs"][0]["shape"] == [2, 8]


def test_status_shows_all_deployments_at_a_glance(live: Live) -> None:
    infer(live.url)

    page = live.shell.ok("status")

    row = next(text for text in page.splitlines() if text.startswith("current_model"))
    for word in ("serving", "test-mlp 1.0.0", live.url):
        assert word in row
    found = live.shell.status()
    assert found["deployments"][0]["serving"] is True
    assert found["figures"]["current_model"]["requests"] >= 1
    assert found["figures"]["current_model"]["latency_p95_ms"] > 0


@pytest.mark.parametrize("config", [True, False])
def test_verify_deployment_says_yes_to_the_active_package(live: Live, tmp_path: Path, config: bool) -> None:
    written = tmp_path / "verification.json"
    written.write_text('{"latency_p95_ms": 2000, "samples": 5}')

    report = live.shell.json(
        "verify", "deployment", "--model", "model.hyperion", *(("--config", written) if config else ())
    )

    assert report["ok"] is True
    assert set(report["figures"]) <= set(FIGURES)


def test_verify_deployment_says_no_beyond_its_limits(live: Live, tmp_path: Path) -> None:
    written = tmp_path / "verification.json"
    written.write_text('{"latency_p95_ms": 0.0001, "samples": 5}')

    done = live.shell("verify", "deployment", "--model", "model.hyperion", "--config", written)

    refused(done, 1)
    assert "NOT OK" in done.stdout


def test_a_package_that_is_not_deployed_is_not_verified_nor_monitored(live: Live, tmp_path: Path) -> None:
    source = write_model_dir(tmp_path / "other", seed=9)
    live.shell.made("package", "model", "--input", source, "--output", tmp_path / "other.hyperion")

    refused(live.shell.within("verify", "deployment", "--model", tmp_path / "other.hyperion"), 1)
    refused(
        live.shell.within("monitor", "model", "--model", tmp_path / "other.hyperion", "--metrics", tmp_path / "m.json"),
        5,
    )
    assert not (tmp_path / "m.json").exists()


def test_monitor_model_writes_metrics_json_and_json_lines_into_a_pipe(live: Live, tmp_path: Path) -> None:
    metrics = tmp_path / "metrics.json"
    infer(live.url)

    page = live.shell.ok(
        "monitor", "model", "--model", "model.hyperion", "--metrics", metrics, "--count", "2", "--interval", "0.3"
    )

    lines = [json.loads(text) for text in page.splitlines()]
    written = json.loads(metrics.read_text())
    assert len(lines) == 2
    assert written["format"] == "hyperion.metrics"
    assert (written["deployment"], written["version"]) == ("current_model", "1.0.0")
    assert lines[-1]["figures"].keys() == written["figures"].keys()
    assert set(written["figures"]) <= set(FIGURES)


def test_monitor_model_refuses_to_overwrite_a_file_that_is_not_its_own(live: Live, tmp_path: Path) -> None:
    foreign = tmp_path / "metrics.json"
    foreign.write_text('{"mine": true}')

    done = live.shell.within("monitor", "model", "--model", "model.hyperion", "--metrics", foreign, "--count", "1")

    refused(done, 6)
    assert foreign.read_text() == '{"mine": true}'


@pytest.mark.parametrize("what", ["performance", "resources"])
def test_monitor_performance_and_resources_give_one_json_line_a_round(live: Live, what: str) -> None:
    infer(live.url)

    page = live.shell.ok(
        "monitor", what, "--model", "model.hyperion", "--interval", "0.3", "--count", "2", "--name", "current_model"
    )

    rounds = [json.loads(text) for text in page.splitlines()]
    assert [found["kind"] for found in rounds] == [what, what]
    assert set(rounds[0]["figures"]) <= set(FIGURES)
    for found in rounds:
        missing = {name for name, value in found["figures"].items() if value is None}
        assert missing == set(found["unavailable"])


def test_monitor_errors_appends_failed_requests_with_their_cause(live: Live, tmp_path: Path) -> None:
    log = tmp_path / "errors.log"
    process = live.shell.start("monitor", "errors", "--model", "model.hyperion", "--log", log, "--interval", "0.2")
    try:

        def failed_and_seen() -> bool:
            fail_once(live)
            return log.exists() and '"cause":"bad_request"' in log.read_text()

        eventually(failed_and_seen)
    finally:
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)

    assert process.returncode == 0, out + err
    assert "Traceback" not in err
    assert all(json.loads(entry)["format"] == "hyperion.error" for entry in log.read_text().splitlines())


def test_an_endless_monitor_ends_with_0_on_ctrl_c(live: Live) -> None:
    process = live.shell.start("monitor", "performance", "--model", "model.hyperion", "--interval", "0.2")
    assert process.stdout is not None
    first = process.stdout.readline()

    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)

    assert json.loads(first)
    assert process.returncode == 0, err
    assert "Traceback" not in err


def test_a_reader_that_goes_away_ends_a_monitor_quietly(live: Live) -> None:
    process = live.shell.start("monitor", "performance", "--model", "model.hyperion", "--interval", "0.2")
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()

    process.stdout.close()

    assert process.wait(timeout=60) == 0
    assert process.stderr.read() == ""
    process.stderr.close()


def test_backup_model_keeps_package_and_config_and_is_unchanged_the_second_time(live: Live, tmp_path: Path) -> None:
    live.shell.ok("backup", "model", "--name", "current_model", "--output", tmp_path / "backup")
    second = live.shell.json("backup", "model", "--name", "current_model", "--output", tmp_path / "backup")

    folder = tmp_path / "backup" / "current_model"
    assert {path.name for path in folder.iterdir()} == {"package.hyperion", "deployment.json", "backup.json"}
    assert second["unchanged"] is True
    assert live.shell("verify", "deployment", "--model", folder).returncode == 0
    assert second["backup"]["proof"]["findings"]
    full = live.shell.json("backup", "model", "--name", "current_model", "--output", tmp_path / "full", "--full")
    copied = tmp_path / "full" / "current_model" / "package.hyperion"
    assert copied.read_bytes() == (live.folder / "model.hyperion").read_bytes()
    assert full["size_bytes"] == copied.stat().st_size


def test_the_ledger_stands_beside_an_export_and_a_forged_one_is_told(live: Live, tmp_path: Path) -> None:
    export = tmp_path / "ledger.jsonl"
    live.shell.within("log", "export", "--output", export)

    held = live.shell.within("log", "verify", "--against", export)
    export.write_text(export.read_text().replace("rollout.promoted", "rollout.aborted"))
    forged = live.shell.within("log", "verify", "--against", export, "--json")

    assert held.returncode == 0, held.stdout
    assert "ok: 2 passed" in held.stdout
    assert forged.returncode == 1
    assert json.loads(forged.stdout)["ok"] is False


def test_what_is_live_now_was_live_today(live: Live) -> None:
    now = datetime.now(UTC).isoformat()

    page = live.shell.within("history", "--at", now).stdout
    found = json.loads(live.shell.within("history", "current_model", "--at", now, "--json").stdout)

    assert "test-mlp 1.0.0" in page
    assert [piece["share"] for piece in found["deployments"]["current_model"]] == [1.0]


@pytest.mark.parametrize("words", [("--backup", "x", "--to", "1"), (), ("--backup", "x", "--name", "current_model")])
def test_a_rollback_goes_to_one_place(live: Live, words: tuple[str, ...]) -> None:
    refused(live.shell.within("rollback", "model", "--reason", "why", *words), 2)


def test_a_dry_run_of_a_rollback_to_a_version_changes_nothing(live: Live) -> None:
    words = ("rollback", "model", "--to", "1.0.0", "--name", "current_model", "--reason", "why", "--dry-run")

    done = live.shell.within(*words)

    assert done.returncode == 0, done.stderr
    assert "dry run: nothing has changed" in done.stdout
    assert "from the store" in done.stdout


def test_the_same_package_and_config_again_change_nothing(live: Live) -> None:
    before = live.shell.status()["deployments"][0]["active"]

    result = live.shell.json("deploy", "model", "--input", "model.hyperion", "--config", "deployment.json")

    assert result["unchanged"] is True
    assert live.shell.status()["deployments"][0]["active"] == before


def test_a_dry_run_prints_the_checklist_and_the_plan_and_changes_nothing(live: Live, tmp_path: Path) -> None:
    source = write_model_dir(tmp_path / "next", seed=8, version="1.4.0")
    live.shell.made("package", "model", "--input", source, "--output", tmp_path / "next.hyperion")
    words = ("--input", tmp_path / "next.hyperion", "--config", "deployment.json", "--dry-run")

    page = live.shell.ok("deploy", "model", *words)

    assert "plan" in page
    assert "dry run: nothing has changed" in page
    assert "manual" in page
    assert infer(live.url)["model_version"] == "1.0.0"


def test_history_shows_revisions_and_a_whole_ledger(live: Live) -> None:
    page = live.shell.ok("history", "current_model")
    found = json.loads(live.shell.made("history", "current_model", "--json"))

    assert "rollout.promoted" in page
    assert "ledger: whole" in page
    assert found["revisions"][0]["state"] == "active"
    assert found["first_broken"] is None


def test_logs_are_json_lines_with_json_and_text_without(live: Live) -> None:
    fail_once(live)

    text = live.shell.ok("logs", "current_model")
    lines = live.shell("logs", "current_model", "--json").stdout.splitlines()

    assert text
    assert lines
    assert all(isinstance(json.loads(entry), dict) for entry in lines)


def test_logs_follow_until_ctrl_c(live: Live) -> None:
    fail_once(live)
    process = live.shell.start("logs", "current_model", "--follow")
    assert process.stdout is not None
    first = process.stdout.readline()

    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)

    assert first
    assert process.returncode == 0, err
    assert "Traceback" not in err


# --- bad input: the old revision goes on serving -----------------------------------------------------------------


def test_a_port_in_use_denies_and_is_named(live: Live, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = int(taken.getsockname()[1])
        config = write_config(tmp_path / "deployment.json", name="elsewhere", port=port)

        done = live.shell.within("deploy", "model", "--input", "model.hyperion", "--config", config)

    assert str(port) in refused(done, 1) + done.stdout
    assert infer(live.url)["model_version"] == "1.0.0"


def test_all_wrong_keys_of_deployment_json_are_named_with_their_paths(live: Live, tmp_path: Path) -> None:
    config = tmp_path / "deployment.json"
    config.write_text('{"serve": {"port": "8080", "hots": "x"}, "workers": 0, "colour": "red"}')

    done = live.shell.within("deploy", "model", "--input", "model.hyperion", "--config", config, "--json")

    problems = json.loads(done.stdout)["error"]["problems"]
    refused(done, 2)
    assert {problem["path"] for problem in problems} == {"serve.port", "serve.hots", "workers", "colour"}


@pytest.mark.parametrize("text", ["", "{", '{"workers": 1, "workers": 2}', '{"workers": NaN}', "[]", "[" * 100_000])
def test_a_deployment_json_that_is_no_document_is_refused(live: Live, tmp_path: Path, text: str) -> None:
    config = tmp_path / "deployment.json"
    config.write_text(text)

    said = refused(live.shell.within("deploy", "model", "--input", "model.hyperion", "--config", config), 2)

    assert str(config) in said


def test_a_host_beyond_loopback_needs_insecure(live: Live, tmp_path: Path) -> None:
    config = tmp_path / "deployment.json"
    config.write_text('{"name": "open", "serve": {"host": "0.0.0.0", "port": 0}}')

    said = refused(live.shell.within("deploy", "model", "--input", "model.hyperion", "--config", config), 2)

    assert "--insecure" in said


@pytest.mark.parametrize(
    ("place", "code", "word"),
    [(4096, 1, "denied by integrity.digests"), (-1, 3, "code: package.")],
    ids=["an entry that is not what the manifest says", "a file that is no container"],
)
def test_a_broken_package_is_not_deployed(live: Live, tmp_path: Path, place: int, code: int, word: str) -> None:
    broken = tmp_path / "broken.hyperion"
    raw = bytearray((live.folder / "model.hyperion").read_bytes())
    raw[place] ^= 1  # payloads begin at multiples of 4096
    broken.write_bytes(raw)

    done = live.shell.within("deploy", "model", "--input", broken, "--config", "deployment.json")

    refused(done, code)
    assert word in done.stdout + done.stderr
    assert infer(live.url)["model_version"] == "1.0.0"


def test_a_foreign_backup_folder_is_not_touched(live: Live, tmp_path: Path) -> None:
    foreign = tmp_path / "backup" / "current_model"
    foreign.mkdir(parents=True)
    (foreign / "mine.txt").write_text("mine")

    refused(live.shell.within("backup", "model", "--name", "current_model", "--output", tmp_path / "backup"), 6)

    assert [path.name for path in foreign.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    "words",
    [
        ("backup", "model", "--name", "absent", "--output", "backup-absent"),
        ("history", "absent"),
        ("logs", "absent"),
        ("stop", "absent"),
        ("deploy", "model", "--input", "absent"),
        ("deploy", "model", "--input", "model.hyperion", "--config", "absent"),
        ("rollback", "model", "--backup", "absent", "--reason", "x"),
        ("rollback", "model", "--to", "1", "--name", "absent", "--reason", "x"),
        ("log", "verify", "--against", "absent"),
        ("log", "rollback", "--backup", "absent", "--reason", "x"),
        ("verify", "deployment", "--model", "absent"),
        ("monitor", "performance", "--model", "absent", "--count", "1"),
    ],
    ids=" ".join,
)
def test_what_does_not_exist_ends_with_5(live: Live, words: tuple[str, ...]) -> None:
    assert "absent" in refused(live.shell.within(*words), 5)


def test_a_rollback_without_a_reason_is_wrong_usage(live: Live) -> None:
    assert "--reason" in refused(live.shell.within("rollback", "model", "--backup", "backup/current_model"), 2)
    assert "reason" in refused(live.shell.within("rollback", "model", "--backup", "x", "--reason", "  "), 2)
