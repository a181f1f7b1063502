"""Every method of distilling a student by its name: what it is, what it leaves, what it is a control of.

How each of them trains is in `methods`, which loads TRL; this module loads nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ..core.errors import ConfigError


@dataclass(frozen=True)
class Method:
    """What there is to know of a method before it trains."""

    summary: str
    """What it is, in a line."""
    output: Literal["adapter", "nat"] = "adapter"
    """An adapter (or a whole model, by the recipe's tuning), or a NAT model, which vLLM does not serve."""
    suffix: bool = False
    """Whether its student is asked with a sentence behind every request: the first of the recipe's `tags`."""
    control_of: str | None = None
    """The method or methods whose reviewers would ask for it."""
    rate_of: str | None = None
    """The method whose learning rate it has where it is given none of its own: one that it is a variant of."""
    paper_name: str | None = None
    """Its name in the tables of Turning Dust into Gold."""

    def __str__(self) -> str:
        return f"control of {self.control_of}: {self.summary}" if self.control_of else self.summary


METHODS: dict[str, Method] = {
    "kd": Method("the teacher's replies that `data` names, by likelihood (CoT-KD)", paper_name="CoT KD"),
    "ft": Method("the questions' own solutions, by likelihood", paper_name="FT"),
    "mix": Method("right and wrong replies alike, by likelihood", paper_name="MIX"),
    "cl": Method("a question's right replies against its wrong ones: InfoNCE and likelihood", paper_name="CL"),
    "nt": Method("right replies up, wrong ones down by 0.05: negative training", paper_name="NT"),
    "nt-gold": Method("nt, the questions' own solutions among the right replies: as in the authors' code"),
    "ul": Method("right replies up, wrong tokens' complements up by 0.05: unlikelihood", paper_name="UL"),
    "ul-literal": Method("unlikelihood of whole replies, as written: no different from kd"),
    "nat": Method("two adapters, of right and of wrong replies, integrated token by token", "nat", paper_name="NAT"),
    "nce": Method("a plain adapter from the NAT model, by how far that one moved from the wrong"),
    "redi": Method("kd, then pairs: right up, wrong down by 0.8, length-normalised"),
    "dpo": Method("kd, then pairs: direct preference optimization"),
    "kto": Method("kd, then labelled replies: Kahneman-Tversky optimization"),
    "tagged": Method("all replies, the question told to be answered rightly or wrongly", suffix=True),
    "tagged-random": Method(
        "told one or the other, whatever the reply", suffix=True, control_of="tagged", rate_of="tagged"
    ),
    "self-augment": Method("right replies and the NAT model's own right ones, by likelihood"),
    "self-distill": Method("a plain adapter from the NAT model, all replies alike"),
    "negative": Method("wrong replies, by likelihood", control_of="methods that learn from wrong replies"),
    "nat-positive": Method("both adapters learn right replies", "nat", control_of="nat"),
    "nat-random": Method(
        "the negative adapter learns replies drawn whatever their label", "nat", control_of="nat", rate_of="nat"
    ),
    "kd-matched-params": Method("kd, as many weights on all linear layers", control_of="nat"),
    "kd-matched-width": Method("kd, an adapter of the rank that nat's units are wide", control_of="nat"),
    "kd-matched-width-2x-tokens": Method(
        "kd, that rank and twice the tokens", control_of="nat", rate_of="kd-matched-width"
    ),
    "kd-2x-tokens": Method("kd, twice the tokens", control_of="methods with two stages", rate_of="kd"),
    "kd-3x-tokens": Method(
        "kd, three times the tokens", control_of="nce and other methods with three stages", rate_of="kd"
    ),
    "nce-shuffled": Method("the same weights, dealt out at random", control_of="nce", rate_of="nce"),
}
"""By the names that a config and `--method` know them by."""


def check_methods(names: Sequence[str]) -> None:
    """Raises ConfigError for a name that is none."""
    for name in names:
        if name not in METHODS:
            raise ConfigError(f"no method {name!r}; there are {', '.join(METHODS)}")


def explain() -> str:
    """Every method in a line."""
    wide = max(map(len, METHODS))
    return "\n".join(f"{name:<{wide}}  {method}" for name, method in METHODS.items())
