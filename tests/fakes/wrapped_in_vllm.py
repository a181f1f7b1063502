"""A family's model in small in vLLM, bare and with a student: `python -m tests.fakes.wrapped_in_vllm FAMILY FOLDER`.

The last line it prints is JSON: what became of each. A process of its own, because of its stand-in for torchvision.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from divcon import commands
from divcon.core.errors import ConfigError
from divcon.lm import Model, Request, Sampling, Store
from divcon.lm.engines.vllm import VLLM

from .families import make
from .students import MESSAGES, taught


def main(family: str, folder: Path) -> None:
    """Serve the base, a student as it is, and the student exported."""
    base = make(family, folder / "base")
    student = taught(folder / "decomposer", str(base))
    exported = commands.export(student, "vllm").path
    # bfloat16 is what vLLM's kernels of linear attention take on a processor.
    engine = VLLM(str(base), dtype="bfloat16", concurrency=2, cache=0.1, context=256, adapters=2, rank=8)

    def asked(adapter: Path | None) -> str:
        with Store() as store:
            try:
                Model("m", engine, store, adapter=adapter)([Request(MESSAGES, Sampling(max_tokens=8))])
            except ConfigError as error:
                return str(error)
        return "served"

    said = {"base": asked(None), "student": asked(student), "exported": asked(exported)}
    sys.stdout.write(f"{json.dumps(said)}\n")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
