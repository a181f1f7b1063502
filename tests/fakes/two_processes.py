"""A training that `accelerate launch` starts in two processes: -m tests.fakes.two_processes METHOD OUT"""

from __future__ import annotations

import sys
from pathlib import Path

from accelerate import PartialState

from divcon.distill.methods import Distillation, distil
from tests.distill.test_methods import BASE, MATERIAL, RECIPE, reply


def main(method: str, out: Path) -> None:
    recipe = RECIPE.model_copy(update={"method": method, "micro_batch_size": 2})
    course = Distillation(MATERIAL, BASE, recipe, seed=0, scratch=out / "two", own=lambda _: [reply(40, True)])
    distil(method, course, out / "student")
    PartialState().wait_for_everyone()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
