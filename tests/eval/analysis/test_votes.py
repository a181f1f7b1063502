"""A study whose votes are weighed: the ranker is distilled, samples are scored once, and the report tells the rules."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

import divcon
from divcon.cli import main
from divcon.core.errors import ConfigError
from divcon.distill.ranker import model as ranker
from divcon.distill.traces import trace as traces
from divcon.eval.analysis.ranker import gains, score_lines
from divcon.eval.analysis.votes import rule_curves, rule_lines, stop_lines
from divcon.eval.config import load
from divcon.eval.grid import results
from divcon.eval.grid.rows import Results
from divcon.eval.report.report import report

pytestmark = [pytest.mark.long, pytest.mark.model]

FEATURES = "{kind: features, names: [length, frequency, log-probability]}"
SMALL = [
    "distill.decomposer.max_train_tokens=3000",
    "distill.solver.max_train_tokens=60_000",
    "distill.single.max_train_tokens=60_000",
    "distill.decomposer.data=all",
    "distill.solver.data=all",
    f"distill.ranker.backbone={FEATURES}",
    "distill.ranker.student_samples=6",
    "distill.ranker.epochs=2",
    "collect.logprobs=true",
    "grid.samples=3",
    "grid.decomposers=[none, llm]",
    "grid.votes=[sc, ws, asc, rank_1_plus_learned, rank_best, certainty_borda]",
    "grid.stops=[lead 2, confident 0.8 or fixed 2]",
]
LIMIT = 12


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("runs") / "votes"
    divcon.study("miniature-vote", overrides=SMALL, limit=LIMIT, run=directory)
    return directory


@pytest.fixture(scope="module")
def rows(run: Path) -> Results:
    return results.read(run / "results.parquet")


def test_every_rule_votes_on_the_same_samples_in_every_cell(run: Path, rows: Results) -> None:
    slope = json.loads((run / "ranker" / "held_out.json").read_text(encoding="utf-8"))["slope"]
    rules = ["sc", "ws", "asc", f"rank_1_plus_{slope:g}", "rank_best", "certainty_borda"]
    assert list(dict.fromkeys(str(row.cell.vote) for row in rows)) == ["greedy", *(f"{rule}@3" for rule in rules)]
    samples: dict[tuple[object, ...], set[tuple[str, ...]]] = {}
    for row in rows:
        if not row.cell.vote.is_greedy:
            samples.setdefault((*row.cell[:2], *row.key), set()).add(row.solutions)
    assert {len(found) for found in samples.values()} == {1}


def test_scores_and_probabilities_stand_in_the_results(rows: Results) -> None:
    sampled = [row for row in rows if not row.cell.vote.is_greedy]
    for name in ("scores", "logprobs", "certainties"):
        assert all(len(getattr(row, name)) == 3 and None not in getattr(row, name) for row in sampled)
    assert all(log is not None and log < 0 for row in sampled for log in row.logprobs)
    read = {row.cell.vote.rule or "greedy" for row in rows if row.rank.seconds}
    assert {row.rank.flops for row in rows} == {0.0}  # it reads features, not tokens
    assert {"asc", "rank_best"} <= read and not read & {"greedy", "sc", "ws", "certainty_borda"}


def test_the_ranker_learns_from_the_teacher_and_then_from_the_students_own(run: Path) -> None:
    card = (run / "ranker" / "README.md").read_text(encoding="utf-8")
    assert "then 6 of the student's own a question" in card and "divcon.distill.ranker.model.load" in card
    collected = traces.read(run / "traces" / "traces.jsonl")
    assert all(trace.logprob is not None and trace.logprob < 0 for trace in collected)


def test_the_report_tells_rules_stops_ranker_and_questions(run: Path, rows: Results) -> None:
    page = (run / "report" / "index.html").read_text(encoding="utf-8")
    for heading in ("Votes", "Stopping early", "The ranker", "Questions"):
        assert f">{heading}</h" in page
    for name in ("votes", "calibration", "gain"):
        assert (run / "report" / f"{name}.pdf").stat().st_size > 1000
    assert "confident 0.8 or fixed 2" in page and "id=index>" in page
    assert len(rule_lines(rows)) == 3 * 6
    with_pairs = [line for line in score_lines(rows) if line.score == "ranker" and line.worth.has_pairs]
    assert 0 < len(gains(rows)) == len(with_pairs)
    assert {line.score for line in score_lines(rows)} == {
        "ranker",
        "the shorter",
        "the more frequent answer",
        "the more probable",
    }


def test_the_tables_say_it_too(run: Path) -> None:
    written = (run / "report" / "table.md").read_text(encoding="utf-8")
    for header in ("| beside sc@3 (points) |", "| beside all samples (points) |", "| pairs told (%) |"):
        assert header in written


def test_a_single_rule_has_its_curve_and_its_ranker_is_measured(rows: Results) -> None:
    alone = rows.where(lambda row: str(row.cell.vote) in ("greedy", "asc@3"))
    assert not rule_lines(alone) and len(rule_curves(alone)) == 3 and len(score_lines(alone)) == 3 * 4


def test_a_report_needs_no_curve(run: Path, tmp_path: Path) -> None:
    """All of whose rules weigh by a ranker that looks at all samples at once."""
    shutil.copytree(run, tmp_path / "run", ignore=shutil.ignore_patterns("report"))
    kept = ("greedy", "asc@3", "rank_best@3")
    few = [row for row in results.read(run / "results.parquet") if str(row.cell.vote) in kept]
    results.save(few, tmp_path / "run" / "results.parquet")
    page = report(tmp_path / "run").read_text(encoding="utf-8")
    assert "beside asc@3" in page and not (tmp_path / "run" / "report" / "votes.svg").is_file()


def test_other_stops_need_nothing_to_be_removed(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "run")
    divcon.study("miniature-vote", overrides=[*SMALL, "grid.stops=[fixed 1]"], limit=LIMIT, run=tmp_path / "run")
    assert "| fixed 1 | 1.00 |" in (tmp_path / "run" / "report" / "table.md").read_text(encoding="utf-8")


def test_curves_end_where_the_votes_are(rows: Results) -> None:
    ends = {(of.composition, of.vote): of.accuracies[-1].value for of in rule_curves(rows)}
    assert ends == {(line.composition, line.vote): pytest.approx(line.accuracy.value) for line in rule_lines(rows)}
    assert all(len(of.accuracies) == 3 for of in rule_curves(rows))


def test_stopping_early_buys_no_more_than_there_is(rows: Results) -> None:
    found = stop_lines(rows, ["fixed 3", "fixed 1", "lead 2"])
    assert {line.samples for line in found if line.stop == "fixed 3"} == {3.0}
    assert {line.beside.value for line in found if line.stop == "fixed 3"} == {0.0}
    assert {line.samples for line in found if line.stop == "fixed 1"} == {1.0}
    assert all(2 <= line.samples <= 3 for line in found if line.stop == "lead 2")


def test_the_same_command_again_scores_nothing_twice(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranker, "new", lambda *_: pytest.fail("a ranker was loaded"))
    before = (run / "ranker" / "ranker.safetensors").read_bytes()
    divcon.study("miniature-vote", overrides=SMALL, limit=LIMIT, run=run)
    assert (run / "ranker" / "ranker.safetensors").read_bytes() == before


def test_a_ranker_that_lost_its_weights_is_refused(run: Path, tmp_path: Path) -> None:
    copied = tmp_path / "copied"
    shutil.copytree(run, copied)
    (copied / "ranker" / "ranker.safetensors").unlink()
    settings = [part for setting in SMALL for part in ("--set", setting)]
    outcome = CliRunner().invoke(
        main, ["distill", "ranker", "miniature-vote", "--limit", f"{LIMIT}", "--run", str(copied), *settings]
    )
    assert outcome.exit_code == 2 and "has lost its weights; remove it to train again" in outcome.output


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["grid.votes=[mean]"], "no vote 'mean'; there are sc, ws, asc, count"),
        (["grid.votes=[]"], "grid.votes: it must hold at least 1"),
        (["distill.ranker.backbone.names=[colour]"], "'colour' is none of length, lines"),
        (["grid.stops=[soon]"], "no rule 'soon' to stop by"),
        (["collect.logprobs=false"], "looks at log-probability, which only a collecting with logprobs: true knows"),
        (
            ["llm={engine: openai, base_url: 'http://127.0.0.1:9/v1', model: m}"],
            r"the engine of the llm solver \(openai\) does not give; leave them out of grid.votes",
        ),
    ],
)
def test_votes_that_cannot_be_are_refused_before_anything_is_asked(overrides: list[str], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        load("miniature-vote", [*SMALL, *overrides])
