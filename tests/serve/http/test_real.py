"""The whole chain with real models: stock client, distilled decomposer, an upstream that solves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import openai
import pytest

import divcon
from divcon.core.errors import ConfigError
from divcon.distill.recipes import RankerRecipe
from divcon.serve.backends import loading
from divcon.serve.backends.decomposer import DecomposerService
from divcon.serve.pipeline.types import DecomposeRequest
from divcon.serve.settings import DecomposerSettings
from divcon.tasks import Question, sources

from ...fakes.chat_upstream import chatting
from ...fakes.serving import Served, serving

FEW = (
    "distill.decomposer.max_train_tokens=20000",
    "distill.solver.max_train_tokens=4000",
    "distill.single.max_train_tokens=4000",
    "collect.solutions=1",
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with two students that have learned little, by the same way as any other."""
    run = tmp_path_factory.mktemp("run")
    divcon.distill_student("miniature", "decomposer", limit=24, overrides=FEW, run=run)
    divcon.distill_student("miniature", "solver", limit=24, overrides=FEW, run=run)
    return run


@pytest.fixture(scope="module")
def solving() -> Iterator[Served]:
    with serving("--local", "miniature/llm") as served:
        yield served


@pytest.fixture(scope="module")
def serving_both(run: Path, solving: Served) -> Iterator[Served]:
    words = ("--decomposer", str(run / "decomposer"), "--upstream", solving.url, "--model", "llm")
    with serving(*words, sets={"upstream.prompts": "miniature"}) as served:
        yield served


@pytest.fixture
def client(serving_both: Served) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=serving_both.url, api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def questions() -> list[Question]:
    return sources.load(sources.named("miniature", Path("known-known"), 12))


def ask(client: openai.OpenAI, question: Question, **more: Any) -> Any:
    turns: Any = [{"role": "user", "content": question.prompt}]
    return client.chat.completions.create(model="llm", messages=turns, temperature=0, **more)


def ours(found: Any) -> dict[str, Any]:
    return dict(found.to_dict()["usage"]["divcon"])


def text_of(stream: Any) -> str:
    return "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)


def test_the_stock_client_gets_answers(client: openai.OpenAI, questions: list[Question]) -> None:
    found = [ask(client, question) for question in questions]
    texts = [each.choices[0].message.content for each in found]
    assert all(texts) and any("The answer is" in text for text in texts)
    assert all(each.usage.prompt_tokens > 0 for each in found)
    outcomes = {ours(each)["decomposition"] for each in found}
    assert outcomes <= {"asked", "not needed", "unreadable"}


def test_a_stream_is_the_same_answer_in_pieces(client: openai.OpenAI, questions: list[Question]) -> None:
    for question in questions[:4]:
        whole = ask(client, question)
        chunks = list(ask(client, question, stream=True, stream_options={"include_usage": True}))
        assert text_of(chunks) == whole.choices[0].message.content
        assert sum(1 for chunk in chunks if chunk.choices) > 3
        assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens
        assert ours(chunks[-1])["decomposition_id"] == ours(whole)["decomposition_id"]


def test_what_the_solver_reads_is_what_a_study_asks(client: openai.OpenAI, solving: Served) -> None:
    """With `upstream.prompts` the solver is asked in the words that it knows."""
    raw = openai.OpenAI(base_url=solving.url, api_key="none")
    question = Question("q", "Lena has 3 jars of maps. She buys 4 maps. How many maps does Lena have?", answer="31")
    found = ask(client, question)
    subquestions = ours(found)["subquestions"]
    if not subquestions:
        pytest.skip("this student asks nothing here")
    listed = "\n".join(f"{i}. {each}" for i, each in enumerate(subquestions, 1))
    from divcon.prompts import load

    prompt = load("miniature/solve").fill(question=question.prompt, subquestions=listed)
    direct = raw.chat.completions.create(
        model="llm", messages=[{"role": "user", "content": prompt}], temperature=0, max_tokens=512
    )
    assert direct.choices[0].message.content == found.choices[0].message.content
    raw.close()


@pytest.mark.parametrize("said", [{"mode": "interactive"}, {"mode": "off"}, {"k": 4}, {"mode": "interactive", "k": 2}])
def test_a_request_chooses_how_it_is_answered(
    client: openai.OpenAI, questions: list[Question], said: dict[str, Any]
) -> None:
    found = ask(client, questions[1], extra_body={"divcon": said})
    assert len(found.choices) == 1
    assert ("k" in said) == (ours(found)["share"] is not None)
    assert text_of(ask(client, questions[1], extra_body={"divcon": said}, stream=True))


def test_questions_that_come_together_are_decomposed_together(client: openai.OpenAI, serving_both: Served) -> None:
    fresh = sources.load(sources.named("miniature", Path("new-new"), 40))
    with ThreadPoolExecutor(20) as pool:
        list(pool.map(lambda question: ask(client, question, max_tokens=8), fresh))
    metrics = serving_both.get("/metrics").body.decode()
    figures = dict(line.rsplit(" ", 1) for line in metrics.splitlines() if not line.startswith("#"))
    batches, decomposed = (float(figures[f"divcon_decomposer_batch_size_{which}"]) for which in ("count", "sum"))
    assert decomposed / batches > 1.5


