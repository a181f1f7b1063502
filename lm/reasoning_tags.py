"""The tags that families of models put around their reasoning, and around the reply that follows it."""

from __future__ import annotations

import re

_NAMES = (
    *("think", "thinking", "thought", "seed:think", "longcat_think", "mm:think"),
    *("ifm|think", "ifm|think_fast", "ifm|think_faster"),
)
BLOCKS = (
    *((f"<{name}>", f"</{name}>") for name in _NAMES),  # Qwen, DeepSeek, GLM, Nemotron, EXAONE, Seed, LongCat ...
    ("[THINK]", "[/THINK]"),  # Magistral
    ("<|START_THINKING|>", "<|END_THINKING|>"),  # Command A
    ("<|inner_prefix|>", "<|inner_suffix|>"),  # Apertus
    ("<|channel>thought", "<channel|>"),  # Gemma 4
    ("\u25c1think\u25b7", "\u25c1/think\u25b7"),  # Kimi-VL
    ("<|open|>think<|sep|>", "<|close|>think<|sep|>"),  # Kimi K3
    ("<|plamo:begin_think:plamo|>", "<|plamo:end_think:plamo|>"),
    ("[unused16]", "[unused17]"),  # Pangu
)
"""The opening and the closing tag of a block of reasoning."""
SUFFIXED = r"</?think:[^\s<>]{1,40}>"
"""Hunyuan's tags have a suffix: a regular expression."""
SUFFIXED_START = re.compile(r"</?think:[^\s<>]{0,40}\Z", re.IGNORECASE)
"""The beginning of such a tag at the end of a text."""
PHRASES = ("Here is my thought process:", "Here's my thought process:")
"""What opens the reasoning of Granite 3, at the beginning of a text alone."""
REPLY_PHRASES = ("Here is my response:", "Here's my response:")
WRAPPERS = (
    ("<answer>", "</answer>"),  # Hunyuan
    ("<response>", "</response>"),  # Granite 3.3, ERNIE
    ("<|START_RESPONSE|>", "<|END_RESPONSE|>"),
    ("<|open|>response<|sep|>", "<|close|>response<|sep|>"),
    ("<|begin_of_box|>", "<|end_of_box|>"),
)
"""What a reply may be wrapped in behind its reasoning."""

HARMONY_MESSAGE = "<|message|>"
HARMONY_ENDS = ("<|end|>", "<|eom|>", "<|call|>", "<|return|>")
HARMONY_STARTS = ("<|start|>", "<|channel|>")
HARMONY_TOKENS = (*HARMONY_STARTS, HARMONY_MESSAGE, *HARMONY_ENDS, "<|constrain|>")
"""The tokens of gpt-oss's message format (harmony). Some models address messages to themselves in the same format."""

REASONING_TOKENS = (
    *(tag for pair in (*BLOCKS, *WRAPPERS) for tag in pair),
    *("<|channel>", "<|open|>", "<|close|>", "<|sep|>"),
    *HARMONY_TOKENS,
)
"""Strings that a tokenizer may hold as special tokens, and that decoding has to keep."""

REASONING_FIELDS = ("reasoning_content", "reasoning", "thinking")
"""Fields of a message in which servers send its reasoning, and chat templates take it."""

_CLOSING = {opening.lower(): closing for opening, closing in BLOCKS}


def closing_tag(opening: str) -> str | None:
    """The tag that closes the block which a tag opens, in any spelling; None for a tag that opens none."""
    if opening.lower().startswith("<think:"):
        return f"</{opening[1:]}"
    return _CLOSING.get(opening.lower())
