"""The commands key add, list and remove as a person or a program calls them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hyperion.cli.main import run
from hyperion.domain.access import parse_token

Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYPERION_HOME", str(tmp_path / "state"))


def test_a_person_gets_the_token_on_a_line_of_its_own(capsys: Captured) -> None:
    assert run(["key", "add", "web-shop", "--deployment", "mnist"]) == 0
    first, token, last, unknown = capsys.readouterr().out.splitlines()
    assert first.endswith("of 'web-shop' opens infer of the deployment mnist")
    assert parse_token(token) is not None
    assert "not shown again" in last
    assert "no deployment 'mnist' on this host yet" in unknown


def test_a_program_gets_it_as_json_and_the_list_has_it_no_more(capsys: Captured) -> None:
    # when
    assert run(["key", "add", "ci", "--scope", "infer", "--scope", "metrics", "--json"]) == 0
    added = json.loads(capsys.readouterr().out)
    assert run(["key", "list", "--json"]) == 0
    listed = capsys.readouterr().out

    # then
    assert added["key"]["scopes"] == ["infer", "metrics"]
    assert json.loads(listed)["keys"] == [added["key"]]
    assert added["token"] not in listed
    assert "digest" not in listed


def test_people_see_what_each_key_opens(capsys: Captured) -> None:
    assert run(["key", "list"]) == 0
    assert "no keys" in capsys.readouterr().out
    run(["key", "add", "prometheus", "--scope", "metrics"])
    capsys.readouterr()
    run(["key", "list"])
    page = capsys.readouterr().out
    assert "prometheus" in page
    assert "metrics" in page
    assert "all" in page


def test_a_key_is_taken_away_once(capsys: Captured) -> None:
    run(["key", "add", "web"])
    assert run(["key", "remove", "web"]) == 0
    assert "opens nothing any more" in capsys.readouterr().out
    assert run(["key", "remove", "web"]) == 5
    assert run(["key", "add", "web"]) == 0
    assert run(["key", "add", "web"]) == 6


def test_people_see_which_keys_end_soon_or_ended(capsys: Captured, tmp_path: Path) -> None:
    # given
    run(["key", "add", "stays"])
    run(["key", "add", "soon", "--expires", "3d"])
    run(["key", "add", "gone", "--expires", "90d"])
    assert " until 2" in capsys.readouterr().out
    ring = json.loads((tmp_path / "state" / "keys.json").read_text())
    ring["keys"][2]["expires_at"] = "2020-01-01T00:00:00Z"
    (tmp_path / "state" / "keys.json").write_text(json.dumps(ring))

    # when
    run(["key", "list"])

    # then
    _, stays, soon, gone, *told = capsys.readouterr().out.splitlines()
    assert stays.endswith("never")
    assert soon.endswith("Z, soon")
    assert gone.endswith("2020-01-01 00:00:00Z, EXPIRED")
    assert [line.split(" ")[0] for line in told] == ["'soon'", "'gone'"]


def test_an_end_that_is_past_is_a_wrong_use(capsys: Captured) -> None:
    assert run(["key", "add", "web", "--expires", "2020-01-01"]) == 2
    assert "before it was made" in capsys.readouterr().err


def test_a_scope_that_is_none_is_a_wrong_use() -> None:
    assert run(["key", "add", "web", "--scope", "all"]) == 2


def test_a_name_cannot_write_to_the_terminal(capsys: Captured) -> None:
    run(["key", "add", "\x1b[31mred"])
    run(["key", "list"])
    assert "\x1b" not in capsys.readouterr().out
