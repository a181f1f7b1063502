"""The config of a study: one YAML file, one frozen value, every key checked."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

import yaml
from pydantic import Field, model_validator

from .. import configs, prompts
from ..core import config as strict
from ..core.errors import ConfigError
from ..core.settings import OPERATIONAL, Settings, is_marked_operational
from ..decompose.decomposition import Stage
from ..distill.method_catalogue import METHODS
from ..distill.recipes import DecomposerRecipe, Features, Full, Lora, RankerRecipe, SingleRecipe, SolverRecipe, Training
from ..distill.traces.collect import CollectSettings
from ..distill.traces.source import TracesSource
from ..lm.cost.prices import MachinePrice
from ..lm.settings import (
    LocalSettings,
    ModelSettings,
    OpenAISettings,
    SharePriceSettings,
    StudentSettings,
    TransformersSettings,
    VLLMSettings,
)
from ..solve.voting import rules, stopping
from ..tasks.sources import AnySource, Source
from .grid_spec import (
    ALL,
    LLM,
    DecomposerSpec,
    SolverSpec,
    Track,
    UseStudent,
    check_decomposer,
    check_format,
    check_model,
    check_solver,
    is_interactive,
    is_student,
    parse_decomposer,
    parse_solver,
)

_PLACES = {
    "decompose": ("question",),
    "solve": ("question", "subquestions"),
    "single_stage": ("question",),
    "direct": ("question",),
    "next": ("question", "answered"),
    "step": ("question", "answered", "subquestion"),
    "finish": ("question", "answered"),
}


class PromptNames(Settings):
    """Which prompt templates are used: shipped names, or paths of `.md` files."""

    decompose: str = "decompose"
    """Asks for sub-questions."""
    solve: str = "solve"
    """Asks for an answer with the help of sub-questions."""
    single_stage: str = "cot"
    """For questions without sub-questions: `cot` thinks step by step, `direct` may not."""
    direct: str = "direct"
    """For the decomposer `none-direct`: the solver answers at once."""
    next: str = "next"
    """One sub-question at a time: asks for the next one, after the first answer."""
    step: str = "step"
    """One sub-question at a time: asks for the answer to one."""
    finish: str = "finish"
    """One sub-question at a time: asks for the answer to the question, in the end."""
    examples: str | None = None
    """Worked examples to show first in every stage: `gsm8k`, or the path of a JSON Lines file (questions with
    `subquestions` and `solution`); None shows none."""

    @model_validator(mode="after")
    def _have_their_places(self) -> Self:
        for role, places in _PLACES.items():
            prompt = prompts.load(getattr(self, role))
            if missing := [place for place in places if f"{{{place}}}" not in prompt.text]:
                raise ValueError(f"prompt {prompt.name!r} cannot be {role}: it has no place for {{{missing[0]}}}")
            if role in ("single_stage", "direct") and "{subquestions}" in prompt.text:
                raise ValueError(f"prompt {prompt.name!r} asks for sub-questions; a single stage has none")
        return self


class DecomposeSettings(Settings):
    """The decomposing phase."""

    max_subquestions: int = Field(default=3, gt=0)
    """Sub-questions asked for, and kept, at most."""
    max_tokens: int = Field(default=256, gt=0)
    """Of one decomposition."""


class SolveSettings(Settings):
    """The solving phase."""

    max_tokens: int = Field(default=512, gt=0)
    """Of one solution. One that is cut off has no answer unless it stated one."""


class DistillSettings(Settings):
    """The tracks."""

    decomposer: DecomposerRecipe = DecomposerRecipe()
    """The student that writes sub-questions."""
    solver: SolverRecipe = SolverRecipe()
    """The student that answers them."""
    single: SingleRecipe = SingleRecipe()
    """The student that answers whole questions: the control of splitting them (`distilled-single` in a grid)."""
    ranker: RankerRecipe = RankerRecipe()
    """The model that says how likely a solution is right, for votes that weigh by it."""

    def recipe(self, track: Track) -> Training:
        """The recipe of a track's student."""
        return {"decomposer": self.decomposer, "solver": self.solver, "single": self.single}[track]


