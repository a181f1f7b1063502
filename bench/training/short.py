"""One short training of the miniature base, as a process of its own: the adapter's SHA-256 and the seconds it took.

    python -m bench.training.short [TOKENS] [--reproducible | --unprepared]

With --unprepared nothing is set before torch is loaded. The replies are gold ones, so that nothing is generated first
and every processor trains on the same text.
"""

from __future__ import annotations

import hashlib
import sys
import tempfile
import time
from pathlib import Path

from divcon.lm.local import environment

TOKENS = 100_000


def train(tokens: int, folder: Path) -> str:
    """Train a decomposer on gold sub-questions; the SHA-256 of its adapter."""
    from divcon import prompts
    from divcon.distill.data.examples import Example
    from divcon.distill.recipes import DecomposerRecipe, Lora
    from divcon.distill.training.trainer import train
    from divcon.lm import Message
    from divcon.lm.local.weights import model_directory
    from divcon.tasks.miniature import splits

    prompt = prompts.load("miniature/decompose")
    questions = splits.questions("train", 400)
    examples = [
        Example(
            (Message("user", prompt.fill(question=question.prompt)),),
            "\n".join(f"{i}. {text}" for i, text in enumerate(question.subquestions, 1)),
        )
        for question in questions
    ]
    recipe = DecomposerRecipe(tuning=Lora(rank=64, alpha=128), learning_rate=4e-3, max_train_tokens=tokens)
    train(examples, model_directory("miniature/base"), folder / "out", recipe, seed=0, scratch=folder / "scratch")
    return hashlib.sha256((folder / "out" / "adapter_model.safetensors").read_bytes()).hexdigest()


def main(tokens: int = TOKENS, *, reproducible: bool = False, prepared: bool = True) -> None:
    if prepared:
        environment.prepare(reproducible=reproducible)
    import torch  # noqa: F401  # its loading is no part of the training

    import divcon.distill.training.trainer  # noqa: F401

    started, used = time.perf_counter(), time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        digest = train(tokens, Path(folder))
    now = environment.current()
    print(
        digest[:12],
        f"{time.perf_counter() - started:.1f}",
        f"{time.process_time() - used:.1f}",
        now.capability,
        now.mkl,
        now.threads,
    )


if __name__ == "__main__":
    words = [word for word in sys.argv[1:] if word.isdigit()]
    main(*map(int, words), reproducible="--reproducible" in sys.argv, prepared="--unprepared" not in sys.argv)
