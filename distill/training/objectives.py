"""What a student's training makes small: one function each, over the log-probabilities that it gives to its replies.

A function returns a sum; the trainer divides it by how many of what it is `per` a whole step has, so that a step is the
same in one piece or in several.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Literal, NamedTuple

import torch
from torch import Tensor

NT, UL, REDI = 0.05, 0.05, 0.8
"""The weights of wrong replies: lambda_2 and lambda_3 of Turning Dust into Gold, alpha of REDI."""


class ScoredReplies:
    """A batch of replies, as the student sees them."""

    def __init__(self, logprobs: Tensor, mask: Tensor, right: Tensor, unit: Tensor) -> None:
        self.logprobs = logprobs  # rows, time: of each token of the reply, 0 elsewhere
        self.mask = mask  # rows, time
        self.right = right  # rows
        self.unit = unit  # rows: which unit of the batch a row belongs to, from 0

    @cached_property
    def totals(self) -> Tensor:
        """Of whole replies (rows)."""
        return self.logprobs.sum(-1)

    @cached_property
    def means(self) -> Tensor:
        """Of a token of each reply (rows)."""
        return self.totals / self.mask.sum(-1).clamp(min=1)

    def signed(self, wrong: float) -> Tensor:
        """1 for right replies, and minus a weight for wrong ones (rows)."""
        return torch.where(self.right, self.totals.new_ones(()), self.totals.new_tensor(-wrong))


class Objective(NamedTuple):
    """What is made small, and what it is a mean over."""

    loss: Callable[[ScoredReplies], Tensor]
    per: Literal["token", "unit"] = "token"


def likelihood(scored: ScoredReplies) -> Tensor:
    """Maximum likelihood of all replies."""
    return -scored.totals.sum()


def negative_training(scored: ScoredReplies) -> Tensor:
    """NT: -log P of right tokens, + lambda_2 log P of wrong ones.

    The paper writes two expectations; here all tokens of a step make one mean, so that each side counts by its tokens.
    """
    return -(scored.totals * scored.signed(NT)).sum()


def unlikelihood(scored: ScoredReplies) -> Tensor:
    """UL, a token at a time: -log p of right ones, -lambda_3 log(1 - p) of wrong ones, in one mean (as NT)."""
    against = torch.log1p(-scored.logprobs.exp().clamp(max=1 - 1e-6)) * scored.mask
    wrong = ~scored.right
    return -scored.totals[scored.right].sum() - UL * against[wrong].sum()


def unlikelihood_of_sequences(scored: ScoredReplies) -> Tensor:
    """UL as it is written, log(1 - P) of a whole reply: P is about e^-60, so that this is KD to the last digit."""
    against = torch.log1p(-scored.totals.exp().clamp(max=1 - 1e-6))
    wrong = ~scored.right
    return -scored.totals[scored.right].sum() - UL * against[wrong].sum()


def contrast(scored: ScoredReplies) -> Tensor:
    """CL, a session of one question at a time: InfoNCE over length-normalised log-likelihoods, and likelihood.

    The authors' loss is not public; this one is our choice.
    """
    loss = scored.means.new_zeros(())
    for unit in set(scored.unit.tolist()):
        means, right = scored.means[scored.unit == unit], scored.right[scored.unit == unit]
        loss = loss + means.logsumexp(0) - means[right].logsumexp(0) - means[right].mean()
    return loss


def reinforce(scored: ScoredReplies) -> Tensor:
    """REDI on pairs: -log P(right) / |right| + alpha log P(wrong) / |wrong| (arXiv 2505.24850)."""
    return -(scored.means * scored.signed(REDI)).sum()


LIKELIHOOD = Objective(likelihood)
OBJECTIVES = {
    "likelihood": LIKELIHOOD,
    "nt": Objective(negative_training),
    "ul": Objective(unlikelihood),
    "ul-literal": Objective(unlikelihood_of_sequences),
    "cl": Objective(contrast, "unit"),
    "redi": Objective(reinforce, "unit"),
}
"""By name."""