class GridSettings(Settings):
    """The combinations to evaluate, each greedily and by a vote over samples."""

    decomposers: tuple[str, ...] = Field(default=("none", "llm", "distilled"), min_length=1)
    """Who writes the sub-questions: `none` leaves the question whole for a single stage, `none-direct` does so and asks
    for the answer at once; `base`, `distilled`, `distilled-all`, `distilled-rejection`, `llm`, `gold`; the controls
    `shuffled` (another question's), `empty`, `truncated-N`; `interactive-NAME` asks one sub-question at a time; a name
    of `models` (docs/how-to/grid.md)."""
    solvers: tuple[str, ...] = Field(default=("llm", "distilled"), min_length=1)
    """Who answers: `base`, `distilled`, `distilled-direct`, `distilled-METHOD`, `distilled-single` and its kinds,
    `llm`, a name of `models`. A student is asked in the format that it was taught: `distilled-single` behind `none`,
    the others behind decomposers."""
    interactive: tuple[str, ...] = ("llm",)
    """The solvers that are asked one sub-question at a time, where a decomposer `interactive-NAME` asks so."""
    samples: int = Field(default=4, ge=0)
    """Sampled solutions a question for self-consistency; 0 leaves only greedy decoding."""
    temperature: float = Field(default=0.7, gt=0)
    """Of those samples; decompositions are greedy and shared by all cells that use them."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    """Samples come from the most likely tokens that together have this probability."""
    votes: tuple[str, ...] = Field(default=("sc",), min_length=1)
    """Rules of the vote over these samples: `sc`, `ws`, `asc`, or a formula's name (docs/how-to/votes.md). Those that
    weigh by rank distil a ranker first."""
    stops: tuple[str, ...] = ()
    """Rules to stop sampling by, replayed on these samples: `lead 3`, `confident 0.95 or fixed 6`
    (docs/how-to/votes.md)."""
    reader: str | None = None
    """A local model that says how well a question can be rebuilt from its sub-questions, in float32: a directory,
    `miniature/llm`, or a name on the hub (docs/how-to/errors.md). None asks nobody."""

    @model_validator(mode="after")
    def _names_are_known(self) -> Self:
        for key in ("decomposers", "solvers", "interactive"):
            listed = getattr(self, key)
            if twice := [name for i, name in enumerate(listed) if name in listed[:i]]:
                raise ValueError(f"{twice[0]} is listed twice in {key}")
        if taught := [name for name in self.interactive if is_student(parse_solver(name))]:
            raise ValueError(
                f"{taught[0]} was not taught to answer one sub-question at a time; leave it out of interactive"
            )
        try:
            asking = [one for one in self.decomposer_specs if is_interactive(one)]
            if asking and not set(self.interactive) & set(self.solvers):
                raise ValueError(f"nobody answers {asking[0]}: interactive names none of the solvers")
            for name in self.votes:
                rules.score_of(name)
            for said in self.stops:
                stopping.read(said)
        except ConfigError as error:
            raise ValueError(str(error)) from None
        return self

    @property
    def decomposer_specs(self) -> list[DecomposerSpec]:
        return list(map(parse_decomposer, self.decomposers))

    @property
    def solver_specs(self) -> list[SolverSpec]:
        return list(map(parse_solver, self.solvers))

    def asks(self, *scores: rules.Score) -> bool:
        """Whether a vote weighs by one of these."""
        return self.samples > 0 and any(rules.score_of(name) in scores for name in self.votes)


class MethodsSettings(Settings):
    """Methods to compare: each distils a student for every seed, in front of the same partner."""

    names: tuple[str, ...] = ()
    """Of `divcon distill solver --method list`; the first is what the others are compared with. None compares none."""
    seeds: tuple[int, ...] = Field(default=(0,), min_length=1)
    """A seed redraws the training order, the adapters' initial values and what controls draw at random."""
    role: Literal["solver", "decomposer"] = "solver"
    """Which half the students take; the recipe is that half's."""
    partner: Literal["llm", "none"] = "llm"
    """Who takes the other half: the LLM, or (for solvers) nobody, in a single stage."""

    @model_validator(mode="after")
    def _decomposers_need_a_solver(self) -> Self:
        if self.role == "decomposer" and self.partner == "none":
            raise ValueError("a decomposer needs a partner that solves: llm")
        return self

    @model_validator(mode="after")
    def _once_each(self) -> Self:
        for kind, listed in (("method", self.names), ("seed", self.seeds)):
            if twice := [one for i, one in enumerate(listed) if one in listed[:i]]:
                raise ValueError(f"{kind} {twice[0]} is listed twice")
        return self


