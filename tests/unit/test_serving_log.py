"""Reading what workers wrote."""

from __future__ import annotations

from pathlib import Path

import pytest

from hyperion.adapters.service.serving_log import JsonLinesLog
from hyperion.errors import ConfigError


def write(folder: Path, name: str, text: str) -> None:
    (folder / "shop").mkdir(exist_ok=True)
    with (folder / "shop" / name).open("a") as stream:
        stream.write(text)


def test_lines_of_all_revisions_come_in_the_order_of_time(tmp_path: Path) -> None:
    write(tmp_path, "r2.jsonl", '{"at": "2026-01-02", "n": 2}\n')
    write(tmp_path, "r10.jsonl", '{"at": "2026-01-03", "n": 3}\n')
    write(tmp_path, "r1.jsonl", '{"at": "2026-01-01", "n": 1}\n')
    lines, _ = JsonLinesLog(tmp_path).read("shop")
    assert [line["n"] for line in lines] == [1, 2, 3]


def test_a_reader_goes_on_where_it_left_off_and_leaves_half_lines(tmp_path: Path) -> None:
    log = JsonLinesLog(tmp_path)
    write(tmp_path, "r1.jsonl", '{"n": 1}\n{"n"')
    first, cursor = log.read("shop")
    write(tmp_path, "r1.jsonl", ": 2}\n")
    write(tmp_path, "r2.jsonl", '{"n": 3}\n')
    second, cursor = log.read("shop", cursor)
    assert ([line["n"] for line in first], [line["n"] for line in second]) == ([1], [2, 3])
    assert log.read("shop", cursor)[0] == ()


def test_what_is_no_json_object_is_kept_as_a_message(tmp_path: Path) -> None:
    write(tmp_path, "r1.jsonl", "Segmentation fault\n[1]\n")
    assert JsonLinesLog(tmp_path).read("shop")[0] == ({"message": "Segmentation fault"}, {"message": "[1]"})


def test_a_truncated_file_is_read_anew(tmp_path: Path) -> None:
    log = JsonLinesLog(tmp_path)
    write(tmp_path, "r1.jsonl", '{"n": 1}\n{"n": 2}\n')
    _, cursor = log.read("shop")
    (tmp_path / "shop" / "r1.jsonl").write_text('{"n": 3}\n')
    assert log.read("shop", cursor)[0] == ({"n": 3},)


def test_a_deployment_without_logs_has_none(tmp_path: Path) -> None:
    assert JsonLinesLog(tmp_path).read("shop")[0] == ()


@pytest.mark.parametrize("cursor", ["nonsense", "[]", '{"a": "b"}'])
def test_a_foreign_cursor_is_refused(tmp_path: Path, cursor: str) -> None:
    with pytest.raises(ConfigError):
        JsonLinesLog(tmp_path).read("shop", cursor)
