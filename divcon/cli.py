"""The command line: words in, one call, one result out. Heavy libraries are imported by the command that needs them."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast, get_args

import click

from .core.errors import ConfigError, DivconError
from .core.terminal import echo, echo_json, libraries_visible, visible
from .tasks.question import GraderName

if TYPE_CHECKING:
    from .serve.settings import ServeSettings

F = TypeVar("F", bound=Callable[..., Any])


class _Commands(click.Group):
    """Turns our errors into a sentence and an exit code: 2 when you must change something, 1 when it may work later."""

    def main(self, *args: Any, **options: Any) -> Any:
        with libraries_visible():
            return super().main(*args, **options)

    def make_context(self, *args: Any, **options: Any) -> click.Context:
        try:
            return super().make_context(*args, **options)
        except click.ClickException as error:
            vars(error).update(message=visible(error.message))
            raise

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except click.ClickException as error:
            vars(error).update(message=visible(error.message))
            raise
        except DivconError as error:
            echo(f"divcon: {error}", err=True)
            sys.exit(2 if isinstance(error, ConfigError) else 1)
        except OSError as error:
            where = f": {error.filename}" if error.filename else ""
            echo(f"divcon: {error.strerror or error}{where}", err=True)
            sys.exit(2)
        except KeyboardInterrupt:
            echo("divcon: stopped; the same command goes on from here", err=True)
            sys.exit(130)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="divcon")
def main() -> None:
    """Which half of a reasoning task should be distilled: decomposing or solving?

    CONFIG is a YAML file or the name of a shipped study, such as `miniature`. Everything a study makes lies in its run
    directory, and the same command again goes on from there.
    """


def _moved(said: str) -> tuple[str, str]:
    old, equals, new = said.partition("=http")
    if not equals or "://" not in old:
        raise click.UsageError(f"--relocate {said!r} is not of the form http://OLD/v1=http://NEW/v1")
    return old, f"http{new}"


def _study_options(command: F) -> F:
    @wraps(command)
    def with_overrides(
        *, reproducible: bool | None, relocate: tuple[str, ...], overrides: tuple[str, ...], **rest: Any
    ) -> Any:
        more = [] if reproducible is None else [f"reproducible={reproducible}".lower()]
        if relocate:
            more.append(f"relocate={json.dumps(dict(map(_moved, relocate)))}")
        return command(overrides=(*overrides, *more), **rest)

    decorated: Callable[..., Any] = with_overrides
    for option in (
        click.option(
            "--run", type=click.Path(path_type=Path), help="Run directory [default: runs/NAME of the config]."
        ),
        click.option("--limit", type=click.IntRange(min=1), help="Use at most N questions of each data set."),
        click.option(
            "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a setting: grid.samples=8."
        ),
        click.option(
            "--relocate", multiple=True, metavar="OLD=NEW", help="A server's base URL has changed: keep its samples."
        ),
        click.option(
            "--reproducible/--no-reproducible",
            default=None,
            help="The same bytes on every x86-64 processor, more slowly [default: the config's].",
        ),
        click.argument("config"),
    ):
        decorated = option(decorated)
    return cast(F, decorated)


@main.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--out", type=click.Path(path_type=Path), default="study.yaml", show_default=True, help="The study to write."
)
@click.option("--llm", default="Qwen/Qwen2.5-1.5B-Instruct", show_default=True, help="A model, or a server's URL.")
@click.option("--student", default="HuggingFaceTB/SmolLM2-135M-Instruct", show_default=True, help="The base model.")
@click.option("--force", is_flag=True, help="Write over a study that is there.")
def init(files: tuple[Path, ...], out: Path, llm: str, student: str, force: bool) -> None:
    """Write a study for FILES of questions: what their columns hold, how answers are compared, how much is asked."""
    from . import commands

    echo(commands.init(files, out, llm=llm, student=student, force=force))


@main.command()
@click.argument("folder", type=click.Path(path_type=Path), default="runs")
@click.option("--prune", type=click.Path(path_type=Path), help="Remove a finished run's store and checkpoints.")
@click.option("--yes", is_flag=True, help="Do not ask before removing.")
def runs(folder: Path, prune: Path | None, yes: bool) -> None:
    """The runs in FOLDER [default: runs], with state and size."""
    from . import commands

    if prune is None:
        echo(commands.runs(folder))
        return
    parts = commands.prunable(prune)
    if parts and not yes:
        names = ", ".join(part.name for part in parts)
        click.confirm(f"Remove {names} of {prune}? Its samples would have to be bought again", abort=True)
    echo(commands.prune(prune))


@main.command()
@_study_options
@click.option("--dry-run", is_flag=True, help="Show what would be asked, and ask nothing.")
@click.option(
    "--pilot",
    type=click.Path(path_type=Path),
    help="With --dry-run: a run of the same study with a --limit, whose lengths replace estimates.",
)
def study(
    config: str, overrides: tuple[str, ...], limit: int | None, run: Path | None, dry_run: bool, pilot: Path | None
) -> None:
    """Run a whole study: collect, distil both phases, evaluate every cell, report."""
    from . import commands

    if pilot and not dry_run:
        raise click.UsageError("--pilot goes with --dry-run")
    if dry_run:
        echo(commands.plan(config, overrides=overrides, limit=limit, pilot=pilot))
    else:
        echo(commands.study(config, overrides=overrides, limit=limit, run=run))


_shard = click.option("--shard", metavar="I/N", help="Ask one of N parts of the questions; `divcon merge` joins them.")


@main.command()
@_study_options
@_shard
def collect(config: str, overrides: tuple[str, ...], limit: int | None, run: Path | None, shard: str | None) -> None:
    """Sample the teacher's decompositions and solutions of the training questions, and label them."""
    from . import commands

    if shard:
        echo(commands.run_shard(config, "collect", shard, overrides=overrides, limit=limit, run=run))
    else:
        echo(commands.collect(config, overrides=overrides, limit=limit, run=run))