class CurveSettings(Settings):
    """Learning curves: each track is distilled at several budgets."""

    tokens: tuple[int, ...] = ()
    """Training tokens; each is a training of its own, since the learning rate falls to the end of a budget."""
    tracks: tuple[Track, ...] = ("decomposer", "solver", "single")
    """Decomposers are followed by the LLM, solvers follow it, single-stage students answer alone."""
    seeds: tuple[int, ...] = Field(default=(0,), min_length=1)
    """As in `methods.seeds`."""

    @model_validator(mode="after")
    def _grow(self) -> Self:
        if any(tokens <= 0 for tokens in self.tokens) or sorted(set(self.tokens)) != list(self.tokens):
            raise ValueError("curve.tokens are budgets that grow, each listed once")
        return self


class Study(Settings):
    """Everything that decides a study's numbers, and how its models are reached."""

    seed: int = Field(default=0, ge=0, lt=2**32)
    """Redraws the training order, the adapters' initial values and the samples."""
    train: Annotated[AnySource | TracesSource, Field(discriminator="source")]
    """The questions that the teacher's traces are collected on, or traces that are there already."""
    tests: dict[str, Source] = Field(min_length=1)
    """The questions that cells are compared on, by name."""
    reproducible: bool = Field(default=False, json_schema_extra=OPERATIONAL)
    """Generate and train with kernels that give the same bytes on every x86-64 processor and with any number of threads
    (`lm/local/environment.py`); docs/reliability.md measures how much longer it takes. Only for models that
    `transformers` runs here, on the processor; `--reproducible` sets it."""
    allow_overlap: bool = False
    """Go on although test questions stand among the training questions, word for word."""
    max_usd: float | None = Field(default=None, gt=0, json_schema_extra=OPERATIONAL)
    """Dollars that may be spent, on all that the store holds; a run stops before it might pass it, and goes on where it
    stopped under a larger one. None is no limit."""
    store: Path | None = Field(default=None, json_schema_extra=OPERATIONAL)
    """A store that several runs share, so that none of them buys what another has; None is the run's own."""
    relocate: dict[str, str] = Field(default_factory=dict, json_schema_extra=OPERATIONAL)
    """Servers that have moved since the run began, the old base URL first: samples that were bought there stay the
    run's. `--relocate OLD=NEW` sets it."""
    llm: ModelSettings
    """The large model: the teacher, and the LLM of the grid."""
    student: StudentSettings
    """The small base model that is distilled, once for each phase."""
    models: dict[str, ModelSettings] = Field(default_factory=dict)
    """More models for the grid, by a name of your own: one decomposer before several LLMs, say."""
    prompts: PromptNames = PromptNames()
    """What the models are asked with."""
    decompose: DecomposeSettings = DecomposeSettings()
    """The phase that writes sub-questions."""
    solve: SolveSettings = SolveSettings()
    """The phase that answers them."""
    collect: CollectSettings = CollectSettings()
    """The teacher's traces."""
    distill: DistillSettings = DistillSettings()
    """The two students."""
    grid: GridSettings = GridSettings()
    """What is evaluated."""
    methods: MethodsSettings = MethodsSettings()
    """Methods that are compared."""
    curve: CurveSettings = CurveSettings()
    """Budgets that every track is trained at."""

    def model(self, spec: SolverSpec) -> ModelSettings | StudentSettings:
        """How a model of the grid is reached: the LLM, one of `models`, or whatever stands on the student's base."""
        return self.llm if spec == LLM else self.models.get(str(spec), self.student)

    def stages_taught(self, solver: SolverSpec) -> frozenset[Stage] | None:
        """The prompts that a solver has learned to be asked with, as far as the config says; None is any."""
        return solver.stages_taught(self.distill.single.target) if isinstance(solver, UseStudent) else None

    @property
    def asks_logprobs(self) -> bool:
        """Whether a vote needs to know how probable a sample is."""
        return self.grid.asks("probability", "certainty") or (self.grid.asks("rank") and self._ranker_weighs_logprobs)

    @property
    def _ranker_weighs_logprobs(self) -> bool:
        backbone = self.distill.ranker.backbone
        return isinstance(backbone, Features) and "log-probability" in backbone.names

    @model_validator(mode="after")
    def _grid_names_are_known(self) -> Self:
        if ALL in self.tests:
            raise ValueError(f"a test cannot be called {ALL!r}: tables call all tests together so")
        try:
            for name in self.models:
                check_model(name)
            for name in self.grid.decomposers:
                check_decomposer(name, self.models)
            for name in (*self.grid.solvers, *self.grid.interactive):
                check_solver(name, self.models)
            if self.train.source != "traces":  # what imported traces teach is seen when they are read
                for solver in self.grid.solver_specs:
                    check_format(solver, self.stages_taught(solver), self.grid.decomposer_specs)
        except ConfigError as error:
            raise ValueError(f"grid: {error}") from None
        return self

    @model_validator(mode="after")
    def _logprobs_are_there_to_learn_from(self) -> Self:
        if self._ranker_weighs_logprobs and (self.train.source == "traces" or not self.collect.logprobs):
            raise ValueError("the ranker looks at log-probability, which only a collecting with logprobs: true knows")
        return self

    @model_validator(mode="after")
    def _only_a_student_is_priced_by_its_share(self) -> Self:
        if isinstance(self.llm.price, SharePriceSettings):
            raise ValueError("llm.price cannot be like the LLM's own; give its rates")
        for name, model in self.models.items():
            if isinstance(model.price, SharePriceSettings):
                raise ValueError(f"models.{name}.price: only a student is priced {{like: llm}}; give its rates")
        if isinstance(self.student.price, SharePriceSettings) and isinstance(self.llm.price, MachinePrice):
            raise ValueError("student.price {like: llm} is a share of a price by tokens; llm.price is a machine's")
        return self

    @model_validator(mode="after")
    def _certainty_is_offered(self) -> Self:
        for solver in self.grid.solver_specs:
            engine = self.model(solver).engine
            if self.grid.asks("certainty") and engine != "transformers":
                raise ValueError(
                    f"votes by certainty need whole predictions, which the engine of the {solver} solver ({engine}) "
                    "does not give; leave them out of grid.votes"
                )
        return self

    @model_validator(mode="after")
    def _reproducible_models_run_here(self) -> Self:
        for name, model in {"llm": self.llm, "student": self.student, **self.models}.items():
            if self.reproducible and isinstance(model, VLLMSettings):
                raise ValueError(f"reproducible: true needs engine transformers, and {name}.engine is vllm")
            if self.reproducible and isinstance(model, LocalSettings) and model.device not in ("auto", "cpu"):
                raise ValueError(f"reproducible: true needs the processor, and {name}.device is {model.device!r}")
        return self

    @model_validator(mode="after")
    def _vllm_can_load_the_students(self) -> Self:
        if not isinstance(self.student, VLLMSettings):
            return self
        for track in get_args(Track):
            recipe, who = self.distill.recipe(track), "single-stage student" if track == "single" else track
            if any(METHODS[name].output == "nat" for name in METHODS.keys() & self._methods_of(track)):
                raise ValueError(f"vLLM cannot serve a NAT student, which the {who} is to be; distil by nce instead")
            if isinstance(recipe.tuning, Full) and self.student.served:
                raise ValueError(f"student.served holds adapters, and the {who} is to be a whole model (tuning: full)")
            if isinstance(recipe.tuning, Lora) and recipe.tuning.rank > self.student.rank:
                raise ValueError(
                    f"student.rank is {self.student.rank}, and the {who}'s adapter has {recipe.tuning.rank}"
                )
        return self

    def _methods_of(self, track: Track) -> set[str]:
        """Every method that a student of a track is distilled by."""
        listed = {*(self.methods.names if track == self.methods.role else ())}
        of_track = [spec for spec in self.grid.solver_specs if isinstance(spec, UseStudent) and spec.track == track]
        listed |= {method for spec in of_track if (method := spec.recipe_changes.get("method"))}
        return {self.distill.recipe(track).method, *listed}

    def limited(self, questions: int | None) -> Study:
        """The same study with at most so many training questions, and as many of each test."""
        if questions is None:
            return self

        def cut(source: Any) -> Any:
            return source.model_copy(update={"max_questions": min(questions, source.max_questions or questions)})

        return self.model_copy(
            update={"train": cut(self.train), "tests": {name: cut(source) for name, source in self.tests.items()}}
        )


