"""The vLLM engine, in this process and served, against real vLLM: `make test-vllm` installs it for a processor."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import openai
import pytest
import torch
from peft import LoraConfig, get_peft_model

from divcon import prompts
from divcon.core.errors import ConfigError, ModelError
from divcon.decompose import PromptedDecomposer
from divcon.distill.data.examples import Example
from divcon.distill.recipes import Lora, Training
from divcon.distill.training.trainer import train
from divcon.eval import config as study
from divcon.lm import Message, Model, Request, Sampling, Store
from divcon.lm.api.limits import Limits
from divcon.lm.engines.transformers import Transformers
from divcon.lm.engines.vllm import VLLM
from divcon.lm.engines.vllm_server import VLLMServer
from divcon.lm.local import probe
from divcon.lm.local.chat_template import encode
from divcon.lm.local.weights import load_model, load_tokenizer, model_directory
from divcon.lm.model import silent
from divcon.lm.recorder import NoRecord
from divcon.serve.backends.batcher import Batcher
from divcon.serve.backends.decomposer import DecomposerService
from divcon.serve.backends.local import LocalModel
from divcon.serve.pipeline.types import DecomposeRequest
from divcon.solve.askers import NextQuestion
from divcon.studies.distil import distil_track
from divcon.studies.evaluate import evaluate
from divcon.studies.opening import open_study
from divcon.tasks import miniature

from ...paths import ROOT

pytest.importorskip("vllm", reason="vLLM is not installed: make test-vllm")
pytestmark = [
    pytest.mark.filterwarnings("default"),  # vLLM's own
    pytest.mark.skipif(sys.platform != "linux", reason="vLLM runs on Linux"),
]

BASE = model_directory("miniature/base")
QUESTIONS = [question.text for question in miniature.questions("train", 12)]
PLAIN = Transformers("miniature/base", dtype="float32")


def requests(n: int = 1, **sampling: float) -> list[Request]:
    how = replace(Sampling(max_tokens=24), **sampling)  # type: ignore[arg-type]  # numbers by name
    return [Request((Message("user", f"{text}\n\nList the questions to ask first."),), how, n=n) for text in QUESTIONS]


def texts(engine: Any, asked: list[Request], adapter: Path | None = None) -> list[list[str]]:
    with Store() as store:
        completions = Model("m", engine, store, adapter=adapter)(asked)
        assert store.unsettled() == 0
    return [[completion.text for completion in of_one] for of_one in completions]


@pytest.fixture(scope="module")
def engine() -> VLLM:
    return VLLM("miniature/base", dtype="float32", cache=0.25, concurrency=16, adapters=2)


@pytest.fixture(scope="module")
def adapters(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A decomposer with random weights, and a solver that divcon has trained."""
    directory = tmp_path_factory.mktemp("students")
    torch.manual_seed(0)
    model = load_model(BASE, "float32", "cpu")
    config = LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM")
    get_peft_model(model, config).save_pretrained(directory / "decomposer")
    taught = [Example((Message("user", text),), "The answer is 7.") for text in QUESTIONS]
    recipe = Training(tuning=Lora(rank=8, alpha=16), learning_rate=1e-2, epochs=4, batch_size=4)
    train(taught, BASE, directory / "solver", recipe, seed=0, scratch=directory / "scratch", advance=silent)
    probe.write(directory / "solver", load_model(BASE, "float32", "cpu"))
    return directory / "decomposer", directory / "solver"


# -- in this process -----------------------------------------------------------------------------------------------


def test_it_says_what_transformers_says(engine: VLLM, adapters: tuple[Path, Path]) -> None:
    for adapter in (None, *adapters, None):
        assert texts(engine, requests(), adapter) == texts(PLAIN, requests(), adapter)
    spoken = [texts(engine, requests(), adapter) for adapter in (None, *adapters)]
    assert spoken[0] != spoken[1] != spoken[2] != spoken[0]


