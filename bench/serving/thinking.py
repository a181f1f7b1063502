"""A real model made to think aloud, through study, plug and endpoint: no thought may go where only replies belong.

    python -m bench.serving.thinking URL MODEL TRAIN TEST STUDENT > docs/results/thinking.md

URL is an OpenAI-compatible server of MODEL that sends blocks of reasoning in its text, as `vllm serve` does without a
reasoning parser. Prompts ask for such blocks. A proxy keeps every request and every text as the server sent it; with
the blocks cut out of these by hand, the study's cells are answered a second time, without divcon's own splitting.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import openai

import divcon
from divcon import commands, prompts
from divcon.decompose import PromptedDecomposer
from divcon.decompose.decomposition import Decomposition
from divcon.distill.traces import trace as traces
from divcon.eval.config import load
from divcon.eval.grid.rows import Results
from divcon.eval.render.table import markdown
from divcon.eval.run_dir import RunDirectory
from divcon.lm import Completion, Message, Model, Store, Usage
from divcon.lm.engines.scripted import Scripted
from divcon.solve.grading.grade import grade
from divcon.solve.prompted import PromptedSolver, read_solution
from divcon.studies import prompting
from divcon.tasks import Question

INSTRUCTION = (
    "Write <think>, then at most three short sentences of thought, then </think>. "
    "After </think> write your whole reply, as it is asked for above."
)
PROMPTS = ("decompose-always", "next", "solve", "cot", "step", "finish")
LONG = 40
"""Characters of a line of thought that is looked for elsewhere; shorter ones occur by chance."""


# -- what the server is sent, and what it says -------------------------------------------------------------------------


@dataclass
class Exchanges:
    """Every exchange with the server, as it was on the wire."""

    texts: dict[tuple[Message, ...], list[str]] = field(default_factory=dict)
    """What the server wrote, by the conversation that it was sent."""
    file: Path = Path("runs/thinking-exchanges.jsonl")
    """Each exchange, a line of JSON."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, body: dict[str, Any], texts: Iterable[str]) -> None:
        asked = tuple(Message(turn["role"], turn["content"]) for turn in body["messages"])
        with self.lock:
            self.texts.setdefault(asked, []).extend(said := list(texts))
            with self.file.open("a", encoding="utf-8") as out:
                out.write(json.dumps({"asked": asked, "said": said}, ensure_ascii=False) + "\n")

    @property
    def all(self) -> list[str]:
        return [text for texts in self.texts.values() for text in texts]


@contextmanager
def recording(url: str, exchanges: Exchanges) -> Iterator[str]:
    """A proxy before a server, on a port of this machine."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # the library's name
            sent = self.rfile.read(int(self.headers["content-length"]))
            with httpx.Client(timeout=None).stream(
                "POST", url + self.path, content=sent, headers={"content-type": "application/json"}
            ) as reply:
                self.send_response(reply.status_code)
                self.send_header("content-type", reply.headers["content-type"])
                self.end_headers()
                heard = b""
                for piece in reply.iter_raw():
                    heard += piece
                    self.wfile.write(piece)
            if reply.status_code == 200:
                exchanges.add(json.loads(sent), texts_of(heard))

        def log_message(self, format: str, *args: Any) -> None:  # the library's name
            pass

    class Server(ThreadingHTTPServer):
        request_queue_size = 128  # a study opens many connections at once

    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()


def texts_of(body: bytes) -> list[str]:
    """The texts in a reply, whole or in pieces."""
    if not body.startswith(b"data:"):
        return [choice["message"]["content"] or "" for choice in json.loads(body)["choices"]]
    texts: dict[int, str] = {}
    for line in body.decode().splitlines():
        if line.startswith("data: {"):
            for choice in json.loads(line[6:])["choices"]:
                texts[choice["index"]] = texts.get(choice["index"], "") + (choice["delta"].get("content") or "")
    return list(texts.values())


def cut(text: str) -> str:
    """A text without its blocks of reasoning, as one would cut them by hand; one that never closes ends the text."""
    return re.sub(r"<think>.*?(</think>|\Z)", "", text, flags=re.DOTALL).strip()


def thoughts(exchanges: Exchanges) -> set[str]:
    """The long lines of reasoning that stand in no reply, and in nothing that the server was sent before it thought."""
    blocks = [
        block for text in exchanges.all for block in re.findall(r"<think>(.*?)(?:</think>|\Z)", text, flags=re.DOTALL)
    ]
    lines = {line for block in blocks for each in block.splitlines() if len(line := each.strip()) >= LONG}
    replies = [cut(text) for text in exchanges.all]
    questions = [turn.content for asked in exchanges.texts for turn in asked[:1]]
    return {line for line in lines if not any(line in text for text in (*replies, *questions))}


# -- the study, and the same by hand -----------------------------------------------------------------------------------


def write_prompts(folder: Path) -> None:
    """The shipped prompts, and behind each the order to think aloud; and the family of an endpoint."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in PROMPTS:
        (folder / f"{name}.md").write_text(f"{prompts.load(name).text}\n\n{INSTRUCTION}\n", encoding="utf-8")