AnyConfig = str | os.PathLike[str] | Mapping[str, Any]
"""A file, the name of a shipped study, or the settings themselves."""


def find(config: AnyConfig) -> Path:
    """The file of a config given by path or by the name of a shipped one. Raises ConfigError when there is none."""
    if isinstance(config, Mapping):
        raise ConfigError("settings that are given as they are lie in no file")
    config = os.fspath(config)
    path = Path(config)
    try:
        if path.is_file():
            return path
        if shipped := configs.path(config):
            return shipped
    except OSError as error:  # a name too long, say
        raise ConfigError(f"cannot read the config {config[:60]}: {error.strerror}") from error
    raise ConfigError(f"no config {config}; give a file, or one of {', '.join(configs.names())}")


def load(config: AnyConfig, overrides: Sequence[str] = ()) -> Study:
    """The study in a file, or of settings as they are, with dotted overrides (`grid.samples=8`) put over it."""
    if isinstance(config, Mapping):
        values = copy.deepcopy(dict(config))
        for each in overrides:
            strict.override(values, each)
        return parse(values, "the config")
    path = find(config)
    return parse(strict.read(path, overrides), str(path))


def parse(values: Any, where: str) -> Study:
    """The study that these values describe. Raises ConfigError for the first thing wrong with them."""
    return strict.check(Study, values, where)