def test_both_phases_run_on_this_machine(run: Path, questions: list[Question]) -> None:
    words = ("--decomposer", str(run / "decomposer"), "--local", str(run / "solver"))
    with serving(*words, "--model", "mine") as served, openai.OpenAI(base_url=served.url, api_key="none") as client:
        turns: Any = [{"role": "user", "content": questions[0].prompt}]
        found = client.chat.completions.create(model="mine", messages=turns)
        assert ours(found)["answered_by"] == "local"
        assert client.models.list().data[0].id == "mine"


def test_a_cascade_asks_the_api_only_where_the_local_solver_disagrees(
    run: Path, solving: Served, questions: list[Question]
) -> None:
    words = ("--decomposer", str(run / "decomposer"), "--local", "miniature/llm", "--upstream", solving.url)
    sets = {"cascade.share": 1.0, "cascade.samples": 3, "upstream.prompts": "miniature", "cascade.temperature": 1.0}
    with (
        serving(*words, "--model", "llm", sets=sets) as served,
        openai.OpenAI(base_url=served.url, api_key="none") as client,
    ):
        found = [ours(ask(client, question)) for question in questions]
    agreed = [each["answered_by"] == "local" for each in found]
    assert [each["share"] for each in found] == [1 if each else None for each in agreed]
    assert any(agreed)


PICTURE = {"type": "image_url", "image_url": {"url": "data:"}}


def test_a_cascade_refuses_nothing_that_the_api_answers() -> None:
    beyond: list[dict[str, Any]] = [
        {"response_format": {"type": "json_object"}},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "What is this?"}, PICTURE]}]},
        {"messages": [{"role": "user", "content": "Tom has 3 apples. " * 200}]},
    ]
    with (
        chatting() as upstream,
        serving(
            *("--upstream", upstream.url, "--model", "m", "--local", "miniature/llm"), sets={"cascade.share": 0.01}
        ) as served,
    ):
        for fields in beyond:
            for stream in (False, True):
                reply = served.chat("How many?", stream=stream, **fields)
                assert (reply.status, reply.headers["x-divcon-answered-by"]) == (200, "upstream")


def test_a_decomposer_that_is_too_slow_is_done_without(run: Path, solving: Served, questions: list[Question]) -> None:
    words = ("--decomposer", str(run / "decomposer"), "--upstream", solving.url, "--model", "llm")
    with serving(*words, sets={"decomposer.timeout": 0.0001}) as served:
        reply = served.chat(questions[0].prompt, model="llm")
        assert (reply.status, reply.headers["x-divcon-decomposition"]) == (200, "failed")
    with serving(*words, sets={"decomposer.timeout": 0.0001, "decomposer.on_failure": "refuse"}) as served:
        reply = served.chat(questions[0].prompt, model="llm")
        assert (reply.status, reply.error["code"]) == (503, "decomposer_failed")


def test_a_student_is_opened_as_its_study_had_it(run: Path) -> None:
    modes = {file.stat().st_mode for file in (run / "decomposer").iterdir()}
    assert len(modes) == 1, "whoever may read its card may read its weights"
    opened = loading.opened(str(run / "decomposer"), "decomposer", None, 8)
    assert opened.adapter == run / "decomposer"
    asker = loading.asker(DecomposerSettings(path=run / "decomposer"), opened)
    assert asker.first.prompt.name == "miniature/decompose"
    assert asker.first.sampling.max_tokens == 96
    assert asker.prompt.name == "miniature/next"


def test_a_question_for_which_it_has_no_room_is_not_asked(run: Path) -> None:
    opened = loading.opened(str(run / "decomposer"), "decomposer", None, 8)
    decomposing = DecomposerService(loading.asker(DecomposerSettings(path=run / "decomposer"), opened))
    long, short = decomposing(
        [DecomposeRequest("Lena has 3 jars of maps. " * 100, 4), DecomposeRequest("Lena has 3 jars.", 4)]
    )
    assert (long.kind, long.usage.completion_tokens) == ("unreadable", 0)
    assert short.usage.completion_tokens > 0


RANKER = RankerRecipe().model_dump(mode="json")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"role": "ranker", "recipe": RANKER}, "is a distilled ranker, and no decomposer"),
        ({"base": "nowhere/at-all"}, "stands on the base nowhere/at-all"),
        ({"prompts": {"decompose": "0" * 64}}, "another text of the prompt decompose"),
        ({"prompts": {"gone": "0" * 64}}, "no prompt 'gone'"),
    ],
)
def test_a_student_that_cannot_be_asked_is_refused_in_a_sentence(
    run: Path, tmp_path: Path, change: dict[str, Any], sentence: str
) -> None:
    for file in (run / "decomposer").iterdir():
        if file.is_file():
            (tmp_path / file.name).write_bytes(file.read_bytes())
    card = json.loads((tmp_path / "divcon.json").read_text())
    del card["sha256"]  # it is changed on purpose
    (tmp_path / "divcon.json").write_text(json.dumps({**card, **change}))
    with pytest.raises(ConfigError, match=sentence):
        loading.asker(DecomposerSettings(path=tmp_path), loading.opened(str(tmp_path), "decomposer", None, 8))