@main.group()
def distill() -> None:
    """Train a student for one phase from the teacher's traces."""


def _list_methods(context: click.Context, _: click.Parameter, method: str | None) -> str | None:
    if method == "list":
        from . import commands

        echo(commands.list_methods())
        context.exit()
    return method


_method = click.option(
    "--method",
    is_eager=True,
    callback=_list_methods,
    help="How wrong replies are used [default: the config's]; `list` explains each.",
)


@distill.command()
@_study_options
@_method
def decomposer(
    config: str, overrides: tuple[str, ...], limit: int | None, run: Path | None, method: str | None
) -> None:
    """Train a small model to write sub-questions."""
    from . import commands

    more = (f"distill.decomposer.method={method}",) if method else ()
    echo(commands.distill_student(config, "decomposer", overrides=(*overrides, *more), limit=limit, run=run))


@distill.command()
@_study_options
@_method
def solver(config: str, overrides: tuple[str, ...], limit: int | None, run: Path | None, method: str | None) -> None:
    """Train a small model to answer questions that come with sub-questions."""
    from . import commands

    more = (f"distill.solver.method={method}",) if method else ()
    echo(commands.distill_student(config, "solver", overrides=(*overrides, *more), limit=limit, run=run))


@distill.command()
@_study_options
@_method
def single(config: str, overrides: tuple[str, ...], limit: int | None, run: Path | None, method: str | None) -> None:
    """Train a small model to answer whole questions: the control of splitting them."""
    from . import commands

    more = (f"distill.single.method={method}",) if method else ()
    echo(commands.distill_student(config, "single", overrides=(*overrides, *more), limit=limit, run=run))


@distill.command()
@_study_options
def ranker(config: str, overrides: tuple[str, ...], limit: int | None, run: Path | None) -> None:
    """Train a model to say how likely a solution is right, for votes that weigh by it."""
    from . import commands

    echo(commands.distill_student(config, "ranker", overrides=overrides, limit=limit, run=run))


@distill.command()
@_study_options
def methods(config: str, overrides: tuple[str, ...], limit: int | None, run: Path | None) -> None:
    """Train a student by every method and seed that the config lists, and compare them."""
    from . import commands

    echo(commands.compare_methods(config, overrides=overrides, limit=limit, run=run))