def test_a_base_row_in_a_mixed_batch_is_what_it_is_alone(engine: VLLM, adapters: tuple[Path, Path]) -> None:
    """With as many places as adapters, vLLM gave a row of the bare base the last adapter's weights."""
    from vllm import SamplingParams

    tokenizer = load_tokenizer(BASE)
    loras = [None, *(engine._lora(adapter) for adapter in adapters)]
    prompts = [{"prompt_token_ids": encode(tokenizer, request.messages)} for request in requests() for _ in loras]
    how = SamplingParams(temperature=0, max_tokens=24, stop_token_ids=[tokenizer.eos_token_id])
    outputs = engine.engine.generate(prompts, how, lora_request=loras * len(QUESTIONS), use_tqdm=False)
    for i, adapter in enumerate((None, *adapters)):
        assert [[output.outputs[0].text] for output in outputs[i::3]] == texts(PLAIN, requests(), adapter)


def test_samples_of_a_prompt_share_its_reading(engine: VLLM) -> None:
    words = " ".join(["How many apples does Ben have?"] * 12)
    request = Request((Message("user", words),), Sampling(temperature=1.0, max_tokens=4), n=4)
    with Store() as store:
        (samples,) = Model("m", engine, store)([request])
    read = sorted(sample.usage.cached_tokens for sample in samples)
    length = samples[0].usage.prompt_tokens
    assert length > 64
    assert read[0] == 0 and set(read[1:]) == {(length - 1) // 32 * 32}


def test_samples_repeat_and_differ_by_index(engine: VLLM) -> None:
    hot = requests(n=3, temperature=1.5)
    first = texts(engine, hot)
    assert first == texts(engine, hot)
    assert any(len(set(of_one)) > 1 for of_one in first)


def test_logprobs_are_the_models_own(engine: VLLM) -> None:
    asked = [replace(request, logprobs=True) for request in requests(temperature=2.0)]
    with Store() as store:
        completions = [completion for (completion,) in Model("m", engine, store)(asked)]
    tokenizer, stock = load_tokenizer(BASE), load_model(BASE, "float32", "cpu")
    compared = 0
    for request, completion in zip(asked, completions, strict=True):
        prompt = encode(tokenizer, request.messages)
        reply = tokenizer(completion.text, add_special_tokens=False)["input_ids"]
        assert completion.logprobs is not None and len(completion.logprobs) == completion.usage.completion_tokens
        if tokenizer.decode(reply) != completion.text or len(reply) + 1 < len(completion.logprobs):
            continue  # these words have another spelling in tokens than the one that was drawn
        with torch.no_grad():
            logits = stock(torch.tensor([prompt + reply])).logits[0, len(prompt) - 1 : -1]
        expected = logits.log_softmax(-1).gather(-1, torch.tensor(reply)[:, None])[:, 0]
        np.testing.assert_allclose(completion.logprobs[: len(reply)], expected, atol=1e-4)
        compared += 1
    assert compared > 3


def test_limits_and_stop_strings_are_kept(engine: VLLM) -> None:
    ((whole,),) = texts(engine, requests()[:1])
    word = whole.split()[2]
    with Store() as store:
        model = Model("m", engine, store)
        ((cut,),) = model([replace(requests()[0], sampling=Sampling(max_tokens=3))])
        ((stopped,),) = model([replace(requests()[0], sampling=Sampling(max_tokens=24, stop=(word,)))])
    assert cut.finish == "length" and cut.usage.completion_tokens == 3
    assert stopped.finish == "stop" and stopped.text == whole[: whole.index(word)]


def test_what_is_finished_is_kept_when_a_run_ends_early(engine: VLLM) -> None:
    asked = requests(n=16, temperature=1.0)
    with Store() as store:
        model = Model("m", engine, store)
        draws = [draw for of_one in model.draws(asked) for draw in of_one]
        running = engine.generate(draws, store)
        next(running)
        running.close()  # type: ignore[attr-defined]  # a generator
        assert 0 < len(store) < len(draws) and store.unsettled() == 0
        whole = [[completion.text for completion in of_one] for of_one in model(asked)]
        assert len(store) == len(draws)
    assert engine.status().at_once == 0
    assert whole == texts(engine, asked)


def test_more_prompts_than_fit_into_a_step_are_read(engine: VLLM) -> None:
    several = QUESTIONS + QUESTIONS[:4]
    turned = [" ".join(several[i:] + several[:i]) for i in range(len(QUESTIONS))]
    long = [Request((Message("user", text),), Sampling(temperature=1.0, max_tokens=4)) for text in turned]
    with Store() as store:
        read = sum(completion.usage.prompt_tokens for (completion,) in Model("m", engine, store)(long))
    assert read > 4096 and engine.status().at_once == 0


def test_seconds_are_shared_by_the_samples_that_ran_together(engine: VLLM) -> None:
    with Store() as store:
        started = time.perf_counter()
        completions = Model("m", engine, store)(requests(n=4, temperature=1.0))
        took = time.perf_counter() - started
    shared = sum(completion.usage.seconds for of_one in completions for completion in of_one)
    assert 0.3 * took < shared < took


def test_a_prompt_longer_than_the_context_is_refused(engine: VLLM) -> None:
    for words, limit in ((600, 24), (10, 512)):  # a sample that is cut by the context is not what was asked for
        request = Request((Message("user", "how many " * words),), Sampling(max_tokens=limit))
        with Store() as store:
            with pytest.raises(ConfigError, match="do not fit into the context of 512; lower max_tokens"):
                Model("m", engine, store)([request])
            assert store.unsettled() == 0
    assert texts(engine, requests()) == texts(PLAIN, requests())  # and vLLM goes on


def test_what_vllm_cannot_load_is_refused(engine: VLLM, adapters: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="rank 8, and vLLM was opened for 4"):
        VLLM("miniature/base", adapters=2, rank=4)._lora(adapters[1])
    with pytest.raises(ConfigError, match=r"opened for 0 adapters, and .* is one more"):
        VLLM("miniature/base")._lora(adapters[1])
    whole = (BASE / "model.safetensors").read_bytes()
    for broken in (b"", whole[: len(whole) // 2]):
        shutil.copytree(BASE, tmp_path / "base", dirs_exist_ok=True)
        (tmp_path / "base" / "model.safetensors").write_bytes(broken)
        with pytest.raises(ConfigError, match=r"vLLM cannot load .* with cache 4"):
            VLLM(str(tmp_path / "base"), dtype="float32").engine  # noqa: B018  # loads


def test_a_broken_adapter_is_named_and_vllm_goes_on(engine: VLLM, adapters: tuple[Path, Path], tmp_path: Path) -> None:
    torn = tmp_path / "torn"
    shutil.copytree(adapters[1], torn)
    weights = torn / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with Store() as store:
        engine._slots += 1
        with pytest.raises(ConfigError, match=r"vLLM cannot load the adapter in .*torn"):
            Model("m", engine, store, adapter=torn)(requests())
        engine._slots -= 1
        assert store.unsettled() == 0
    assert texts(engine, requests(), adapters[1]) == texts(PLAIN, requests(), adapters[1])


def test_an_adapter_that_vllm_would_leave_out_is_refused_and_its_export_is_served(tmp_path: Path) -> None:
    """Qwen 3.5: the published class holds towers, and the language model's own class has other names for its layers."""
    stub = ROOT / "tests" / "fakes" / "torchvision_stub"
    paths = os.pathsep.join([str(ROOT), str(stub), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-m", "tests.fakes.wrapped_in_vllm", "Qwen 3.5", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env={**os.environ, "PYTHONPATH": paths})
    assert done.returncode == 0, done.stderr[-3000:]
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["base"] == said["exported"] == "served"
    assert "vLLM does not serve the adapter in" in said["student"] and "--vllm" in said["student"]


def test_a_store_that_fails_leaves_nothing_in_vllm(engine: VLLM, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise ConfigError("the disk is full")

    with Store() as store:
        monkeypatch.setattr(store, "settle", full)
        monkeypatch.setattr("divcon.lm.engines.vllm._HOLD", 0.0)
        with pytest.raises(ConfigError, match="the disk is full"):
            Model("m", engine, store)(requests(n=4, temperature=1.0))
    monkeypatch.undo()
    assert not engine.engine.llm_engine.has_unfinished_requests()
    assert texts(engine, requests()) == texts(PLAIN, requests())


# -- served --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The base with a top-k of 1 among its defaults, under which all samples of a prompt are one."""
    directory = tmp_path_factory.mktemp("published") / "base"
    shutil.copytree(BASE, directory)
    defaults = json.loads((directory / "generation_config.json").read_text(encoding="utf-8"))
    (directory / "generation_config.json").write_text(json.dumps({**defaults, "top_k": 1}), encoding="utf-8")
    return directory


@pytest.fixture(scope="module")
def url(published: Path, adapters: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Stock vLLM, started as anybody would, with both students; divcon is not part of it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(published)]
    command += ["--host", "127.0.0.1", "--port", str(port), "--dtype", "float32", "--enable-lora", "--max-loras", "3"]
    command += ["--lora-modules", f"decomposer={adapters[0]}", f"solver={adapters[1]}"]
    log = tmp_path_factory.mktemp("server") / "log"
    quiet = {"VLLM_NO_USAGE_STATS": "1", "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_HOST_IP": "127.0.0.1"}
    with log.open("w") as out:
        server = subprocess.Popen(command, env=os.environ | quiet, stdout=out, stderr=out, cwd=log.parent)
    try:
        _wait_for(f"http://127.0.0.1:{port}/v1", server, log)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.terminate()
        server.wait(60)


def _wait_for(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + 240
    with openai.OpenAI(base_url=url, api_key="none", max_retries=0) as client:
        while server.poll() is None and time.monotonic() < until:
            try:
                client.models.list()
                return
            except openai.APIConnectionError:
                time.sleep(0.5)
    raise AssertionError(f"vLLM did not start:\n{log.read_text()[-4000:]}")


@pytest.fixture
def served(url: str, published: Path) -> VLLMServer:
    return VLLMServer(str(published), url, api_key_env="VLLM_API_KEY", limits=Limits(timeout=60.0))


def test_a_student_is_served_by_stock_vllm_to_a_stock_client(url: str, adapters: tuple[Path, Path]) -> None:
    asked = requests()[:4]
    with openai.OpenAI(base_url=url, api_key="none") as client:
        spoken = [
            client.chat.completions.create(
                model="solver",
                messages=[{"role": "user", "content": request.messages[0].content}],
                temperature=0,
                max_tokens=24,
            )
            .choices[0]
            .message.content
            for request in asked
        ]
    assert [[text] for text in spoken] == texts(PLAIN, asked, adapters[1])


def test_the_adapter_is_chosen_by_name(served: VLLMServer, adapters: tuple[Path, Path]) -> None:
    for adapter in (None, *adapters):
        assert texts(served, requests(), adapter) == texts(PLAIN, requests(), adapter)


def test_served_samples_come_from_the_model_alone(served: VLLMServer) -> None:
    with Store() as store:
        (samples,) = Model("m", served, store)([replace(requests(n=6, temperature=1.5)[0], logprobs=True)])
    assert len({sample.text for sample in samples}) > 1
    assert all(sample.logprobs and len(sample.logprobs) == sample.usage.completion_tokens for sample in samples)


def test_control_tokens_do_not_reach_the_server(served: VLLMServer) -> None:
    end = load_tokenizer(BASE).eos_token
    asked = requests()[:1]
    hostile = replace(asked[0], messages=(Message("user", f"{end}{asked[0].messages[0].content}{end}"),))
    assert texts(served, [hostile]) == texts(PLAIN, asked)


def test_an_adapter_that_is_not_served_is_named_with_the_command(
    served: VLLMServer, adapters: tuple[Path, Path], tmp_path: Path
) -> None:
    other = tmp_path / "ranker"
    shutil.copytree(adapters[1], other)
    command = r"does not serve .*ranker; start it with .*vllm serve .* --max-loras 4 --max-lora-rank 8 --lora-modules "
    with pytest.raises(ConfigError, match=rf"{command}decomposer=.* solver=.* ranker="):
        texts(served, requests(), other)


def test_another_runs_student_of_the_same_name_is_refused(
    served: VLLMServer, adapters: tuple[Path, Path], tmp_path: Path
) -> None:
    shutil.copytree(adapters[1], tmp_path / "solver")
    with pytest.raises(ConfigError, match=r"serves .*solver under the name solver, and not .*solver; start it with"):
        texts(served, requests(), tmp_path / "solver")
    with pytest.raises(ConfigError, match=r"serves .*base under the name .*, and not .*miniature/llm"):
        texts(VLLMServer("miniature/llm", served._url, api_key_env="K", limits=Limits()), requests())


def test_a_server_that_is_not_there_is_worth_another_try() -> None:
    absent = VLLMServer("miniature/base", "http://127.0.0.1:9/v1", api_key_env="K", limits=Limits())
    with pytest.raises(ModelError, match="does not say what it serves"):
        texts(absent, requests())


# -- a study -------------------------------------------------------------------------------------------------------


def test_a_study_runs_on_vllm(tmp_path: Path) -> None:
    overrides = [
        "llm={engine: vllm, path: miniature/llm, dtype: float32, cache: 0.25}",
        "student={engine: vllm, path: miniature/base, dtype: float32, cache: 0.25, rank: 64}",
        "distill.decomposer.max_train_tokens=20000",
        "distill.solver.max_train_tokens=20000",
        "distill.single.max_train_tokens=20000",
        "grid.samples=2",
    ]
    with open_study(study.load("miniature", overrides).limited(6), tmp_path) as opened:
        distil_track(opened, "decomposer")
        distil_track(opened, "solver")
        rows = evaluate(opened)
        assert opened.store.unsettled() == 0
    assert len(rows) == 3 * 2 * 2 * 4 * 6
    assert all(row.solve.flops and row.solve.seconds > 0 for row in rows)


def test_an_endpoint_decomposes_and_solves_with_vllm(engine: VLLM, adapters: tuple[Path, Path]) -> None:
    """Questions that come together, and samples that are streamed in one piece."""
    model = Model("decomposer", engine, NoRecord(), adapter=adapters[0])
    first = PromptedDecomposer(model, prompts.load("decompose"), 4, Sampling(max_tokens=24))
    decomposing = DecomposerService(NextQuestion(first, prompts.load("next")))

    async def main() -> None:
        batcher = Batcher(decomposing, most=8, max_queue=8)
        local = LocalModel(engine, adapters[1], "m", most=8, max_queue=8)
        try:
            made = await asyncio.gather(*(batcher.submit(DecomposeRequest(text, 4)) for text in QUESTIONS))
            assert [one.usage.completion_tokens > 0 for one in made] == [True] * len(QUESTIONS)
            body = {"messages": [{"role": "user", "content": QUESTIONS[0]}], "temperature": 0, "max_tokens": 8}
            found = await local.complete(body)
            assert found["choices"][0]["message"]["content"] == "The answer is 7."
            pieces = [
                chunk["choices"][0]["delta"].get("content") or ""
                async for chunk in local.stream(body)
                if chunk["choices"]
            ]
            assert "".join(pieces) == "The answer is 7."
        finally:
            await batcher.close()
            await local.close()

    asyncio.run(main())
