"""The command line's commands as Python calls; each returns a value whose text is what the command prints."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from . import prompts
from .core.errors import ConfigError
from .core.write_failures import new_folder
from .decompose.decomposition import Decomposer, Decomposition
from .distill.export import FORMS, Exported
from .distill.export import export as exported
from .distill.method_catalogue import explain
from .distill.traces import importers
from .distill.traces import trace as traces
from .distill.traces.stats import TraceStats, trace_stats
from .eval import grid_spec
from .eval.analysis import summary
from .eval.analysis.compare import Comparison, comparison
from .eval.analysis.pareto import AxisName
from .eval.config import AnyConfig, find, load
from .eval.grid.rows import Results
from .eval.grid_spec import Track
from .eval.papers import reference
from .eval.render.table import markdown
from .eval.report import tables
from .eval.run_dir import RunDirectory
from .lm.engine import Engine
from .lm.local import environment
from .lm.store.store import Store
from .run import Run
from .serve.http import keys
from .serve.http.keys import Caller, Keys
from .solve.grading.sympy_pool import EQUIVALENCE
from .solve.solution import Solution
from .studies import compare_methods as methods
from .studies import prompting
from .studies import status as statuses
from .studies.across_seeds import Seeds, over_seeds
from .studies.checks import check_models, check_study, stages_taught
from .studies.collect import collect as collected
from .studies.context import StudyContext
from .studies.distil import distil_ranker, distil_track
from .studies.dry_run import Plan
from .studies.dry_run import plan as planned
from .studies.evaluate import evaluate as run_grid
from .studies.evaluate import is_evaluated
from .studies.learning_curve import train_curve
from .studies.new_study import NewStudy
from .studies.new_study import write as written
from .studies.opening import open_study
from .studies.pilot import lengths, rates
from .studies.prompt_trials import Trials
from .studies.questions import StudyQuestions
from .studies.runs import ListedRuns, Pruned, list_runs
from .studies.runs import prunable as removable
from .studies.runs import prune as pruned
from .studies.shards import MergedShards, ShardResult, ShardStage
from .studies.shards import merge as merged_shards
from .studies.shards import run_shard as shard_run
from .studies.status import RunCost, Status
from .studies.try_prompts import try_prompts as tried
from .tasks import sources
from .tasks.question import GraderName, Question
from .tasks.shard import Shard

if TYPE_CHECKING:
    from .eval.report.figures import Columns, Style

AnyPath = str | os.PathLike[str]
"""How a call takes a path."""
RUNS = Path("runs")
"""Where run directories are made when nobody names one."""


def study(
    config: AnyConfig,
    *,
    overrides: Sequence[str] = (),
    limit: int | None = None,
    run: AnyPath | None = None,
    llm: Engine | None = None,
) -> Run:
    """Run a whole study; its results, students and report. What is finished is not done again.

    `config` is a YAML file, a shipped study's name, or settings as they stand in such a file; `overrides` are
    `key.key=value`, `limit` caps the questions of each data set, `run` is the run directory. `llm` is an engine of your
    own in place of the one that the config names. Raises ConfigError when something must be changed, ModelError when a
    model cannot be reached.
    """
    with _open(config, overrides, limit, run, llm=llm) as opened:
        distil_track(opened, "decomposer")
        distil_track(opened, "solver")
        if not is_evaluated(opened):
            run_grid(opened)
        finished = Run(opened.directory)
        finished.report  # noqa: B018  # made while the directory is locked
        return finished


def plan(
    config: AnyConfig, *, overrides: Sequence[str] = (), limit: int | None = None, pilot: AnyPath | None = None
) -> Plan:
    """What a study would ask of its models; asks nothing and writes nothing.

    `pilot` is the directory of a run of the same study with a limit: how long its prompts and completions were
    takes the place of estimates, and its seconds say how long the study will take. Raises ConfigError for what the run
    would refuse too (tests among the training questions, prompts too long, gold answers that nothing can match, models
    that are not there), and for a pilot of another study.
    """
    settings = load(config, overrides).limited(limit)
    questions = StudyQuestions(settings)
    check_study(settings, questions)
    check_models(settings)
    known = (lengths(Path(pilot), settings), rates(Path(pilot))) if pilot else (None, None)
    return planned(settings, questions.train, questions.tests, *known)


def init(files: Sequence[AnyPath], out: AnyPath, *, llm: str, student: str, force: bool = False) -> NewStudy:
    """Write a study for files of questions, with what was guessed in comments.

    `llm` and `student` are models' directories or names on the hub; `llm` may be a server's URL. Raises ConfigError for
    a file that holds no questions, and for a study that is there already unless `force` says to write over it.
    """
    return written([Path(file) for file in files], Path(out), llm, student, overwrite=force)


def runs(folder: AnyPath = RUNS) -> ListedRuns:
    """The runs in a folder, with state and size. Raises ConfigError when there is no such folder."""
    return list_runs(Path(folder))


def prunable(run: AnyPath) -> list[Path]:
    """A finished run's store and checkpoints. Raises ConfigError when it is at work, or not finished."""
    return removable(Path(run))