@distill.command()
@_study_options
def curve(config: str, overrides: tuple[str, ...], limit: int | None, run: Path | None) -> None:
    """Train every track at several budgets of tokens (`curve.tokens`), for its learning curve."""
    from . import commands

    echo(commands.learning_curve(config, overrides=overrides, limit=limit, run=run))


@main.group()
def prompts() -> None:
    """List and measure the prompts that a study can use."""


@prompts.command("list")
def list_prompts() -> None:
    """Every shipped prompt, by its name in a config."""
    from . import commands

    echo(commands.list_prompts())


@prompts.command("try")
@click.argument("config")
@click.option("--n", type=click.IntRange(min=1), default=60, show_default=True, help="Validation questions.")
@click.option(
    "--test",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Questions of each test for the best single-stage and the best two-stage prompts.",
)
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a setting: llm.concurrency=8.")
@click.option("--run", type=click.Path(path_type=Path), help="Run directory [default: runs/NAME-prompts].")
def try_prompts(config: str, n: int, test: int, overrides: tuple[str, ...], run: Path | None) -> None:
    """Compare four single-stage and four two-stage prompts on validation questions, with the study's LLM."""
    from . import commands

    echo(commands.try_prompts(config, n=n, test=test, overrides=overrides, run=run))


@main.command("eval")
@_study_options
@_shard
def evaluate(config: str, overrides: tuple[str, ...], limit: int | None, run: Path | None, shard: str | None) -> None:
    """Evaluate every decomposer before every solver."""
    from . import commands

    if shard:
        echo(commands.run_shard(config, "eval", shard, overrides=overrides, limit=limit, run=run))
    else:
        echo(commands.evaluate(config, overrides=overrides, limit=limit, run=run))


@main.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("sources", type=click.Path(path_type=Path), nargs=-1)
def merge(run: Path, sources: tuple[Path, ...]) -> None:
    """Join the stores of a run's shards in its own; SOURCES are shard directories, runs or stores instead."""
    from . import commands

    echo(commands.merge(run, sources))


_AXES = click.Choice(["flops", "tokens", "reasoning", "seconds", "dollars"])
_AXIS = click.option(
    "--axis", type=_AXES, default="flops", show_default=True, help="The kind of cost that accuracy is drawn against."
)


@main.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("name")
@click.option("--out", type=click.Path(path_type=Path), help="A .pdf, .svg or .png file; NAME.pdf without it.")
@click.option("--style", type=click.Choice(["paper", "slides"]), default="paper", show_default=True)
@click.option(
    "--columns",
    type=click.Choice(["one", "two"]),
    default="two",
    show_default=True,
    help="How many columns of a page it spans, 3.35 or at most 6.9 inches.",
)
@_AXIS
def plot(
    run: Path,
    name: str,
    out: Path | None,
    style: Literal["paper", "slides"],
    columns: Literal["one", "two"],
    axis: Literal["flops", "tokens", "reasoning", "seconds", "dollars"],
) -> None:
    """Draw one figure of a run, accuracy_cost say, and write its numbers beside it; needs no model."""
    from . import commands

    echo(commands.plot(run, name, out, style, axis, columns))


@main.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--axis", type=_AXES, help="The kind of cost that accuracy is drawn against [default: flops].")
def report(run: Path, axis: Literal["flops", "tokens", "reasoning", "seconds", "dollars"] | None) -> None:
    """Rebuild the report of a run directory; needs no model and no network."""
    from . import commands

    echo(commands.report(run, axis))


@main.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("a")
@click.argument("b")
@click.option("--test", help="One test; without it, all of them.")
@click.option("--json", "as_json", is_flag=True, help="As JSON, with every question that flipped.")
def compare(run: Path, a: str, b: str, test: str | None, as_json: bool) -> None:
    """Compare two cells of a run on the same questions; A and B are decomposer:solver:vote, llm:llm:greedy say."""
    from . import commands

    found = commands.compare(run, a, b, test)
    echo_json(found.as_json(), indent=1) if as_json else echo(found)


