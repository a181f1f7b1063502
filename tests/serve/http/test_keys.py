"""Keys in a file: who holds one gets in, who has read the file does not."""

from __future__ import annotations

import json
import logging
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from divcon import commands
from divcon.cli import main
from divcon.core.errors import ConfigError
from divcon.serve.http import keys
from divcon.serve.http.keys import Caller, Keys, bearer

ALICE = Caller("alice", 60, 2.5)
BOB = Caller("bob", None, None)


class Clock:
    """A time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


def permissions(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_key_opens_with_its_name_and_limits_and_no_other_key_does(path: Path) -> None:
    hers, his = keys.add(path, ALICE), keys.add(path, BOB)
    found = Keys.read(path)
    assert (found.caller(hers), found.caller(his)) == (ALICE, BOB)
    for wrong in (None, "", hers[:-1], hers + "x", hers.upper(), f" {hers}", "alice", "schlüssel", "\udc80"):
        assert found.caller(wrong) is None


def test_the_file_lets_nobody_in(path: Path) -> None:
    key = keys.add(path, ALICE)
    text = path.read_text(encoding="utf-8")
    assert key not in text and key.removeprefix("dc-") not in text
    assert Keys.read(path).caller(sha256(key.encode()).hexdigest()) is None
    assert key not in str(Keys.read(path)) and "sha256" not in str(Keys.read(path))


def test_every_key_is_another_and_says_what_it_is(path: Path) -> None:
    made = {keys.add(path, Caller(f"k{i}", None, None)) for i in range(20)}
    assert len(made) == 20 and all(key.startswith("dc-") and len(key) == 46 for key in made)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_the_file_is_its_owners_alone_from_its_first_moment(
    path: Path, umask: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    replace = Path.replace

    def replaced(part: Path, to: Path) -> Path:
        seen.append(permissions(part))
        return replace(part, to)

    monkeypatch.setattr(Path, "replace", replaced)
    before = os.umask(umask)
    try:
        keys.add(path, ALICE)
        keys.add(path, BOB)
        keys.remove(path, "alice")
    finally:
        os.umask(before)
    assert seen == [0o600] * 3 and permissions(path) == 0o600
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_change_that_fails_leaves_the_file_as_it_was(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys.add(path, ALICE)
    before = path.read_bytes()

    def full(part: Path, to: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(ConfigError, match="No space left"):
        keys.add(path, BOB)
    assert path.read_bytes() == before and list(path.parent.iterdir()) == [path]


def test_a_link_stays_a_link(path: Path, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    path.symlink_to(tmp_path / "real" / "keys.json")
    key = keys.add(path, ALICE)
    assert path.is_symlink() and Keys.read(path).caller(key) == ALICE


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may change another's file")
def test_root_leaves_the_file_to_the_one_who_serves(path: Path) -> None:
    keys.add(path, ALICE)
    os.chown(path, 65534, 65534)
    keys.add(path, BOB)
    assert (path.stat().st_uid, permissions(path)) == (65534, 0o600)


def test_of_changes_at_once_none_is_lost(path: Path) -> None:
    names = [f"k{i}" for i in range(24)]
    keys.add(path, ALICE)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: keys.add(path, Caller(name, None, None)), names))
        list(pool.map(lambda name: keys.remove(path, name), names[::2]))
    assert {caller.name for caller in Keys.read(path).callers} == {"alice", *names[1::2]}


def test_a_name_is_given_once(path: Path) -> None:
    keys.add(path, ALICE)
    with pytest.raises(ConfigError, match=r"has a key 'alice'; remove that one first"):
        keys.add(path, ALICE)


@pytest.mark.parametrize("name", ["", "a b", "a/b", "ä", "a\n", "a" * 65, '"', "a:b"])
def test_a_name_is_letters_digits_dots_hyphens_and_underscores(path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="letters, digits, dots, hyphens and underscores"):
        keys.add(path, Caller(name, None, None))
    assert not path.exists()


@pytest.mark.parametrize("limit", [0.0, -1.0, float("nan"), float("inf")])
def test_a_limit_is_a_number_above_nothing(path: Path, limit: float) -> None:
    for caller in (Caller("a", limit, None), Caller("a", None, limit)):
        with pytest.raises(ConfigError, match="the limits of a"):
            keys.add(path, caller)


def test_the_key_that_is_removed_must_be_there(path: Path) -> None:
    keys.add(path, ALICE)
    with pytest.raises(ConfigError, match=r"has no key 'alcie'; it has alice"):
        keys.remove(path, "alcie")
    keys.remove(path, "alice")
    assert Keys.read(path).callers == ()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o610, 0o601, 0o620, 0o602, 0o644, 0o777])
def test_a_file_that_others_may_touch_is_refused_with_the_remedy(path: Path, mode: int) -> None:
    keys.add(path, ALICE)
    path.chmod(mode)
    for attempt in (lambda: Keys.read(path), lambda: keys.add(path, BOB), lambda: keys.remove(path, "alice")):
        with pytest.raises(ConfigError, match=f"chmod 600 {path}"):
            attempt()


def entry(**more: object) -> dict[str, object]:
    return {"name": "a", "sha256": "0" * 64} | more


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is not JSON"),
        ('{"keys": [', "is not JSON"),
        ("\xff", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("[]", "holds no settings"),
        ("{}", "keys: it is missing"),
        (json.dumps({"keys": [entry(sha256="dc-secret")]}), "keys.0.sha256: String should match"),
        (json.dumps({"keys": [entry(sha256="A" * 64)]}), "keys.0.sha256: String should match"),
        (json.dumps({"keys": [entry(name="a b")]}), "keys.0.name: String should match"),
        (json.dumps({"keys": [entry(requests_per_minute=0)]}), "keys.0.requests_per_minute: 0 must be greater"),
        (json.dumps({"keys": [entry(dollars_per_day=float("nan"))]}), "keys.0.dollars_per_day"),
        (json.dumps({"keys": [entry(dollar_per_day=1)]}), "unknown key 'dollar_per_day'"),
        (json.dumps({"keys": [entry(), entry(sha256="1" * 64)]}), "two keys have the name 'a'"),
    ],
)
def test_a_malformed_file_is_refused_without_repeating_what_it_holds(path: Path, text: str, said: str) -> None:
    path.write_bytes(text.encode("latin-1"))
    path.chmod(0o600)
    with pytest.raises(ConfigError) as caught:
        Keys.read(path)
    assert said in str(caught.value) and "dc-secret" not in str(caught.value)


def test_a_missing_file_and_one_that_is_none_are_refused(path: Path) -> None:
    os.mkfifo(path.with_name("pipe"))
    for none in (path, path.parent, path.with_name("pipe")):
        with pytest.raises(ConfigError, match="divcon keys add"):
            Keys.read(none)
    with pytest.raises(ConfigError, match="cannot write to"):
        keys.add(path / "below" / "nothing", ALICE)


def test_a_removed_key_is_out_within_a_second_and_a_new_one_in(path: Path) -> None:
    clock = Clock()
    hers = keys.add(path, ALICE)
    found = Keys.read(path, clock)
    keys.remove(path, "alice")
    his = keys.add(path, BOB)
    clock.now = 0.9
    assert (found.caller(hers), found.caller(his)) == (ALICE, None)
    clock.now = 1.0
    assert (found.caller(hers), found.caller(his)) == (None, BOB)


def test_a_file_that_did_not_change_is_not_read_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    hers = keys.add(path, ALICE)
    found = Keys.read(path, clock)
    monkeypatch.setattr(json, "loads", lambda text: pytest.fail("read again"))
    for clock.now in range(5):
        assert found.caller(hers) == ALICE


def test_a_file_that_has_become_bad_keeps_the_old_keys_and_is_logged_once(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    hers = keys.add(path, ALICE)
    found = Keys.read(path, clock)
    good = path.read_bytes()
    with caplog.at_level(logging.WARNING):
        for spoil in (lambda: path.write_bytes(good[:40]), path.unlink, lambda: path.write_bytes(good)):
            spoil()  # cut short; gone; and whole again, but readable for others
            for _ in range(3):
                clock.now += 1
                assert found.caller(hers) == ALICE
    assert all(line.startswith("the keys of before stay in force: ") for line in caplog.messages)
    cut, gone, readable = caplog.messages
    assert "not JSON" in cut and "no key file" in gone and "chmod 600" in readable
    path.chmod(0o600)
    keys.remove(path, "alice")
    clock.now += 1
    assert found.caller(hers) is None


def test_a_file_that_could_not_be_read_for_a_moment_is_read_later(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    hers = keys.add(path, ALICE)
    found = Keys.read(path, clock)
    keys.remove(path, "alice")

    def exhausted(*_: object) -> None:
        raise OSError(24, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", exhausted)
        clock.now = 1
        assert found.caller(hers) == ALICE
    clock.now = 2  # the file itself is as it was
    assert found.caller(hers) is None


@pytest.mark.parametrize("header", ["Bearer dc-x", "bearer dc-x", "BEARER   dc-x", "Bearer dc-x "])
def test_the_scheme_may_be_spelt_anyhow(header: str) -> None:
    assert bearer(header) == "dc-x"


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Basic dc-x", "dc-x", "Bearer a b", "Bearerdc-x"])
def test_another_header_holds_no_key(header: str | None) -> None:
    assert bearer(header) is None


@given(st.text(max_size=40))
def test_no_header_is_too_odd(header: str) -> None:
    found = bearer(header)
    assert found is None or (found in header and not any(map(str.isspace, found)))


def run(*words: str) -> str:
    outcome = CliRunner().invoke(main, ["keys", *words])
    assert outcome.exit_code == 0, outcome.output
    return outcome.stdout


def test_the_command_prints_a_key_once(path: Path) -> None:
    key = run("add", str(path), "alice", "--requests-per-minute", "60", "--dollars-per-day", "2.5").removesuffix("\n")
    assert Keys.read(path).caller(key) == ALICE
    run("add", str(path), "bob")
    assert run("list", str(path)) == "alice: 60 requests a minute, $2.5 a day\nbob: no limits\n"
    assert run("remove", str(path), "bob") == "alice: 60 requests a minute, $2.5 a day\n"
    assert run("remove", str(path), "alice") == "no keys\n"


def test_a_refusal_is_one_sentence(path: Path) -> None:
    outcome = CliRunner().invoke(main, ["keys", "list", str(path)])
    assert outcome.exit_code == 2 and outcome.stderr.startswith("divcon: no key file")


def test_the_commands_are_calls(path: Path) -> None:
    key = commands.add_key(path, "alice", requests_per_minute=60, dollars_per_day=2.5)
    assert commands.list_keys(path).caller(key) == ALICE
    assert commands.remove_key(path, "alice").callers == ()