def prune(run: AnyPath) -> Pruned:
    """Remove them; results, students, traces and the report stay."""
    return pruned(Path(run))


def collect(
    config: AnyConfig,
    *,
    overrides: Sequence[str] = (),
    limit: int | None = None,
    run: AnyPath | None = None,
    llm: Engine | None = None,
) -> Collected:
    """The teacher's traces of the training questions: where they are, and how many.

    The rest is as for `study`. Raises ConfigError when something must be changed, ModelError when a model cannot be
    reached.
    """
    with _open(config, overrides, limit, run, llm=llm) as opened:
        verdicts = [trace.verdict for trace in collected(opened)]
        return Collected(opened.files.traces, len(verdicts), verdicts.count("right"))


def run_shard(
    config: AnyConfig,
    stage: ShardStage,
    shard: str,
    *,
    overrides: Sequence[str] = (),
    limit: int | None = None,
    run: AnyPath | None = None,
    llm: Engine | None = None,
) -> ShardResult:
    """Run `collect` or `eval` for one part of the questions: shard `2/4` is the second of four.

    Its samples are kept in a directory of their own, until `merge` joins them. The rest is as for `study`. Raises
    ConfigError where a student is missing that the grid asks.
    """
    part = Shard.parse(shard)
    with _open(config, overrides, limit, run, llm=llm, shard=part) as opened:
        return shard_run(opened, part, stage)


def merge(run: AnyPath, sources: Sequence[AnyPath] = ()) -> MergedShards:
    """Join the stores of a run's shards, or of other `sources` (directories, files), in the run's own store.

    Raises ConfigError where there is no run, or nothing to join.
    """
    return merged_shards(Path(run), [Path(source) for source in sources])


def distill_student(
    config: AnyConfig,
    track: Literal["decomposer", "solver", "single", "ranker"],
    *,
    overrides: Sequence[str] = (),
    limit: int | None = None,
    run: AnyPath | None = None,
    llm: Engine | None = None,
) -> Path:
    """Train one student; its directory. What it learns from is collected first, unless it is there.

    `track` is the half that it takes: `decomposer`, `solver`, `single` (whole questions, in a single stage: the control
    of splitting them), or `ranker`, which says how likely a solution is right. The rest is as for `study`. Raises
    ConfigError for another track, and when something must be changed; ModelError when a model cannot be reached.
    """
    if track not in (*get_args(Track), "ranker"):
        raise ConfigError(f"no track {track!r}; there are {', '.join(get_args(Track))} and ranker")
    with _open(config, overrides, limit, run, llm=llm) as opened:
        if track == "ranker":
            distil_ranker(opened)
        else:
            distil_track(opened, track)
        return opened.files.path / track


def compare_methods(
    config: AnyConfig, *, overrides: Sequence[str] = (), limit: int | None = None, run: AnyPath | None = None
) -> Path:
    """Distil by every method and seed that the config lists, and ask all students; the path of the table."""
    with _open(config, overrides, limit, run) as opened:
        return methods.compare(opened)


def learning_curve(
    config: AnyConfig, *, overrides: Sequence[str] = (), limit: int | None = None, run: AnyPath | None = None
) -> Path:
    """Distil every track at every budget and seed of `curve`, and ask all students; the path of the table."""
    with _open(config, overrides, limit, run) as opened:
        return train_curve(opened)


