"""What the report says of learning curves: accuracy and loss by training tokens, and which track is still rising."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..analysis.learning_curve import CurvePoint, learning_curves
from ..grid.rows import Results
from ..render import page
from ..render.table import Table, points


@dataclass(frozen=True)
class LearningCurves:
    """The curves of one run; empty where none was made."""

    points: list[CurvePoint]

    @classmethod
    def of(cls, run: Path, rows: Results) -> LearningCurves:
        """From what `divcon distill curve` left in a run."""
        return cls(learning_curves(run))

    def tables(self) -> list[Table]:
        """For `table.md`."""
        return [curve_table(self.points)] if self.points else []

    def sections(self, figures: page.Figures) -> list[str]:
        """For the page."""
        if not self.points:
            return []
        return [
            "<h2>Learning curves</h2>",
            f"<p>{described(self.points)}</p>",
            *figures(
                "learning_curve", "Accuracy and loss against training tokens; bands: the lowest and highest seed."
            ),
            page.table(curve_table(self.points)),
        ]


def described(found: Sequence[CurvePoint]) -> str:
    """Which tracks are still rising at their largest budget."""
    last = {point.track: point for point in found if point.gain}
    rising = [f"Still rising at {point.tokens:,} tokens: {point.track}." for point in last.values() if point.is_rising]
    level = [
        f"Not told apart from level at {point.tokens:,} tokens: {point.track}."
        for point in last.values()
        if not point.is_rising
    ]
    if not last:
        return "Each track has one budget, so that nothing says whether it is still rising."
    over = sorted({point.gain.over for point in last.values() if point.gain})
    return " ".join([*rising, *level, f"Gains have 95 % intervals over {' or '.join(over)}."])


def curve_table(found: Sequence[CurvePoint]) -> Table:
    """A row per track and budget: accuracy over seeds, the loss, and what the last step up in tokens gained."""
    header = ["track", "training tokens", "seeds", "accuracy (%)", "loss", "over the budget before (points)"]
    return header, [
        [
            point.track,
            f"{point.tokens:,}",
            str(point.seeds),
            f"{100 * point.accuracy:.1f} [{100 * point.lowest:.1f}, {100 * point.highest:.1f}]",
            f"{point.loss:.3f}",
            points(point.gain.estimate) if point.gain else "",
        ]
        for point in found
    ]
