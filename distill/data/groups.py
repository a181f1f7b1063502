"""What a method is taught with: units of replies that belong into one batch together, made of labelled traces.

A unit is a reply alone, a pair of a right and a wrong reply to one question, or a session of several.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import cycle, islice

from ...core.errors import ConfigError
from ...lm.types import with_suffix
from .examples import Example

SESSION = 8
"""Replies in a session (CL)."""

TrainingGroup = tuple[Example, ...]


@dataclass(frozen=True)
class LabelledReply:
    """A reply to a question, and whether it is right."""

    question: str
    """The question's id: replies to one question are compared."""
    example: Example
    right: bool
    readable: bool = True
    """Whether it states an answer that can be read; one that does not is never right."""


@dataclass(frozen=True)
class TrainingData:
    """Everything that a method may be taught with."""

    replies: tuple[LabelledReply, ...]
    """The teacher's, right and wrong."""
    selected: tuple[Example, ...] = ()
    """The replies that plain distillation takes, as the recipe's `data` says."""
    human: tuple[LabelledReply, ...] = ()
    """The questions' own solutions, where they have some."""
    seed: int = 0
    tags: tuple[str, str] = ("", "")
    """What a prompt ends with when its reply is right, or wrong (`tagged`)."""


Make = Callable[[TrainingData], list[TrainingGroup]]


def selected(material: TrainingData) -> list[TrainingGroup]:
    """What the recipe's `data` says, each reply alone."""
    return [(example,) for example in material.selected]


def right(material: TrainingData) -> list[TrainingGroup]:
    """Each right reply alone."""
    return _alone([reply for reply in material.replies if reply.right])


def wrong(material: TrainingData) -> list[TrainingGroup]:
    """Each wrong reply alone, to be learned like a right one."""
    return _alone([replace(reply, right=True) for reply in material.replies if not reply.right])


def readable_wrong(material: TrainingData) -> list[TrainingGroup]:
    """Each wrong reply with an answer that can be read (NAT's negatives, filtered)."""
    return _alone([replace(reply, right=True) for reply in material.replies if not reply.right and reply.readable])


def mixed(material: TrainingData) -> list[TrainingGroup]:
    """All replies alone, the wrong ones taught like right ones (MIX)."""
    return _alone([replace(reply, right=True) for reply in material.replies]) if _has_both(material) else []


def labelled(material: TrainingData) -> list[TrainingGroup]:
    """All replies alone, each with its label."""
    return _both(_alone(list(material.replies)))


def labelled_with_human(material: TrainingData) -> list[TrainingGroup]:
    """The same, the questions' own solutions among the right ones."""
    return _both(_alone([*material.replies, *material.human]))


def human(material: TrainingData) -> list[TrainingGroup]:
    """The questions' own solutions."""
    return _alone(list(material.human))


def at_random(material: TrainingData) -> list[TrainingGroup]:
    """As many replies as there are wrong ones, drawn whatever their label (a control for `wrong`)."""
    count = sum(not reply.right for reply in material.replies)
    drawn = random.Random(f"at random/{material.seed}").sample(material.replies, count)
    return _alone([replace(reply, right=True) for reply in drawn])


def pairs(material: TrainingData) -> list[TrainingGroup]:
    """A right and a wrong reply to one question; each reply of the larger side once, the smaller side in turn."""
    made: list[TrainingGroup] = []
    for _, good, bad in _by_question(material):
        length = max(len(good), len(bad))
        made += [(a, b) for a, b in islice(zip(cycle(good), cycle(bad), strict=False), length)]
    return _both(made)


def sessions(material: TrainingData) -> list[TrainingGroup]:
    """A question's solution of its own, right replies and wrong ones, together at most SESSION (CL)."""
    own = {reply.question: reply.example for reply in material.human}
    made: list[TrainingGroup] = []
    for question, good, bad in _by_question(material):
        first = [own[question]] if question in own else []
        kept = bad[: max(SESSION // 2, SESSION - len(first + good))]
        made.append((*[*first, *good][: SESSION - len(kept)], *kept))
    return _both(made)


def tagged(material: TrainingData) -> list[TrainingGroup]:
    """All replies alone, the question of each told to be answered rightly or wrongly."""
    return _with_suffixes(material, [reply.right for reply in material.replies])


def tagged_at_random(material: TrainingData) -> list[TrainingGroup]:
    """The same tags, dealt out whatever the replies are (a control for `tagged`)."""
    tags = [reply.right for reply in material.replies]
    return _with_suffixes(material, random.Random(f"tagged at random/{material.seed}").sample(tags, len(tags)))


def _with_suffixes(material: TrainingData, tags: Sequence[bool]) -> list[TrainingGroup]:
    if not _has_both(material):
        return []
    told = [
        replace(
            r, right=True, example=r.example._replace(messages=with_suffix(r.example.messages, material.tags[not tag]))
        )
        for r, tag in zip(material.replies, tags, strict=True)
    ]
    return _alone(told)


UNITS: dict[str, Make] = {
    "selected": selected,
    "right": right,
    "wrong": wrong,
    "readable-wrong": readable_wrong,
    "mixed": mixed,
    "labelled": labelled,
    "labelled-human": labelled_with_human,
    "human": human,
    "random": at_random,
    "pairs": pairs,
    "sessions": sessions,
    "tagged": tagged,
    "tagged-random": tagged_at_random,
}


def make(kind: str, material: TrainingData) -> list[TrainingGroup]:
    """Units of a kind. Raises ConfigError when there is nothing to make them of."""
    units = list(dict.fromkeys(UNITS[kind](material)))
    if not units:
        rights = sum(reply.right for reply in material.replies)
        raise ConfigError(
            f"nothing to teach ({kind}): there are {rights} right and {len(material.replies) - rights} wrong replies, "
            f"and {len(material.human)} solutions of the questions' own; collect more, or take another method"
        )
    return units


def _flagged(reply: LabelledReply) -> Example:
    return reply.example._replace(right=reply.right)


def _alone(replies: Sequence[LabelledReply]) -> list[TrainingGroup]:
    return [(_flagged(reply),) for reply in replies]


def _has_both(material: TrainingData) -> bool:
    return {reply.right for reply in material.replies} == {True, False}


def _both(units: list[TrainingGroup]) -> list[TrainingGroup]:
    """The units, if they hold right replies and wrong ones."""
    labels = {example.right for unit in units for example in unit}
    return units if labels == {True, False} else []


def _by_question(material: TrainingData) -> list[tuple[str, list[Example], list[Example]]]:
    """The right and the wrong replies of each question that has both."""
    questions: dict[str, tuple[list[Example], list[Example]]] = {}
    for reply in material.replies:
        questions.setdefault(reply.question, ([], []))[not reply.right].append(_flagged(reply))
    return [(question, good, bad) for question, (good, bad) in questions.items() if good and bad]
