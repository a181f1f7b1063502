"""Measures the two models of the miniature world: `python -m bench.miniature.measure llm|base`."""

from __future__ import annotations

import argparse
import random
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from divcon import prompts
from divcon.core.terminal import echo
from divcon.tasks.miniature import model_dir
from divcon.tasks.miniature.exercises import KINDS
from divcon.tasks.miniature.formats import numbered
from divcon.tasks.miniature.grade import decomposition_is_right
from divcon.tasks.miniature.splits import SPLITS, questions
from divcon.tasks.miniature.tokenizer import prompt
from divcon.tasks.question import Question

TEMPERATURE = 1.0
"""Where the study samples the LLM."""

SAMPLES = 8


class Model:
    """A model that replies to batches of messages, in fp32."""

    def __init__(self, directory: Path) -> None:
        self.tokenizer = PreTrainedTokenizerFast.from_pretrained(
            directory, padding_side="left", trust_remote_code=False
        )
        self.model = LlamaForCausalLM.from_pretrained(
            directory, dtype=torch.float32, use_safetensors=True, trust_remote_code=False
        )

    @torch.inference_mode()
    def __call__(self, users: Sequence[str], temperature: float = 0.0, batch: int = 64) -> list[str]:
        """One reply per message, greedy at temperature 0."""
        replies: dict[int, str] = {}
        order = sorted(range(len(users)), key=lambda place: len(users[place]))
        sampling: dict[str, Any] = {"temperature": temperature, "top_k": 0} if temperature else {}
        for start in range(0, len(order), batch):
            places = order[start : start + batch]
            chats = [prompt(users[place]) for place in places]
            inputs = self.tokenizer(chats, padding=True, add_special_tokens=False, return_tensors="pt")
            out = self.model.generate(**inputs, max_new_tokens=96, do_sample=temperature > 0, **sampling)
            texts = self.tokenizer.batch_decode(out[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
            replies.update(zip(places, texts, strict=True))
        return [replies[place] for place in range(len(users))]


def subquestions(reply: str) -> list[str]:
    """The numbered lines of a reply."""
    return re.findall(r"^\d+\. (.+)$", reply, flags=re.MULTILINE)


def answer(reply: str) -> str | None:
    """The final answer of a reply; None when it has none."""
    found = re.findall(r"The answer is (\d+)\.", reply)
    return found[-1] if found else None


def ask(name: str, question: Question, asked: Sequence[str] = ()) -> str:
    """The message of one of the study's prompts; solving without sub-questions is the chain of thought."""
    if name == "solve" and not asked:
        name = "cot"
    fields = {"question": question.text} | ({"subquestions": numbered(asked)} if name == "solve" else {})
    return prompts.load(f"miniature/{name}").fill(**fields)


def wilson(right: int, n: int, z: float = 1.96) -> tuple[float, float]:
    """The 95 % Wilson interval of a share."""
    share, spread = right / n, z * z / n
    middle = share + spread / 2
    half = z * (share * (1 - share) / n + spread / n / 4) ** 0.5
    return (middle - half) / (1 + spread), (middle + half) / (1 + spread)


def measure_llm(model: Model, asked: Sequence[Question], temperature: float) -> Iterator[tuple[str, int, int]]:
    """Each figure of the LLM as its name, the number right and how many there were."""

    def right(replies: Sequence[str]) -> int:
        return sum(answer(reply) == question.answer for reply, question in zip(replies, asked, strict=True))

    n = len(asked)
    split = [subquestions(reply) for reply in model([ask("decompose", question) for question in asked])]
    yield "decompositions right", sum(map(decomposition_is_right, asked, split)), n
    solve = [ask("solve", question, parts) for question, parts in zip(asked, split, strict=True)]
    yield "decompose, then solve", right(model(solve)), n
    samples = [model(solve, temperature) for _ in range(SAMPLES)]
    yield f"a sample at temperature {temperature}", sum(map(right, samples)), n * SAMPLES
    votes = [[answer(reply) for reply in replies] for replies in zip(*samples, strict=True)]
    first = [Counter(vote for vote in cast if vote is not None).most_common(1) for cast in votes]
    majority = sum(bool(top) and top[0][0] == question.answer for top, question in zip(first, asked, strict=True))
    yield f"majority of {SAMPLES}", majority, n
    yield f"any of {SAMPLES}", sum(q.answer in cast for cast, q in zip(votes, asked, strict=True)), n
    yield "solve, gold sub-questions", right(model([ask("solve", q, q.subquestions) for q in asked])), n
    yield "chain of thought", right(model([ask("cot", question) for question in asked])), n
    yield "direct", right(model([ask("direct", question) for question in asked])), n


def measure_exercises(model: Model, n: int) -> Iterator[tuple[str, int, int]]:
    """How much of each kind of exercise `base` gets right to the last word."""
    rng = random.Random("other than those of the training")
    for kind in KINDS:
        chats = [kind(rng) for _ in range(n)]
        replies = model([chat.user for chat in chats])
        yield kind.__name__, sum(chat.reply == reply for chat, reply in zip(chats, replies, strict=True)), n


def measure_base(model: Model, asked: Sequence[Question]) -> Iterator[tuple[str, int, int]]:
    """What the student to be can do before it is taught."""
    split = [subquestions(reply) for reply in model([ask("decompose", question) for question in asked])]
    harder = [(question, parts) for question, parts in zip(asked, split, strict=True) if question.subquestions]
    yield "decompositions right", sum(decomposition_is_right(*pair) for pair in harder), len(harder)
    solved = model([ask("solve", question, question.subquestions) for question in asked])
    right = sum(answer(reply) == question.answer for reply, question in zip(solved, asked, strict=True))
    yield "solve, gold sub-questions", right, len(asked)


def show(group: str, rows: Iterator[tuple[str, int, int]]) -> None:
    """Print rows of the table as they come."""
    for figure, right, n in rows:
        low, high = wilson(right, n)
        line = f"| {group} | {figure} | {right} | {n} | {right / n:.1%} | {low:.1%} to {high:.1%} |"
        echo(line)


def main() -> None:
    """Print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=("llm", "base"))
    parser.add_argument("--model", type=Path, help="another directory than the shipped one")
    parser.add_argument("--splits", nargs="+", default=SPLITS[1:], choices=SPLITS)
    parser.add_argument("--questions", type=int, default=300)
    parser.add_argument("--temperature", type=float, default=TEMPERATURE)
    words = parser.parse_args()
    torch.manual_seed(0)
    model = Model(words.model or model_dir(words.name))
    echo("| facts-structure | figure | right | n | % | 95 % interval |\n|---|---|---:|---:|---:|---:|")
    for split in words.splits:
        asked = questions(split, words.questions)
        rows = measure_llm(model, asked, words.temperature) if words.name == "llm" else measure_base(model, asked)
        show(split, rows)
    if words.name == "base":
        show("exercise", measure_exercises(model, words.questions))


if __name__ == "__main__":
    main()
