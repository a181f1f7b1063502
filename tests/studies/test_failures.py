"""What a run must survive: a full disk, a damaged file, a key that must not be seen."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import pytest
import yaml

from divcon.core.errors import ConfigError
from divcon.lm import Message, Model, Request, Sampling, Scripted, Store

from ..fakes.upstream import misbehaving

KEY = "sk-sentinel+/0123456789abcdef"


def study(folder: Path, url: str) -> Path:
    """A study whose LLM is a server; everything but training can be run."""
    for name in ("train", "test"):
        rows = "\n".join(f'{{"id": "{name}{i}", "question": "{name} {i}?", "answer": "7"}}' for i in range(4))
        (folder / f"{name}.jsonl").write_text(rows, encoding="utf-8")
    config = {
        "train": {"source": "jsonl", "path": str(folder / "train.jsonl")},
        "tests": {"mine": {"source": "jsonl", "path": str(folder / "test.jsonl")}},
        "llm": {"engine": "openai", "model": "m", "base_url": url, "api_key_env": "SENTINEL_KEY", "attempts": 3},
        "student": {"engine": "transformers", "path": "miniature/base"},
        "grid": {"decomposers": ["none", "llm"], "solvers": ["llm"], "samples": 2},
    }
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return path


def divcon(*words: object, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "divcon", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | environment)


@pytest.mark.long
def test_a_key_is_seen_nowhere(tmp_path: Path) -> None:
    """Not in the run directory, not on the screen; neither as it is, nor URL-encoded, nor in base64."""
    with misbehaving() as server:
        config, run = study(tmp_path, server.url), tmp_path / "run"
        said = [
            divcon(*command, SENTINEL_KEY=KEY)
            for command in (
                ["collect", config, "--run", run],
                ["eval", config, "--run", run],
                ["report", run],
                ["status", run],
                ["cost", run],
                ["collect", config, "--set", f"llm.base_url=http://me:{KEY}@127.0.0.1:9/v1"],
                ["collect", config, "--set", f"llm.api_key={KEY}"],
                ["collect", config, "--set", f"llm.api_key_env={KEY}"],
            )
        ]
    assert [outcome.returncode for outcome in said[-3:]] == [2, 2, 2]
    written = [path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()]
    shown = [f"{outcome.stdout}{outcome.stderr}".encode() for outcome in said]
    for form in (KEY, quote(KEY, safe=""), base64.b64encode(KEY.encode()).decode()):
        assert not [text for text in (*written, *shown) if form.encode() in text]
    assert written and b"Traceback" not in b"".join(shown)


FULL = """
import resource, signal, sys
from pathlib import Path
from divcon.lm import Message, Model, Request, Sampling, Scripted, Store
from divcon.core.errors import ConfigError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
requests = [Request((Message("user", f"{i}" * 400),), Sampling(temperature=0.7), n=2) for i in range(400)]
with Store(Path(sys.argv[1])) as store:
    if sys.argv[2:]:
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
    try:
        Model("m", Scripted(answer=lambda messages, i: "so " * 200), store)(requests)
    except ConfigError as error:
        sys.exit(f"divcon: {error}")
"""


def test_a_full_disk_is_one_sentence_and_the_run_goes_on_when_there_is_room(tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk: the same error, from the same place."""
    path = tmp_path / "store.sqlite"
    command = [sys.executable, "-c", FULL, str(path)]
    full = subprocess.run([*command, str(600_000)], capture_output=True, text=True)
    assert full.returncode == 1 and full.stderr.count("\n") == 1, full.stderr
    assert "cannot write to the store" in full.stderr and "what it holds is kept" in full.stderr
    with Store(path) as store:
        store.verify()
        kept = len(store)
    assert 0 < kept < 800
    assert subprocess.run(command, capture_output=True).returncode == 0
    with Store(path) as store:
        store.verify()
        assert len(store) == 800


def filled(path: Path) -> None:
    asked = [Request((Message("user", f"{i}" * 300),), Sampling(temperature=0.7)) for i in range(60)]
    with Store(path) as store:
        Model("m", Scripted(answer=lambda messages, i: "so " * 200), store)(asked)
        store.verify()


@pytest.mark.parametrize("damage", ["torn", "flipped", "nothing left"])
def test_a_damaged_store_is_named_before_anything_is_bought(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "store.sqlite"
    filled(path)
    whole = path.read_bytes()
    middle = len(whole) // 2
    path.write_bytes(
        {
            "torn": whole[: middle + 77],
            "flipped": whole[:4096] + bytes(b ^ 0xFF for b in whole[4096 : 4096 + 9000]) + whole[4096 + 9000 :],
            "nothing left": b"x" * 100,
        }[damage]
    )
    with pytest.raises(ConfigError, match=r"(is damaged|cannot open the store)"), Store(path) as store:
        store.verify()
