"""A learning rate for each method: the same rates are tried for all, on questions that no test uses.

    python -m bench.training.learning_rates CONFIG RATE,RATE,... [--set KEY=VALUE ...] > docs/results/learning_rates.md

Each rate is a comparison of methods of its own (one seed), in runs/CONFIG-rate-RATE, on the tests' questions of seed 0;
the studies test on seed 1. A method with parts of another (nce with nat's) is tried with these parts at the same rate.
The same command goes on where it stopped. The last lines are what a config takes.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from divcon import commands
from divcon.eval.config import load
from divcon.eval.grid import results
from divcon.eval.run_dir import RunDirectory

SEED = 0
"""Of the training and of the questions."""


def accuracies(config: str, rate: float, overrides: Sequence[str]) -> dict[str, float]:
    """Each method's accuracy on all questions, at one rate."""
    study = load(config, overrides)
    run = Path("runs") / f"{config}-rate-{rate:g}"
    ours = [f"tests.{name}.seed={SEED}" for name in study.tests]
    # Each method's own rate, so that what is measured is what `learning_rates` will mean: for a method that goes on
    # from a student, the rate of its last stage.
    rates = ", ".join(f"{method}: {rate:g}" for method in study.methods.names)
    ours += [f"methods.seeds=[{SEED}]", f"distill.{study.methods.role}.learning_rates={{{rates}}}"]
    ours += [f"store={Path('runs') / f'{config}-rates.sqlite'}"]
    commands.compare_methods(config, overrides=[*overrides, *ours], run=run)
    credits: dict[str, list[float]] = {}
    for row in results.read(RunDirectory(run).method_results):
        method = str(getattr(row.cell, study.methods.role)).rpartition(" ")[0]
        credits.setdefault(method, []).append(row.credit)
    return {method: sum(of) / len(of) for method, of in credits.items()}


def best(found: Mapping[float, Mapping[str, float]]) -> dict[str, float]:
    """The rate at which each method is most accurate; of equal ones the smallest."""
    methods = next(iter(found.values()))
    return {method: max(sorted(found), key=lambda rate: found[rate][method]) for method in methods}


def main(config: str, rates: str, overrides: Sequence[str]) -> None:
    found = {rate: accuracies(config, rate, overrides) for rate in map(float, rates.split(","))}
    chosen = best(found)
    options = "".join(f" --set {each}" for each in overrides)
    print(f"# Learning rates of `{config}`\n")
    print(f"`python -m bench.training.learning_rates {config} {rates}{options}`,")
    print(f"{datetime.now(UTC):%Y-%m-%d}, seed {SEED}, {platform.machine()}. Accuracy in per cent on questions that no")
    print("test uses; each method's best in bold.\n")
    print(f"| method | {' | '.join(f'{rate:g}' for rate in found)} |")
    print(f"|---|{'---:|' * len(found)}")
    for method, rate in chosen.items():
        each = [f"{100 * of[method]:.1f}" for of in found.values()]
        shown = [f"**{value}**" if at == rate else value for at, value in zip(found, each, strict=True)]
        print(f"| {method} | {' | '.join(shown)} |")
    print("\n```yaml\nlearning_rates:")
    print("\n".join(f"  {method}: {rate:g}" for method, rate in chosen.items()))
    print("```")


if __name__ == "__main__":
    given = sys.argv[3:]
    main(sys.argv[1], sys.argv[2], [value for name, value in zip(given[::2], given[1::2], strict=True)])