def try_prompts(
    config: AnyConfig,
    *,
    n: int = 60,
    test: int = 0,
    overrides: Sequence[str] = (),
    run: AnyPath | None = None,
) -> Trials:
    """Prompts tried with a study's LLM on `n` validation questions: as many for a single stage as for two.

    The best of each way is then asked the first `test` questions of each test.
    What is bought stays in `run` (default: the study's own directory, with `-prompts` behind its name).
    """
    with _open(config, overrides, None, run, behind="-prompts") as opened:
        return tried(opened, n, test)


def list_prompts() -> str:
    """Every shipped prompt, by its name in a config."""
    return "\n".join(prompts.names())


def list_methods() -> str:
    """Every method in a line."""
    return explain()


def evaluate(
    config: AnyConfig,
    *,
    overrides: Sequence[str] = (),
    limit: int | None = None,
    run: AnyPath | None = None,
    llm: Engine | None = None,
) -> Evaluated:
    """Every cell of the grid; the students it needs must have been distilled."""
    with _open(config, overrides, limit, run, llm=llm) as opened:
        return Evaluated(opened.files.results, run_grid(opened))


def report(run: AnyPath, axis: AxisName | None = None) -> Path:
    """Rebuild a run's report, accuracy drawn against a kind of cost (FLOPs where none is named); the path of its page.

    Raises ConfigError when nobody knows that cost of any cell; an earlier report stays as it was then.
    """
    run = Path(run)
    RunDirectory(run).check()
    from .eval.report import report as reports  # matplotlib takes a second to import

    return reports.report(run, axis)


def plot(
    run: AnyPath,
    name: str,
    out: AnyPath | None = None,
    style: Style = "paper",
    axis: AxisName = "flops",
    columns: Columns = "two",
) -> Path:
    """One figure of a run, by its name in `divcon.eval.report.plots.PLOTS`, with its numbers as CSV; its path."""
    run = Path(run)
    RunDirectory(run).check()
    from .eval.report import plots  # matplotlib takes a second to import

    return plots.draw(run, name, Path(out or f"{name}.pdf"), style, axis, columns)


def compare(run: AnyPath, a: str, b: str, test: str | None = None) -> Comparison:
    """Two cells of a run, `decomposer:solver:vote` each, on the same questions."""
    run = Path(run)
    RunDirectory(run).check()
    return comparison(run, a, b, test)


def seeds(runs: Sequence[AnyPath], out: AnyPath | None = None, beside: str | None = None) -> Seeds:
    """Runs of one study that differ in their seed alone, against `beside` (`decomposer:solver:vote`) or the LLM alone.

    Written to `out` as Markdown, LaTeX, CSV and Parquet, where it is given; in a folder, as `seeds`.
    """
    found = over_seeds([Path(run) for run in runs], beside)
    if out:
        found.save(Path(out) / "seeds" if Path(out).is_dir() else Path(out))
    return found


def papers(name: str | None = None, run: AnyPath | None = None) -> str:
    """What the papers printed, as Markdown: one of them by its name, or both; with `run`, beside that run's cells."""
    if run is None:
        return "\n".join(markdown(reference.printed(each)) for each in ([name] if name else reference.TITLES))
    run = Path(run)
    found = reference.of_run(run, RunDirectory(run).study, name)
    return f"{markdown(reference.table(found))}\n{reference.CAUTION}"


def status(run: AnyPath) -> Status:
    """How a run stands; it may be at work meanwhile."""
    return statuses.status(Path(run))


def cost(run: AnyPath) -> RunCost:
    """What a run has spent; it may be at work meanwhile."""
    return statuses.cost(Path(run))


def export(student: AnyPath, form: str, *, out: AnyPath | None = None, base: str | None = None) -> Exported:
    """Write a student as other programs load it: `merged`, `vllm` or `gguf`; what was written, and how it is served.

    `base` is where its base lies now, if not where its card says. Raises ConfigError for what is no student, and where
    `out` is in the way.
    """
    if form not in FORMS:
        raise ConfigError(f"no form {form!r}; there are {', '.join(FORMS)}")
    return exported(Path(student), form, Path(out) if out else None, base)


