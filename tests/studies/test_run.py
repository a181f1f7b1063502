"""A whole study, small: every stage with the shipped models, interrupted, resumed, rebuilt."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

import divcon
from divcon import commands
from divcon.cli import main
from divcon.core.errors import ConfigError
from divcon.eval.config import load
from divcon.eval.grid import results
from divcon.eval.grid.rows import ResultRow
from divcon.eval.run_dir import RunDirectory
from divcon.studies.opening import open_study

from ..fakes.read_only import read_only

pytestmark = pytest.mark.model

SMALL = [
    "distill.decomposer.max_train_tokens=4000",
    "distill.decomposer.data=all",
    "distill.solver.max_train_tokens=4000",
    "distill.single.max_train_tokens=4000",
    "distill.solver.data=all",
    "distill.decomposer.checkpoints=8",
    "distill.solver.checkpoints=8",
    "grid.samples=2",
    "llm.concurrency=8",
    "student.concurrency=8",
]
LIMIT = 6


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("runs") / "small"
    divcon.study("miniature", overrides=SMALL, limit=LIMIT, run=directory)
    return directory


def numbers(run: Path) -> list[ResultRow]:
    """The results without the seconds, which no two runs share."""
    return [row.drop_timings() for row in results.read(run / "results.parquet")]


def without_seconds(run: Path) -> list[list[str]]:
    """Every line of the tables, but for what the clock says."""
    kept: list[list[str]] = []
    header: list[str] = []
    for line in (run / "report" / "table.md").read_text(encoding="utf-8").splitlines():
        cells = line.strip("| ").split(" | ")
        header = header if header and line else cells
        if cells is header or "seconds" not in cells:
            kept.append([cell for name, cell in zip(header, cells, strict=False) if "seconds" not in name])
    return kept


def test_a_run_leaves_everything_the_design_names(run: Path) -> None:
    for name in (
        "config.yaml",
        "store.sqlite",
        "traces/traces.jsonl",
        "data.json",
        "devices.json",
        "provenance.json",
        "requests.json",
        "results.parquet",
        "log.jsonl",
    ):
        assert (run / name).stat().st_size > 0
    for name in ("decomposer", "solver"):
        made = {path.name for path in (run / name).iterdir()}
        assert {"adapter_model.safetensors", "adapter_config.json", "tokenizer.json", "divcon.json"} <= made
        assert not [path for path in made if path.endswith((".bin", ".pt", ".pth"))]
    names = ("accuracy_cost", "break_even", "by_test", "heat_map", "slopes", "votes", "training")
    kinds = ("pdf", "svg", "png", "csv")
    drawn = {f"{name}.{kind}" for name in names for kind in kinds}
    drawn |= {f"table.{kind}" for kind in ("md", "tex", "csv", "parquet")}
    assert {path.name for path in (run / "report").iterdir()} == {"index.html", *drawn}
    assert not (run / "checkpoints" / "decomposer").exists()


def test_every_cell_answers_every_question_of_every_split(run: Path) -> None:
    rows = numbers(run)
    cells = {row.cell.names for row in rows}
    assert len(cells) == 3 * 2 * 2 and len({row.test for row in rows}) == 4
    assert len(rows) == len(cells) * 4 * LIMIT
    assert all((row.solve.flops or 0) > 0 and row.solve.dollars is None for row in rows)
    assert {row.decompose.flops for row in rows if row.cell.names[0] == "none"} == {0.0}


def test_the_report_names_the_data_it_stands_on(run: Path) -> None:
    data = json.loads((run / "data.json").read_text(encoding="utf-8"))
    assert len(data) == 5 and all(len(entry["sha256"]) == 64 for entry in data.values())
    assert data["train"]["questions"] == LIMIT
    assert data["train"]["sha256"] in (run / "report" / "index.html").read_text(encoding="utf-8")


def test_the_report_names_what_the_results_were_made_with(run: Path) -> None:
    told = json.loads((run / "provenance.json").read_text(encoding="utf-8"))
    assert told["packages"]["torch"] and told["models"]["llm"]["host"] == "local" and told["prices"]["llm"] is None
    text = (run / "report" / "index.html").read_text(encoding="utf-8")
    assert set(told["prompts"]) == {"miniature/decompose", "miniature/solve", "miniature/cot"}
    assert all(digest in text for digest in told["prompts"].values()) and told["packages"]["trl"] in text


def test_overlap_is_told_for_what_each_student_has_learned_from(run: Path) -> None:
    rows = numbers(run)
    assert {row.overlap_decomposer for row in rows} <= {"normalised", "13-gram", "none"}
    table = (run / "report" / "table.md").read_text(encoding="utf-8")
    assert "| known facts, known structure | decomposer | 6 |" in table
    assert "| known facts, known structure | solver | 6 |" in table


def test_every_cell_reports_its_four_verdicts(run: Path) -> None:
    rows = numbers(run)
    assert {row.verdict for row in rows} <= {"right", "wrong", "unreadable", "timed out"}
    page = (run / "report" / "index.html").read_text(encoding="utf-8")
    assert "timed out" in page and "Strict beside lenient" not in page


def test_cells_share_decompositions(run: Path) -> None:
    made: dict[tuple[str, str], set[str]] = {}
    for row in numbers(run):
        made.setdefault((row.cell.names[0], row.id), set()).add(row.decomposition)
    assert {len(texts) for texts in made.values()} == {1}


def test_the_page_needs_no_network(run: Path) -> None:
    page = (run / "report" / "index.html").read_text(encoding="utf-8")
    assert "<svg" in page and "default-src 'none'" in page
    assert not [link for link in ("src=", "href='http", 'href="http', "@import", "url(http") if link in page]


def test_the_card_says_how_the_student_was_made(run: Path) -> None:
    card = (run / "solver" / "README.md").read_text(encoding="utf-8")
    for fact in ("miniature/base", "miniature/solve", "prompt tokens", "PeftModel.from_pretrained", "seed 0"):
        assert fact in card


def test_the_same_command_again_reuses_everything(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def touched(*_: object) -> None:
        raise AssertionError("a model was loaded")

    before = numbers(run)
    for name in ("engines.transformers.load_model", "local.model_dir.load_tokenizer"):
        monkeypatch.setattr(f"divcon.lm.{name}", touched)
    RunDirectory(run).evaluated.unlink()  # otherwise nothing is done at all
    divcon.study("miniature", overrides=SMALL, limit=LIMIT, run=run)
    assert numbers(run) == before


def test_a_finished_study_writes_nothing_and_loads_neither_models_nor_figures(run: Path, tmp_path: Path) -> None:
    divcon.study("miniature", overrides=SMALL, limit=LIMIT, run=run)
    copy = shutil.copytree(run, tmp_path / run.name)
    before = written(copy)
    code = (
        "import sys, divcon\n"
        "from pathlib import Path\n"
        f"divcon.study('miniature', overrides={SMALL!r}, limit={LIMIT}, run=Path({str(copy)!r}))\n"
        "heavy = {'torch', 'transformers', 'peft', 'trl', 'datasets', 'matplotlib', 'openai', 'sympy', 'scipy'}\n"
        "sys.exit(', '.join(heavy & sys.modules.keys()) or 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert written(copy) == before and any(name.startswith("report/") for name in before)


def written(run: Path) -> dict[str, tuple[int, bytes]]:
    """Every file of a run but its lock and its log: when it was written, and what it holds."""
    files = [path for path in run.rglob("*") if path.is_file() and path.name not in (".lock", "log.jsonl")]
    return {str(path.relative_to(run)): (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


def lose_a_question(run: Path) -> None:
    rows = results.read(run / "results.parquet")
    results.save(rows[:-1], run / "results.parquet")


LOST: dict[str, Callable[[Path], object]] = {
    "results": lambda run: (run / "results.parquet").unlink(),
    "other results": lose_a_question,
    "data.json": lambda run: (run / "data.json").unlink(),
    "the record is a list": lambda run: RunDirectory(run).evaluated.write_text("[]", encoding="utf-8"),
}


@pytest.mark.parametrize("loss", LOST)
def test_what_is_lost_of_a_finished_study_is_made_again(run: Path, tmp_path: Path, loss: str) -> None:
    copy = shutil.copytree(run, tmp_path / run.name)
    LOST[loss](copy)
    divcon.study("miniature", overrides=SMALL, limit=LIMIT, run=copy)
    assert numbers(copy) == numbers(run) and (copy / "data.json").read_bytes() == (run / "data.json").read_bytes()


def stage_began(run: Path, stage: str) -> bool:
    log = run / "log.jsonl"
    return log.exists() and f'"stage": "{stage}' in log.read_text(encoding="utf-8")


def checkpoint_written(run: Path, role: str) -> bool:
    return any((run / "checkpoints" / role).rglob("checkpoint-*/trainer_state.json"))


@pytest.mark.long
@pytest.mark.parametrize(
    ("reached", "what"),
    [
        (stage_began, "collect"),
        (stage_began, "distil: decomposer"),
        (checkpoint_written, "decomposer"),
        (checkpoint_written, "solver"),
        (stage_began, "solve: distilled"),
    ],
)
def test_a_run_that_was_killed_ends_with_the_same_tables(
    run: Path, tmp_path: Path, reached: Callable[[Path, str], bool], what: str
) -> None:
    """kill -9 in the middle of a stage, then the same command."""
    directory = tmp_path / "killed"
    overrides = [word for override in SMALL for word in ("--set", override)]
    command = [
        sys.executable,
        "-P",
        "-m",
        "divcon",
        "study",
        "miniature",
        "--limit",
        str(LIMIT),
        "--run",
        str(directory),
    ]
    child = subprocess.Popen([*command, *overrides], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        while not reached(directory, what):
            assert child.poll() is None
            time.sleep(0.005)
        if reached is stage_began:
            time.sleep(0.4)
    finally:
        child.kill()
        child.wait()
    divcon.study("miniature", overrides=SMALL, limit=LIMIT, run=directory)
    assert numbers(directory) == numbers(run)
    assert without_seconds(directory) == without_seconds(run)


def test_settings_may_change_before_anything_follows_from_them(run: Path, tmp_path: Path) -> None:
    for overrides in ([], ["distill.solver.learning_rate=1e-5", "grid.samples=1", "collect.solutions=3"]):
        with open_study(load("miniature", [*SMALL, *overrides]).limited(LIMIT), tmp_path / "fresh"):
            pass
    with open_study(load("miniature", [*SMALL, "llm.concurrency=3"]).limited(LIMIT), run):
        pass  # how a model is run may change at any time
    with open_study(load("miniature", SMALL).limited(LIMIT), run):
        pass


def test_another_directory_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("ten years of work", encoding="utf-8")
    with pytest.raises(ConfigError, match="neither empty nor a run directory"), open_study(load("miniature"), tmp_path):
        pass


def test_a_student_of_another_base_is_not_taken_for_this_one(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("divcon.studies.students.weights_hash", lambda directory: "other")
    with pytest.raises(ConfigError, match="distilled on other base weights"):
        divcon.study("miniature", overrides=SMALL, limit=LIMIT, run=run)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("results.parquet", b"PAR1 not really"),
        ("config.yaml", b"\xff\xfe"),
        ("config.yaml", b""),
        ("traces/traces.jsonl", b'{"subquestions": "x"}\n'),
        ("traces/traces.json", b'{"format": "divcon-traces/1"}'),
        ("traces/traces.json", b"{"),
        ("decomposer/divcon.json", b"[]"),
        ("decomposer/adapter_model.safetensors", b"\x08\x00"),
    ],
)
def test_a_damaged_file_is_one_clear_sentence(run: Path, tmp_path: Path, name: str, content: bytes) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    (copy / name).write_bytes(content)
    if name.startswith("traces"):
        shutil.rmtree(copy / "solver")
    if name == "results.parquet":
        with pytest.raises(ConfigError):
            commands.report(copy)
    else:
        with pytest.raises(ConfigError):
            divcon.study("miniature", overrides=SMALL, limit=LIMIT, run=copy)


def test_a_run_does_not_go_on_under_another_config(run: Path) -> None:
    with pytest.raises(ConfigError, match=r"differs in grid\.temperature, seed"):
        divcon.study("miniature", overrides=[*SMALL, "seed=1", "grid.temperature=0.9"], limit=LIMIT, run=run)


def test_two_processes_do_not_share_a_run(run: Path) -> None:
    study = load("miniature", SMALL).limited(LIMIT)
    with open_study(study, run), pytest.raises(ConfigError, match="another divcon is at work"), open_study(study, run):
        pass


def test_asking_shows_subquestions_steps_and_answer(run: Path) -> None:
    asked = commands.ask("Mia has 4 pears. She eats 2 pears. How many pears are left?", run=run)
    for heading in ("Sub-questions", "Solution", "Answer"):
        assert heading in str(asked)


def test_stages_can_be_run_by_themselves(tmp_path: Path) -> None:
    options = [word for override in SMALL for word in ("--set", override)]
    options += ["--limit", "3", "--run", str(tmp_path / "run")]
    for command in (["collect"], ["distill", "decomposer"], ["distill", "solver"], ["eval"]):
        outcome = CliRunner().invoke(main, [*command, "miniature", *options], catch_exceptions=False)
        assert outcome.exit_code == 0, outcome.output
    assert "| distilled | distilled | sc@2 |" in outcome.output
    assert pq.read_metadata(tmp_path / "run" / "results.parquet").num_rows == 12 * 4 * 3


def test_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    outcome = CliRunner().invoke(main, ["study", "miniature", "--dry-run", "--run", str(tmp_path / "run")])
    assert outcome.exit_code == 0 and "samples in all" in outcome.output
    assert not (tmp_path / "run").exists()


def test_the_doctor_finds_the_models() -> None:
    outcome = CliRunner().invoke(main, ["doctor"])
    assert outcome.exit_code == 0 and "miniature/llm" in outcome.output


SOCRATIC = {
    "question": "Mia has 4 pears and eats 2. How many are left?",
    "answer": "How many are left? ** She has 4 - 2 = <<4-2=2>>2.\n#### 2",
}


def test_students_are_distilled_from_imported_traces_without_asking_a_teacher(tmp_path: Path) -> None:
    (tmp_path / "socratic.jsonl").write_text(json.dumps(SOCRATIC), encoding="utf-8")
    imported = tmp_path / "imported"
    assert commands.import_traces(tmp_path / "socratic.jsonl", imported).right == 1
    config = tmp_path / "study.yaml"
    config.write_text(
        f"train: {{source: traces, path: {imported}}}\n"
        "tests: {pears: {source: miniature, split: known-known, max_questions: 2}}\n"
        "llm: {engine: transformers, path: miniature/llm}\n"
        "student: {engine: transformers, path: miniature/base}\n"
        "distill: {decomposer: {epochs: 1}, solver: {epochs: 1}}\n"
        "grid: {samples: 0, decomposers: [distilled], solvers: [distilled]}\n",
        encoding="utf-8",
    )
    run = tmp_path / "run"
    divcon.study(str(config), run=run)
    card = (run / "decomposer" / "README.md").read_text(encoding="utf-8")
    assert f"traces in {imported}" in card and "cost: unknown" in card
    assert json.loads((run / "data.json").read_text(encoding="utf-8"))["train"]["questions"] == 1
    assert "collect" not in str(divcon.plan(str(config)))
    again = divcon.collect(str(config), run=run)
    assert (again.traces, again.right) == (1, 1)


def test_a_study_shows_strict_beside_lenient_where_papers_are_lenient(tmp_path: Path) -> None:
    (tmp_path / "test.jsonl").write_text(json.dumps(SOCRATIC), encoding="utf-8")
    tests = f"tests={{gsm8k: {{source: gsm8k, path: {tmp_path / 'test.jsonl'}}}}}"
    grid = ["grid.samples=0", "grid.decomposers=[none]", "grid.solvers=[llm]"]
    run = tmp_path / "run"
    commands.evaluate("miniature", overrides=[tests, *grid, "train.max_questions=2"], run=run)
    commands.report(run)
    assert "any-token" in (run / "report" / "table.md").read_text(encoding="utf-8")
    assert "Strict beside lenient" in (run / "report" / "index.html").read_text(encoding="utf-8")


def test_a_run_can_be_looked_at_while_it_works(run: Path) -> None:
    outcome = CliRunner().invoke(main, ["status", str(run)])
    assert outcome.output.startswith("nobody is at work\ncollect: teacher's traces: done, 12 of 12, ")
    with open_study(load("miniature", SMALL).limited(LIMIT), run):
        assert CliRunner().invoke(main, ["status", str(run)]).output.startswith("at work\n")
        assert commands.cost(run).spend.most == 0
    with (run / "log.jsonl").open("a", encoding="utf-8") as log:
        log.write('{"event": "progress", "sta')
    assert len(commands.status(run).stages) == len({stage["stage"] for stage in commands.status(run).stages}) > 5
    outcome = CliRunner().invoke(main, ["cost", str(run)])
    assert "spent $0.0000\nmodels of your own: " in outcome.output and "without a price" in outcome.output


def test_a_run_that_nobody_may_write_can_be_looked_at(run: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(run, tmp_path / "copy")
    commands.report(copy)
    spent = commands.cost(run)
    with read_only(copy):
        before = written(copy)
        assert commands.cost(copy) == spent and commands.status(copy).stages
        assert CliRunner().invoke(main, ["cost", str(copy)]).exit_code == 0
        outcome = CliRunner().invoke(main, ["report", str(copy)])
        assert outcome.exit_code == 2
        assert re.fullmatch(r"divcon: cannot write the report of .*: Permission denied\n", outcome.stderr)
        assert written(copy) == before


def test_a_pilot_tells_what_a_study_will_ask(run: Path, tmp_path: Path) -> None:
    """Of the same questions, a pilot's means are the study's; of ten times as many, ten times that, and a range."""
    planned = divcon.plan("miniature", overrides=SMALL, limit=LIMIT, pilot=run)
    assert planned.is_measured and "two standard errors" not in str(planned)  # nothing here has a price
    rows = results.read(run / "results.parquet")
    for by, solver in (("llm", "distilled"), ("none", "llm")):
        stage = next(stage for stage in planned.stages if stage.name == f"solve: {by} -> {solver}")
        mine = [row for row in rows if row.cell.names[:2] == (by, solver)]
        spent = sum(row.solve.completion_tokens for row in mine)
        assert stage.prompt_tokens == sum(row.solve.prompt_tokens for row in mine)
        assert 0 < stage.tokens[0] < stage.tokens[1] and sum(stage.tokens) / 2 == pytest.approx(spent, abs=1)
    larger = divcon.plan("miniature", overrides=SMALL, limit=10 * LIMIT, pilot=run)
    assert larger.stages[0].prompt_tokens == pytest.approx(10 * planned.stages[0].prompt_tokens, abs=10)
    priced = ["--set", "llm.price={prompt: 1, completion: 2}", "--dry-run", "--pilot", str(run)]
    said = CliRunner().invoke(main, ["study", "miniature", *priced])
    assert said.exit_code == 0 and "(two standard errors about what the pilot measured)" in said.output
    other = [*priced, "--set", "solve.max_tokens=9"]
    for wrong in (["--pilot", str(run)], ["--dry-run", "--pilot", str(tmp_path)], other):
        assert CliRunner().invoke(main, ["study", "miniature", *wrong]).exit_code == 2


def test_a_run_that_is_none_has_no_status_and_no_cost(tmp_path: Path) -> None:
    for command in ("status", "cost"):
        outcome = CliRunner().invoke(main, [command, str(tmp_path)])
        assert outcome.exit_code == 2 and "is not a run directory" in outcome.stderr
