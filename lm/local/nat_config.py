"""What an integration unit of NAT computes: the setting of a study, and what is saved beside trained units."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ...core.settings import Settings


class NatVariant(Settings):
    """The authors' unit, or one of its ablations. The equations are in `divcon.lm.local.nat`."""

    beta: float = Field(default=0.5, gt=0)
    """The correction: the negative branch's weight lies between -beta and beta."""
    weights: Literal["attention", "fixed"] = "attention"
    """`fixed` leaves attention out: the negative branch's weight is `fixed_negative`."""
    fixed_negative: float = 0.5
    """See `weights`."""
    correction: bool = True
    """False leaves the correction out: the weights are the attention's, between 0 and 1."""
    value: bool = True
    """False leaves the value projection out: the updates are added as they are, weighted."""
    form: Literal["unit", "extrapolate"] = "unit"
    """`extrapolate` is the fallback in the authors' code, 2 x positive - negative, with nothing to learn in between."""


class NatConfig(NatVariant):
    """The units of one student."""

    width: int = Field(gt=0)
    """Of queries, keys and the bottleneck; the authors' is 128 at 4,096."""