def ask(
    question: str,
    *,
    run: AnyPath = RUNS / "miniature",
    decomposer: str | None = None,
    solver: str = "llm",
    reasoning: bool = False,
) -> SolvedQuestion:
    """One question through one composition of a run.

    `decomposer` is the distilled one unless another is given, and nobody before a single-stage student. What the models
    thought before they replied is folded in the answer's text unless `reasoning`. Raises ConfigError for a student that
    was taught to be asked otherwise.
    """
    if not question.strip():
        raise ConfigError("the question is empty")
    asked = Question("asked", question, answer="")
    run = Path(run)
    with open_study(RunDirectory(run).study, run) as opened:
        grid_spec.check_solver(solver, opened.study.models)
        answers = grid_spec.parse_solver(solver)
        taught = stages_taught(opened.study, opened.questions, answers)
        is_alone = taught is not None and "solve" not in taught
        usual = str(grid_spec.decomposer_of(min(taught))) if taught and is_alone else "distilled"
        grid_spec.check_decomposer(decomposer or usual, opened.study.models)
        asks = grid_spec.parse_decomposer(decomposer or usual)
        if taught is not None and grid_spec.stage(asks) not in taught:
            other = f"--decomposer {usual}" if is_alone else "a decomposer"
            raise ConfigError(f"{solver} was not taught to be asked behind {asks}: give {other}")
        if isinstance(asks, grid_spec.UseModel | grid_spec.UseStudent):
            makes: Decomposer = prompting.decomposer(opened.study, opened.models(asks))
        elif isinstance(asks, grid_spec.NoDecomposition | grid_spec.EmptyDecomposition):
            makes = prompting.null_decomposer(asks)
        else:
            raise ConfigError(f"{asks} stands in a grid alone: give --decomposer none, llm, base or a student")
        (made,) = makes([asked])
        solves = prompting.solver(opened.study, opened.models(answers))
        ((solution,),) = solves([asked], [made])
        return SolvedQuestion(made, solution, reasoning)


def add_key(
    path: AnyPath,
    name: str,
    requests_per_minute: float | None = None,
    dollars_per_day: float | None = None,
    metrics: bool = False,
) -> str:
    """A new key for who asks the endpoint, and its limits. The file gets its hash; nothing else ever shows the key."""
    return keys.add(Path(path), Caller(name, requests_per_minute, dollars_per_day, metrics))


def list_keys(path: AnyPath) -> Keys:
    """Who has a key, and how much they may."""
    return Keys.read(Path(path))


def remove_key(path: AnyPath, name: str) -> Keys:
    """Take a key away, from a running endpoint too; the keys that are left."""
    keys.remove(Path(path), name)
    return Keys.read(Path(path))


def list_data() -> str:
    """Every data set that a study can ask, a line each."""
    wide = max(map(len, sources.CATALOGUE))
    return "\n".join(f"{name:<{wide}}  {what}" for name, what in sources.CATALOGUE.items())


def show_data(name: str, path: AnyPath | None = None, n: int = 3) -> str:
    """The first `n` questions of a data set, as they are read."""
    questions = sources.load(sources.named(name, Path(path) if path else None, n))
    return "\n\n".join(_shown(question) for question in questions)


def import_traces(
    path: AnyPath, out: AnyPath, grader: GraderName | None = None, questions: AnyPath | None = None
) -> Collected:
    """Traces made elsewhere, labelled and written to `out/traces.jsonl`.

    `grader` replaces each data set's own; `questions` is the file that the output of a batch refers to. Slow
    comparisons are remembered in `out/store.sqlite`.
    """
    path, out = Path(path), Path(out)
    if not path.exists():
        raise ConfigError(f"no file or folder {path}")
    with new_folder(out, lambda folder: not any(folder.glob("traces.*"))):
        with _remembering(out):
            read, failed = importers.read(path, grader, Path(questions) if questions else None)
        if not read:
            raise ConfigError(f"no traces in {path}")
        traces.write(read, out / "traces.jsonl", origin=f"imported from {path.name}")
    return Collected(out / "traces.jsonl", len(read), sum(trace.verdict == "right" for trace in read), failed)


def stats_of_traces(folder: AnyPath) -> TraceStats:
    """What the traces in a folder are worth."""
    folder = Path(folder)
    read = traces.read(folder / "traces.jsonl")
    if not read:
        raise ConfigError(f"no traces in {folder}")
    with _remembering(folder):
        return trace_stats(read)