def differences(old: Study, new: Study) -> list[str]:
    """The dotted names of the settings in which two studies differ."""
    a, b = flat(old), flat(new)
    return sorted(key for key in a.keys() | b.keys() if a.get(key) != b.get(key))


def flat(study: Study) -> dict[str, Any]:
    """Every setting by its dotted name."""
    return _flat(study.model_dump(mode="json"))


def dump(study: Study) -> str:
    """The study as YAML, defaults and all."""
    return yaml.safe_dump(study.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def _flat(values: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(values, dict):
        return {k: v for key, value in values.items() for k, v in _flat(value, f"{prefix}{key}.").items()}
    return {prefix.rstrip("."): values}


def decides_results(key: str) -> bool:
    """Whether a setting, by its dotted name, decides what the cells of a grid answer.

    Operational settings do not, nor do rules that are replayed on samples, nor what methods and learning curves list.
    """
    return not (is_operational(key) or key in ("grid.stops", "grid.reader") or key.startswith(("curve.", "methods.")))


def is_operational(key: str) -> bool:
    """Whether a setting, by its dotted name, decides only how models are run and not what they say.

    Such settings may change in the middle of a run.
    """
    first, _, rest = key.partition(".")
    if is_marked_operational(Study, first):  # or what a mapping of that name holds
        return True
    models = (TransformersSettings, VLLMSettings, OpenAISettings) if first in ("llm", "student", "models") else ()
    name = rest.partition(".")[2] if first == "models" else rest
    return any(is_marked_operational(model, name) for model in models)
