"""Words within LaTeX: `\\text{ cm}`, `\\mathrm{km}`, `\\operatorname{cm}`."""

from __future__ import annotations

import re

TEXT = r"\\(?:text(?:bf|it|rm|normal)?|mbox|math(?:rm|bf|it))\s*\{"
"""The command that words begin with."""
WORDS = re.compile(TEXT + r"([^{}]*)\}")
WORDS_OR_OPERATOR = re.compile(rf"(?:{TEXT}|\\operatorname\s*\{{)([^{{}}]*)\}}")
"""The same, and words in the command that is for names of functions."""
