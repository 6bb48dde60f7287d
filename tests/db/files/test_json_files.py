"""JSON that others may have written is read within bounds or refused in one line, whatever is in the file's place."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from db.cutover.journal import JOURNAL, Journal
from db.errors import Refusal
from db.files.json_files import MOST_BYTES, MOST_DEPTH, MOST_VALUES, load_json, read_json
from db.ops import checkout
from harness.gate.estimate import BUILT_IN, Estimate
from tests.fixtures.hostile_json import HOSTILE, NAMES, refusal_of

KINDS = TypeAdapter(dict[str, int])


def written(folder: Path, data: bytes | str) -> Path:
    path = folder / "some.json"
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


def refused(path: Path) -> str:
    with pytest.raises(Refusal) as caught:
        read_json(path, "some JSON", do="Write it anew.")
    assert caught.value.do == "Write it anew."
    assert "\n" not in caught.value.found
    return caught.value.found


@pytest.mark.parametrize("text", ["{}", "[]", "1", "-1.5", '"푸른 바람"', "null", '{"a": {"b": [1, 2]}}', " 1 \n"])
def test_json_within_the_bounds_is_read(tmp_path: Path, text: str) -> None:
    assert read_json(written(tmp_path, text), "some JSON", do="") == json.loads(text)


@pytest.mark.parametrize(
    ("data", "found"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("\ufeff{}", "not JSON"),
        (b"\xff\xfe{\x00}\x00", "not JSON"),
        (b'"\xed\xa0\x80"', "not JSON"),
        (b'{"a": "\xff"}', "not JSON"),
        ("[" * 100_000 + "]" * 100_000, f"more than {MOST_DEPTH} levels"),
        ('{"a":' * 100_000 + "1" + "}" * 100_000, f"more than {MOST_DEPTH} levels"),
        ("[" * (MOST_DEPTH + 1) + "]" * (MOST_DEPTH + 1), f"more than {MOST_DEPTH} levels"),
        ("[" + "1," * MOST_VALUES + "1]", f"more than {MOST_VALUES:,} values"),
        ("NaN", "NaN"),
        ("[Infinity]", "Infinity"),
        ("-Infinity", "-Infinity"),
        ("1e999", "beyond all bounds"),
        ("9" * 19, "beyond 64 bits"),
        ("9" * 100_000, "beyond 64 bits"),
        ("-9223372036854775808", "beyond 64 bits"),
        ('{"a": 1, "a": 2}', "the key a stands twice"),
        (r'{"\u001b[2J\n": 1, "\u001b[2J\n": 2}', r"the key \x1b[2J\n stands twice"),
        (r'"\ud800"', "half a character"),
        (r'[{"\udfff": 1}]', "half a character"),
    ],
    ids=lambda value: ascii(value[:20]),
)
def test_what_two_readers_could_read_otherwise_or_costs_too_much_is_refused(
    tmp_path: Path, data: bytes | str, found: str
) -> None:
    assert found in refused(written(tmp_path, data))


def a_link_in_a_circle(path: Path) -> None:
    path.symlink_to(path)


PLACES: dict[str, tuple[Callable[[Path], object], str]] = {
    "nothing": (lambda path: None, "no such file"),
    "a folder": (Path.mkdir, "a folder"),
    "a pipe": (os.mkfifo, "a pipe"),
    "a device": (lambda path: path.symlink_to("/dev/zero"), "a device"),
    "a link in a circle": (a_link_in_a_circle, "links that lead in a circle"),
    "a gigabyte": (lambda path: (path.touch(), os.truncate(path, 1 << 30)), f"more than {MOST_BYTES:,} bytes"),
}


@pytest.mark.parametrize("place", PLACES)
def test_another_thing_in_the_file_s_place_is_refused_without_waiting(tmp_path: Path, place: str) -> None:
    path = tmp_path / "some.json"
    make, result = PLACES[place]
    make(path)
    assert refused(path) == result


def test_a_link_is_followed_only_where_that_is_asked_for(tmp_path: Path) -> None:
    link = tmp_path / "link.json"
    link.symlink_to(written(tmp_path, "1"))
    assert read_json(link, "some JSON", do="") == 1
    with pytest.raises(Refusal, match="found a link"):
        read_json(link, "some JSON", do="", follow=False)


@pytest.mark.parametrize("text", HOSTILE, ids=NAMES)
def test_a_kind_that_does_not_fit_is_named_without_its_value(tmp_path: Path, text: str) -> None:
    path = written(tmp_path, '{"count": ' + text + "}")
    error = refusal_of(lambda: load_json(path, KINDS, "counts", do=""))
    assert error is None or ("\n" not in error.found and len(error.found) < 200)


@pytest.mark.parametrize("text", HOSTILE, ids=NAMES)
def test_every_file_of_ours_is_read_so(tmp_path: Path, text: str) -> None:
    place = tmp_path / "var" / "checkout.json"
    place.parent.mkdir()
    place.write_text('{"id": "1", "host": "here", "folder": ' + text + "}")
    journal = Journal(tmp_path / "run")
    journal.write("run", verb="cutover")
    with (journal.folder / JOURNAL).open("a") as file:
        file.write(text + '\n{"at": 1, "event": "end", "step": ' + text + "}\n")
    seconds = tmp_path / "seconds.json"
    seconds.write_text('{"suite": ' + text + "}")

    error = refusal_of(lambda: checkout.current(tmp_path))
    assert error is None or error.do == f"rm {place}"
    assert next(journal.entries()).event == "run"
    assert all(entry.event in ("run", "end") for entry in journal.entries())
    assert Estimate(seconds).line(next(iter(BUILT_IN)), "something")


def test_the_worst_that_is_read_keeps_within_memory(tmp_path: Path) -> None:
    worst = written(tmp_path, "[" + ",".join(["{}"] * (MOST_VALUES // 2 - 1)) + ', "' + "\U0001f600" * 6_000_000 + '"]')
    program = (
        "import resource, sys; from pathlib import Path; from db.files.json_files import read_json\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "read_json(Path(sys.argv[1]), 'some JSON', do='')\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    ended = subprocess.run([sys.executable, "-c", program, str(worst)], capture_output=True, text=True, check=True)
    per_unit = 1024 if sys.platform == "linux" else 1
    assert int(ended.stdout) * per_unit < 400 * 1024 * 1024