def settings(given: argparse.Namespace, url: str, folder: Path) -> dict[str, Any]:
    """The study: few questions, every way to ask them, students that are hardly taught."""
    taught = {"data": "all", "max_train_tokens": 4000, "batch_size": 4, "micro_batch_size": 2}
    named = {name: str(folder / f"{name}.md") for name in ("next", "solve", "step", "finish")}
    named |= {"decompose": str(folder / "decompose-always.md"), "single_stage": str(folder / "cot.md")}
    return {
        "train": {"source": "gsm8k", "path": given.train, "max_questions": given.questions},
        "tests": {"GSM8K": {"source": "gsm8k", "path": given.test, "max_questions": given.questions}},
        "llm": {"engine": "openai", "base_url": f"{url}/v1", "model": given.model, "concurrency": 32, "timeout": 3600},
        "student": {"engine": "transformers", "path": given.student},
        "prompts": named,
        "decompose": {"max_subquestions": 2, "max_tokens": 200},
        "solve": {"max_tokens": 250},
        "collect": {"decompositions": 1, "solutions": 1, "temperature": 0.7},
        "distill": {"decomposer": taught, "solver": taught},
        "grid": {"decomposers": ["none", "llm"], "solvers": ["llm"], "samples": 2},
    }


def by_hand(text: str) -> Completion:
    """A text of the server as a completion that holds nothing but its reply."""
    return Completion(cut(text), "stop", Usage())


@dataclass
class ByHand:
    """The study's prompts, and what the server answered them, the blocks cut out."""

    exchanges: Exchanges
    decomposer: PromptedDecomposer
    solver: PromptedSolver

    def decomposition(self, question: Question) -> Decomposition:
        (text,) = set(self.exchanges.texts[self.decomposer.request(question).messages])
        return self.decomposer.read(by_hand(text))

    def verdicts(self, question: Question, cell: str) -> list[str]:
        """The verdicts of all that the solver said in a cell: greedily or by sampling, in one list."""
        made = self.decomposition(question) if cell == "llm" else None
        request = self.solver.request(question, made.subquestions if made else (), made.stage if made else None)
        answers = [read_solution(by_hand(text), question).answer for text in self.exchanges.texts[request.messages]]
        return [str(verdict) for verdict in grade((answer, question) for answer in answers)]


def compared(results: Results, hand: ByHand, questions: dict[str, Question]) -> list[list[str]]:
    """Right answers of each decomposer's cells: the study's, and those that were graded by hand."""
    rows = []
    for name in ("none", "llm"):
        ours: Counter[str] = Counter()
        theirs: Counter[str] = Counter()
        differ = 0
        for question_id, question in questions.items():
            of = [row for row in results if str(row.cell.decomposer) == name and row.id == question_id]
            said = sorted(verdict for row in of for verdict in row.verdicts)
            again = sorted(hand.verdicts(question, name))
            ours.update(said)
            theirs.update(again)
            differ += said != again
        total = sum(ours.values())
        rows.append([name, str(total), str(ours["right"]), str(theirs["right"]), str(differ)])
    return rows


# -- plug and endpoint -------------------------------------------------------------------------------------------------