@main.command()
@click.argument("runs", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option(
    "--out", type=click.Path(path_type=Path), help="Write OUT.md, .tex, .csv, .parquet too (in a folder, seeds.md)."
)
@click.option("--beside", metavar="CELL", help="Hold the others against this cell, llm:llm:greedy say.")
def seeds(runs: tuple[Path, ...], out: Path | None, beside: str | None) -> None:
    """Put runs of one study under several seeds into one table: means, and differences over seeds and questions."""
    from . import commands

    echo(commands.seeds(runs, out, beside))


@main.command()
@click.argument("name", required=False)
@click.option("--run", type=click.Path(path_type=Path), help="Beside the cells of this run, where it has any like it.")
def papers(name: str | None, run: Path | None) -> None:
    """Print what the papers printed, with intervals; NAME is divide-or-conquer or turning-dust-into-gold."""
    from . import commands

    echo(commands.papers(name, run))


@main.command()
@click.argument("run", type=click.Path(path_type=Path))
def status(run: Path) -> None:
    """How far a run is; it may be at work meanwhile."""
    from . import commands

    echo(commands.status(run))


@main.command()
@click.argument("run", type=click.Path(path_type=Path))
def cost(run: Path) -> None:
    """What a run has spent, and on what; it may be at work meanwhile."""
    from . import commands

    echo(commands.cost(run))


@main.command()
@click.argument("question")
@click.option("--run", type=click.Path(path_type=Path), default=Path("runs/miniature"), show_default=True)
@click.option(
    "--decomposer",
    type=click.Choice(["none", "none-direct", "llm", "distilled"]),
    help="Who writes sub-questions [default: distilled; none before a single-stage student].",
)
@click.option("--solver", type=click.Choice(["llm", "distilled", "distilled-single"]), default="llm", show_default=True)
@click.option("--reasoning", is_flag=True, help="Show what the models thought before they replied.")
def ask(question: str, run: Path, decomposer: str | None, solver: str, reasoning: bool) -> None:
    """Answer one question with one composition of a run, and show its sub-questions and steps."""
    from . import commands

    echo(commands.ask(question, run=run, decomposer=decomposer, solver=solver, reasoning=reasoning))


@main.command()
@click.argument("student", type=click.Path(path_type=Path))
@click.option(
    "--merged",
    "form",
    flag_value="merged",
    default=True,
    help="A whole model: the adapter merged into its base [default].",
)
@click.option("--vllm", "form", flag_value="vllm", help="A LoRA adapter with the layer names that vLLM knows.")
@click.option("--gguf", "form", flag_value="gguf", help="A file for llama.cpp, made by its convert_hf_to_gguf.py.")
@click.option("--out", type=click.Path(path_type=Path), help="Where to write it [default: STUDENT-FORM].")
@click.option("--base", metavar="DIR", help="Directory of the base, if it has moved since the student was made.")
def export(student: Path, form: str, out: Path | None, base: str | None) -> None:
    """Write a distilled student as other programs load it, and say how it is served."""
    from . import commands

    echo(commands.export(student, form, out=out, base=base))


@main.command()
@click.option("--config", type=click.Path(path_type=Path), help="A YAML file of the settings below.")
@click.option("--decomposer", type=click.Path(path_type=Path), help="A distilled decomposer: runs/x/decomposer.")
@click.option("--upstream", metavar="URL", help="The API LLM, up to and with the /v1 [default: OpenAI's].")
@click.option("--model", metavar="NAME", help="The API LLM's name there, and here.")
@click.option(
    "--local", metavar="DIR", help="A model on this machine that answers: a distilled solver, or a whole one."
)
@click.option("--ranker", type=click.Path(path_type=Path), help="A distilled ranker, for votes that weigh by it.")
@click.option("--keys", type=click.Path(path_type=Path), help="The file of `divcon keys`; needed but on loopback.")
@click.option("--host", help="Where to listen [default: 127.0.0.1].")
@click.option("--port", type=int, help="0 is any that is free [default: 8000].")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Any setting: upstream.timeout=30.")
def serve(
    config: Path | None,
    decomposer: Path | None,
    upstream: str | None,
    model: str | None,
    local: str | None,
    ranker: Path | None,
    keys: Path | None,
    host: str | None,
    port: int | None,
    overrides: tuple[str, ...],
) -> None:
    """Put a distilled decomposer in front of an API LLM, as an OpenAI-compatible endpoint.

    The API LLM's key is read from OPENAI_API_KEY, or the variable that upstream.api_key_env names. SIGHUP has keys and
    limits read again.
    """
    from .serve.http.reload import hangup

    def read() -> ServeSettings:
        from .serve.http import start

        return start.settings(config, said, overrides)

    hangup.catch(read)  # before the libraries are loaded, which takes long
    from .serve.http import start

    given = {
        "decomposer.path": decomposer,
        "upstream.url": upstream,
        "local.name" if local and not upstream else "upstream.model": model,
        "local.path": local,
        "vote.ranker": ranker,
        "keys": keys,
        "host": host,
        "port": port,
    }
    said = {key: value for key, value in given.items() if value is not None}
    start.serve(read(), echo)


@main.group()
def data() -> None:
    """Look at the data sets that a study can ask."""


@data.command("list")
def list_data() -> None:
    """Every data set, by its name in a config."""
    from . import commands

    echo(commands.list_data())


@data.command()
@click.argument("name")
@click.argument("path", required=False, type=click.Path(path_type=Path))
@click.option("--n", "count", type=click.IntRange(min=1), default=3, show_default=True, help="How many questions.")
def show(name: str, path: Path | None, count: int) -> None:
    """The first questions of a data set; PATH is its file (of `miniature`, a split)."""
    from . import commands

    echo(commands.show_data(name, path, count))


@main.group()
def traces() -> None:
    """Read traces that others have published, and say what a set of traces is worth."""


@traces.command("import")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for traces.jsonl.")
@click.option("--grader", type=click.Choice(get_args(GraderName)), help="How answers are compared [default: by shape].")
@click.option("--questions", type=click.Path(path_type=Path), help="The questions that a batch's output refers to.")
def import_traces(path: Path, out: Path, grader: GraderName | None, questions: Path | None) -> None:
    """Label the traces of a file, or of all files below a folder, and write them in the study's format."""
    from . import commands

    echo(commands.import_traces(path, out, grader, questions))


@traces.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def stats(folder: Path, as_json: bool) -> None:
    """Right, wrong and unreadable; majority and oracle; lengths; shares by level and type."""
    from . import commands

    figures = commands.stats_of_traces(folder)
    echo_json(figures.as_json(), indent=2) if as_json else echo(figures)


@main.group()
def keys() -> None:
    """Make, list and remove the keys with which people may use the endpoint."""


@keys.command("add")
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("name")
@click.option("--requests-per-minute", type=float, help="In any minute [default: no limit].")
@click.option("--dollars-per-day", type=float, help="In a day by UTC [default: no limit].")
@click.option("--metrics", is_flag=True, help="May read /metrics, which tells of everybody.")
def add_key(
    file: Path, name: str, requests_per_minute: float | None, dollars_per_day: float | None, metrics: bool
) -> None:
    """Make a key and print it, this once: FILE, made where there is none, keeps its hash and its limits."""
    from . import commands

    echo(commands.add_key(file, name, requests_per_minute, dollars_per_day, metrics))


@keys.command("list")
@click.argument("file", type=click.Path(path_type=Path))
def list_keys(file: Path) -> None:
    """Who has a key, and how much they may; never the keys."""
    from . import commands

    echo(commands.list_keys(file))


@keys.command("remove")
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("name")
def remove_key(file: Path, name: str) -> None:
    """Take a key away, from a running endpoint within a second, and list those that are left."""
    from . import commands

    echo(commands.remove_key(file, name))


@main.command()
def doctor() -> None:
    """Check this installation: versions, processor, the shipped models."""
    from . import commands

    echo(commands.doctor())