def doctor() -> Diagnosis:
    """What an installation consists of, and whether the shipped models load and answer."""
    environment.prepare()
    now = environment.current()
    import torch

    from .lm.engines.transformers import Transformers
    from .lm.model import Model
    from .lm.store.store import Store
    from .lm.types import Message, Request, Sampling

    packages = ("divcon", "torch", "transformers", "trl", "peft", "datasets", "openai")
    lines = [
        f"Python {now.python} on {platform.machine()}, {now.threads} threads",
        f"processor: {now.processor}; vector instructions {now.capability}, MKL_CBWR {now.mkl}",
        f"waiting threads: {'sleep' if os.environ.get('OMP_WAIT_POLICY') == 'PASSIVE' else 'spin'} (OMP_WAIT_POLICY)",
    ]
    lines += [f"{name} {importlib.metadata.version(name)}" for name in packages]
    lines.append(f"accelerator: {torch.cuda.get_device_name() if torch.cuda.is_available() else 'none'}")
    for name in ("llm", "base"):
        engine = Transformers(f"miniature/{name}", dtype="float32")
        hello = Request((Message("user", "How many pears?"),), Sampling(max_tokens=4))
        with Store() as store:
            Model(name, engine, store)([hello])
        lines.append(f"miniature/{name}: {engine.footprint(None).parameters:,} parameters, answers")
    return Diagnosis(tuple(lines))


@dataclass(frozen=True)
class Collected:
    """Where the traces are, and how many there are."""

    path: Path
    traces: int
    right: int
    failed: int = 0
    """Calls that brought no answer, and so no trace."""

    def __str__(self) -> str:
        failed = f"; {self.failed} calls had failed and brought none" if self.failed else ""
        return f"{self.path}: {self.traces} traces, {self.right} right{failed}"


@dataclass(frozen=True)
class Evaluated:
    """Where the results are, and the rows themselves."""

    path: Path
    rows: Results

    def __str__(self) -> str:
        table = tables.main(summary.lines(self.rows.known))
        return f"{markdown(table)}\n{self.path}"


@dataclass(frozen=True)
class SolvedQuestion:
    """One question's decomposition and solution."""

    decomposition: Decomposition
    solution: Solution
    shows_reasoning: bool = False

    def __str__(self) -> str:
        made, answer = self.decomposition, self.solution.answer or "unreadable"
        asked = made.text if made.kind == "unreadable" else made.listing
        parts = [
            *_thought(made.reasoning, whole=self.shows_reasoning),
            f"Sub-questions\n{asked}",
            *_thought(self.solution.reasoning, whole=self.shows_reasoning),
            f"Solution\n{self.solution.text}",
            f"Answer\n{answer}",
        ]
        return "\n\n".join(parts)


def _thought(reasoning: str | None, *, whole: bool) -> list[str]:
    if reasoning is None:
        return []
    return [f"Reasoning\n{reasoning}" if whole else f"(reasoning of {len(reasoning):,} characters: --reasoning)"]


@dataclass(frozen=True)
class Diagnosis:
    """Lines about an installation."""

    lines: tuple[str, ...]

    def __str__(self) -> str:
        return "\n".join(self.lines)


@contextmanager
def _remembering(folder: Path) -> Iterator[None]:
    """Keep comparisons of answers in a folder's store, or in that of the run whose traces it holds.

    Where nothing can be written they are forgotten.
    """
    home = folder.parent if (folder.parent / "config.yaml").is_file() else folder
    path = RunDirectory(home).store
    with Store(path if os.access(home, os.W_OK) else ":memory:") as store, EQUIVALENCE.remembering(store):
        yield


def _shown(question: Question) -> str:
    lines = [f"{question.id}  (answer: {question.answer}; grader: {question.grader})", question.prompt]
    lines += [f"  {i}. {asked}" for i, asked in enumerate(question.subquestions, 1)]
    lines += [f"  {key}: {value}" for key, value in question.tags.items()]
    return "\n".join(lines)


def _open(
    config: AnyConfig,
    overrides: Sequence[str],
    limit: int | None,
    run: AnyPath | None,
    behind: str = "",
    llm: Engine | None = None,
    shard: Shard | None = None,
) -> AbstractContextManager[StudyContext]:
    """A run cut short has a directory of its own, so that it never stands in the way of the whole one.

    `behind` follows the study's name in the directory's.
    """
    study = load(config, overrides).limited(limit)
    if run is None and isinstance(config, Mapping):
        raise ConfigError("settings that come from no file have no name: give run, the directory of the run")
    name = "" if run else find(config).stem + behind + (f"-limit{limit}" if limit else "")
    return open_study(study, Path(run) if run else RUNS / name, llm=llm, shard=shard)
