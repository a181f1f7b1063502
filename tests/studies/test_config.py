"""A study's config: strict, with a helpful word."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from divcon import configs
from divcon.core.errors import ConfigError
from divcon.eval.config import differences, dump, find, is_operational, load, parse
from divcon.lm import Model, Store
from divcon.lm.types import Thinking
from divcon.studies import prompting
from divcon.studies.dry_run import plan
from divcon.tasks import Question, miniature


@pytest.mark.parametrize("name", configs.names())
def test_every_shipped_config_loads(name: str) -> None:
    study = load(name)
    assert load(name).model_dump() == study.model_dump()


def test_a_config_survives_being_written_out(tmp_path: Path) -> None:
    study = load("miniature")
    assert parse(yaml.safe_load(dump(study)), "again") == study


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("gird.samples=4", "unknown key 'gird'; did you mean 'grid'?"),
        ("grid.sample=4", "unknown key 'sample' under grid; did you mean 'samples'?"),
        ("llm.pth=x", "unknown key 'pth' under llm; did you mean 'path'?"),
        ("train.spilt=x", "unknown key 'spilt' under train; did you mean 'split'?"),
        ("distill.solver.tuning.rnk=2", "unknown key 'rnk' under distill.solver.tuning; did you mean 'rank'?"),
        ("distill.solver.learning_rat=2", "unknown key 'learning_rat' under distill.solver; did you mean 'learning"),
        ("tests.gsm8k={source: gsm8k, pth: x}", "unknown key 'pth' under tests.gsm8k; did you mean 'path'?"),
        ("grid.samples=many", "grid.samples: 'many' must be a whole number"),
        ("llm.concurrency=0", "llm.concurrency: 0 must be greater than 0"),
        ("llm.engine=vlm", "llm: engine 'vlm' is none of transformers, vllm, openai"),
        ("grid.solvers=[lmm]", "no solver 'lmm'; there are base, distilled"),
        ("llm.thinking=5", "llm.thinking: thinking is off, on, {budget: N} (tokens) or {effort: minimal, low, medium"),
        (
            "llm={engine: vllm, path: miniature/llm, thinking: {budget: 9}}",
            "llm: vLLM in this process keeps to no budget of reasoning: say thinking: on, take engine: transformers",
        ),
        ("llm.thinking={budget: 0}", "llm.thinking: a budget of 0 tokens: to reason not at all, say thinking: off"),
        ("llm={engine: openai, model: m, extra_body: {n: 2}}", "llm.extra_body: n is decided on by the engine"),
        ("llm={engine: openai, model: m, drop: [model]}", "llm.drop.0: 'model' is none of temperature"),
        ("seed=-1", "seed: -1 must be at least 0"),
        ("seed=2020-13-45", "not YAML"),
        ("distill.solver.micro_batch_size=3", "micro_batch_size 3 does not divide batch_size 32"),
        ("grid.solvers=[]", "grid.solvers: it must hold at least 1"),
        ("prompts.solve=cot", "prompt 'cot' cannot be solve: it has no place for {subquestions}"),
        ("prompts.single_stage=solve", "a single stage has none"),
        ("prompts.decompose=nonsense", "no prompt 'nonsense'"),
        ("llm={engine: openai, model: m, base_url: 'localhost:9'}", "llm.base_url: String should match"),
        ("samples=8", "unknown key 'samples'; did you mean 'grid.samples'?"),
        ("learning_rate=1", "unknown key 'learning_rate'; did you mean 'distill.decomposer.learning_rate'?"),
        ("distill.solver.lr=1", "unknown key 'lr' under distill.solver; did you mean 'learning_rate'?"),
        ("llm.model_name=x", "unknown key 'model_name' under llm; did you mean 'path'?"),
        ("teacher=x", "unknown key 'teacher'; did you mean 'llm'?"),
        ("grid.decomposers=llm", "grid.decomposers: 'llm' must be a list"),
        ("tests=5", "tests: 5 must be keys with values"),
        ("train.source=gsm9k", "train: source 'gsm9k' is none of miniature"),
        ("train={split: train}", "train: it must say its source"),
        ("grid.temperature=hot", "grid.temperature: 'hot' must be a number"),
        ("reproducible=perhaps", "reproducible: 'perhaps' must be true or false"),
        ("distill.solver.data=wrong", "distill.solver.data: 'wrong' is none of all, right"),
        ("seed", "not of the form key.key=value"),
        ("seed.x=1", "holds no keys"),
        ("seed=[", "not YAML"),
    ],
)
def test_what_is_wrong_is_named(override: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load("miniature", [override])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_override_reaches_any_depth() -> None:
    study = load("miniature", ["distill.solver.tuning.rank=3", "seed=7"])
    assert study.distill.solver.tuning.model_dump()["rank"] == 3 and study.seed == 7


def test_differences_are_named() -> None:
    assert differences(load("miniature"), load("miniature", ["grid.samples=9", "seed=1"])) == ["grid.samples", "seed"]


def test_a_limit_cuts_every_data_set() -> None:
    study = load("miniature").limited(5)
    assert study.train.max_questions == 5 and {source.max_questions for source in study.tests.values()} == {5}


def test_an_unknown_config_names_the_shipped_ones() -> None:
    with pytest.raises(ConfigError, match="miniature"):
        find("nonsense")


def test_an_empty_file_is_no_config(tmp_path: Path) -> None:
    (tmp_path / "empty.yaml").write_text("", encoding="utf-8")
    with pytest.raises(ConfigError, match="holds no settings"):
        load(str(tmp_path / "empty.yaml"))


def test_a_plan_counts_what_will_be_asked() -> None:
    asked = [Question(str(i), "How many?", "7") for i in range(20)]
    planned = plan(load("miniature", ["grid.samples=4"]), asked[:10], {"t": asked})
    samples = {stage.name: stage.samples for stage in planned.stages}
    assert samples["collect: solutions"] == 2 * samples["collect: decompositions"] == 20
    assert samples["collect: single-stage solutions"] == 20 and samples["decompose: distilled"] == 20
    assert samples["solve: none -> distilled-single"] == 20 * 5 and "solve: none -> distilled" not in samples
    assert samples["solve: llm -> distilled"] == 20 * 5
    assert "samples in all" in str(planned) and "$" not in str(planned)


def test_a_plan_counts_prompts_as_they_are_sent(tmp_path: Path) -> None:
    asked = miniature.questions("train", 5)
    with Store() as store:
        study = load("miniature")
        model = Model("llm", study.llm.open(), store)
        replies = model([prompting.decomposer(study, model).request(question) for question in asked])
    planned = plan(study, asked, {"t": asked}).stages[0]
    assert planned.prompt_tokens == sum(reply.usage.prompt_tokens for (reply,) in replies)
    (tmp_path / "examples.jsonl").write_text(
        '{"question": "How many pears?", "answer": "7", "subquestions": ["How many?"], "solution": "The answer is 7."}',
        encoding="utf-8",
    )
    shown = load("miniature", [f"prompts.examples={tmp_path / 'examples.jsonl'}"])
    assert plan(shown, asked, {"t": asked}).stages[0].prompt_tokens > planned.prompt_tokens


def test_a_plan_counts_turns_and_what_sharing_saves() -> None:
    asked = [Question(str(i), "How many?", "7") for i in range(10)]
    grid = [
        "grid.decomposers=[llm, interactive-llm]",
        "grid.solvers=[llm]",
        "grid.votes=[sc, prob_sum]",
        "grid.samples=4",
    ]
    planned = plan(load("miniature", grid), asked, {"t": asked})
    samples = {stage.name: stage.samples for stage in planned.stages}
    turns, ways = 4, 1 + 4  # decompose.max_subquestions; greedy and four samples
    assert samples["ask: interactive-llm -> llm"] == 10 * turns * ways
    assert samples["solve: interactive-llm -> llm"] == 10 * (turns + 1) * ways
    static = 10 * ((1 + 1) + 2 * (1 + 4))
    interactive = 10 * (turns + turns + 1) * (1 + 2 * 4)
    assert planned.unshared.each_vote == static + interactive
    assert f"{planned.unshared.each_vote:,}" in str(planned)


def test_a_plan_says_what_it_may_cost_where_there_is_a_price() -> None:
    asked = [Question(str(i), "How many?" * 40, "7") for i in range(10)]
    api = "llm={engine: openai, model: gpt-4o-mini, base_url: %s}"
    priced = plan(load("miniature", [api % "'https://api.openai.com/v1'"]), asked, {"t": asked})
    collecting = next(stage for stage in priced.stages if stage.name == "collect: solutions")
    least, most = collecting.dollars or (0, 0)
    assert 0 < least == pytest.approx(collecting.prompt_tokens * 0.15e-6)
    assert most - least == pytest.approx(collecting.tokens[1] * 0.6e-6) and collecting.tokens[0] == 0
    assert "(all at their limits)" in str(priced)
    apart = plan(load("miniature", [api % "'https://api.openai.com/v1', together: false"]), asked, {"t": asked})
    batched = plan(load("miniature", [api % "'https://api.openai.com/v1', batch_api: true"]), asked, {"t": asked})
    for each in (apart, batched):  # a batch has a request a sample
        assert each.stages[1].requests == 2 * priced.stages[1].requests == 20
    local = plan(load("miniature", [api % "'http://127.0.0.1:8000/v1'"]), asked, {"t": asked})
    assert "what the LLM costs is unknown: give it a price" in str(local)


@pytest.mark.parametrize(
    ("setting", "operational"),
    [
        ("max_usd", True),
        ("reproducible", True),
        ("llm.concurrency", True),
        ("student.device", True),
        ("models.gpt.batch_api", True),
        ("models.concurrency.model", False),
        ("llm.dtype", False),
        ("llm.price.prompt", False),
        ("distill.solver.batch_size", False),
        ("distill.solver.nce.cache", False),
        ("seed", False),
        ("no_such_setting", False),
    ],
)
def test_what_decides_only_how_models_are_run_is_marked_where_it_is_declared(setting: str, operational: bool) -> None:
    assert is_operational(setting) == operational


def test_a_problem_is_placed_by_the_keys_of_the_file_and_by_no_tag_of_a_union() -> None:
    for override, place in (
        ("tests.miniature={source: miniature, split: train, max_questions: 0}", "tests.miniature.max_questions: "),
        ("models.openai={engine: openai, model: m, attempts: 0}", "models.openai.attempts: "),
        ("distill.solver.tuning={kind: lora, rank: 0}", "distill.solver.tuning.rank: "),
        ("student.price={second: -1}", "student.price.second: "),
        ("distill.ranker.backbone={kind: features, width: 0}", "distill.ranker.backbone.width: "),
    ):
        with pytest.raises(ConfigError, match=re.escape(f": {place}")):
            load("miniature", [override])


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("off", Thinking(on=False)),
        ("on", Thinking(on=True)),
        ("'off'", Thinking(on=False)),
        ("{budget: 200}", Thinking(on=True, budget=200)),
        ("{effort: low}", Thinking(on=True, effort="low")),
        ("null", None),
    ],
)
def test_thinking_is_said_as_people_say_it_and_survives_being_written_out(said: str, meant: Thinking | None) -> None:
    study = load("miniature", [f"llm.thinking={said}", f"student.thinking={said}"])
    assert study.llm.thinking == study.student.thinking == meant
    assert parse(yaml.safe_load(dump(study)), "again") == study


LONG = "9\n" * 3000


@pytest.mark.parametrize(
    "values",
    [
        {LONG: 1},
        {"train": LONG},
        {"train": {"source": LONG}},
        {"train": {"source": "file", "path": "a", LONG: 1}},
        {"train": {"source": "file", "path": "a", "columns": {LONG: "a"}}},
        {"tests": {LONG: {"source": "none"}}},
        {"models": {LONG: {"engine": LONG}}},
        {"seed": 10**3000},
        {"seed": LONG},
        {"grid": {"votes": [LONG]}},
    ],
)
def test_whatever_a_config_holds_what_is_wrong_is_one_line(values: dict[str, object]) -> None:
    sound = {
        "train": {"source": "miniature", "split": "train"},
        "tests": {"t": {"source": "miniature", "split": "new-new"}},
        "llm": {"engine": "transformers", "path": "miniature/llm"},
        "student": {"engine": "transformers", "path": "miniature/base"},
    }
    with pytest.raises(ConfigError) as refused:
        parse(sound | values, "study.yaml")
    assert "\n" not in str(refused.value) and len(str(refused.value)) < 1000