@contextmanager
def endpoint(decomposer: Path, upstream: str, model: str, folder: Path) -> Iterator[str]:
    """`divcon serve` before the proxy."""
    said = [f"--set=upstream.prompts={folder}", "--port=8377", f"--model={model}"]
    command = [
        sys.executable,
        "-m",
        "divcon",
        "serve",
        f"--decomposer={decomposer}",
        f"--upstream={upstream}/v1",
        *said,
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        for _ in range(300):
            time.sleep(1)
            try:
                if httpx.get("http://127.0.0.1:8377/healthz").status_code == 200:
                    break
            except httpx.HTTPError:
                continue
        yield "http://127.0.0.1:8377/v1"
    finally:
        process.terminate()
        process.wait()


def streamed(client: openai.OpenAI, model: str, question: Question) -> str:
    """The text of a streamed answer, put together."""
    turns: Any = [{"role": "user", "content": question.text}]
    chunks = client.chat.completions.create(model=model, messages=turns, temperature=0, max_tokens=250, stream=True)
    return "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)


# -- the report --------------------------------------------------------------------------------------------------------


def found_in(texts: Iterable[str], thought: set[str]) -> tuple[int, int, int]:
    """Texts, those with a tag of reasoning in them, those with a line of thought."""
    plain = [text.replace(INSTRUCTION, "") for text in texts]
    tagged = sum("<think>" in text or "</think>" in text for text in plain)
    return len(plain), tagged, sum(any(line in text for line in thought) for text in plain)


def places(
    run: Path, results: Results, exchanges: Exchanges, plugged: Sequence[str], heard: Sequence[str]
) -> dict[str, list[str]]:
    """All texts in which only replies belong."""
    collected = traces.read(RunDirectory(run).traces)
    return {
        "sub-questions": [one for row in results for one in row.subquestions],
        "solutions, which are graded and voted on": [text for row in results for text in row.solutions],
        "what the server was sent (sub-questions, earlier steps)": [
            t.content for asked in exchanges.texts for t in asked
        ],
        "traces, which students learn from": [text for t in collected for text in (*t.subquestions, t.solution)],
        "plug": list(plugged),
        "endpoint, stream": list(heard),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("url", "model", "train", "test", "student"):
        parser.add_argument(name)
    parser.add_argument("--questions", type=int, default=40)
    given = parser.parse_args()
    run, folder, exchanges = Path("runs/thinking"), Path("runs/thinking-prompts"), Exchanges()
    for old in (run, run.with_name("thinking-steps")):
        shutil.rmtree(old, ignore_errors=True)  # what is in its store the proxy would not hear again
    exchanges.file.unlink(missing_ok=True)
    write_prompts(folder)
    with recording(given.url.removesuffix("/v1"), exchanges) as url:
        config = settings(given, url, folder)
        path = folder / "study.yaml"
        path.write_text(json.dumps(config), encoding="utf-8")
        commands.study(path, run=run)
        study, results = load(path), divcon.Run(run).results
        questions = {question.id: question for question in study.tests["GSM8K"].load()}
        with Store() as store:
            nobody = Model("by hand", Scripted(), store)
            hand = ByHand(exchanges, prompting.decomposer(study, nobody), prompting.solver(study, nobody))
            table = compared(results, hand, questions)
        one_by_one = ["grid.decomposers=[interactive-llm]", "grid.samples=0"]
        stepwise = commands.evaluate(path, overrides=one_by_one, run=run.with_name("thinking-steps")).rows
        every = list(questions.values())
        client = openai.OpenAI(base_url=f"{url}/v1", api_key="none")
        with Store() as store:
            decomposer = prompting.decomposer(study, Model("llm", study.llm.open(), store))
            asked = {"temperature": 0, "max_tokens": 250}
            plugged = divcon.plug(decomposer, client, given.model, prompts=str(folder), request=asked)
            answers = plugged.answers([question.text for question in every])
        with endpoint(run / "decomposer", url, given.model, folder) as at:
            caller = openai.OpenAI(base_url=at, api_key="none")
            with ThreadPoolExecutor(16) as pool:
                heard = list(pool.map(partial(streamed, caller, given.model), every))
    thought = thoughts(exchanges)
    blocks = sum("</think>" in text for text in exchanges.all)
    rows = [
        [place, *map(str, found_in(texts, thought))]
        for place, texts in places(
            run, Results([*results, *stepwise]), exchanges, [answer.solution for answer in answers], heard
        ).items()
    ]
    print(f"""# A model made to think, through study, plug and endpoint

`make -C bench thinking`, {date.today()}, seed 0: {given.model}, {given.questions} questions of GSM8K. The server wrote
{len(exchanges.all):,} texts, {blocks:,} of them with a block of reasoning. {len(thought):,} lines of thought of
{LONG} characters or more are in no reply and in no question. They, and tags, were looked for wherever only replies
belong:

{markdown((["place", "texts", "with a tag", "with a line of thought"], rows))}
Verdicts of the study's cells, and of the same texts with the blocks cut out by hand:

{markdown((["decomposer", "solutions", "right, study", "right, by hand", "questions that differ"], table))}""")


if __name__ == "__main__":
    main()
