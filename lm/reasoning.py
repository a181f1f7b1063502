"""Reasoning apart from the reply: the one place that splits what a model wrote before its answer from the answer.

Models mark their reasoning in a dozen ways. Nothing in a block is parsed, graded, voted on or handed to another model.
A block that never closes is all reasoning, and the reply never came. A lone closing mark ends a block that the prompt
had opened. Where a server sends reasoning in a field of its own, `lm.api.response` reads it.
"""

from __future__ import annotations

import re
from typing import NamedTuple


class Split(NamedTuple):
    """A completion's two parts."""

    reasoning: str | None
    """None where the text holds none."""
    reply: str
    """Empty where the model never came to reply."""


_TAGS = (
    *("think", "thinking", "thought", "seed:think", "longcat_think", "mm:think"),
    *("ifm|think", "ifm|think_fast", "ifm|think_faster"),
)
_BLOCKS = (
    *((f"<{tag}>", f"</{tag}>") for tag in _TAGS),  # Qwen, DeepSeek, GLM, Nemotron, EXAONE, Seed, LongCat ...
    ("[THINK]", "[/THINK]"),  # Magistral
    ("<|START_THINKING|>", "<|END_THINKING|>"),  # Command A
    ("<|inner_prefix|>", "<|inner_suffix|>"),  # Apertus
    ("<|channel>thought", "<channel|>"),  # Gemma 4
    ("\u25c1think\u25b7", "\u25c1/think\u25b7"),  # Kimi-VL
    ("<|open|>think<|sep|>", "<|close|>think<|sep|>"),  # Kimi K3
    ("<|plamo:begin_think:plamo|>", "<|plamo:end_think:plamo|>"),
    ("[unused16]", "[unused17]"),  # Pangu
)
"""What opens a family's block of reasoning, and what closes it."""
OPEN, CLOSE = _BLOCKS[0]
"""The marks that text of ours is written with."""
_PHRASES = (
    ("Here is my thought process:", "Here is my response:"),
    ("Here's my thought process:", "Here's my response:"),
)
"""Granite 3: marks at the beginning of a text alone."""
_WRAPPED = (
    ("<answer>", "</answer>"),  # Hunyuan
    ("<response>", "</response>"),  # Granite 3.3, ERNIE
    ("<|START_RESPONSE|>", "<|END_RESPONSE|>"),
    ("<|open|>response<|sep|>", "<|close|>response<|sep|>"),
    ("<|begin_of_box|>", "<|end_of_box|>"),
)
"""What a reply behind a block may be wrapped in."""
CHANNELLED = (
    "<|channel|>",
    "<|message|>",
    "<|start|>",
    "<|end|>",
    "<|eom|>",
    "<|call|>",
    "<|return|>",
    "<|constrain|>",
)
"""gpt-oss writes reasoning and reply to channels; others address it to themselves."""

MARKS = (
    *(mark for pair in (*_BLOCKS, *_WRAPPED) for mark in pair),
    "<|channel>",
    "<|open|>",
    "<|close|>",
    "<|sep|>",
    *CHANNELLED,
)
"""Strings that a tokenizer may hold as special tokens, and that decoding has to keep."""
HEADED = "<|message|>"
"""The mark that a tokenizer has where those of channels mean what they say."""

_MARK = re.compile(
    "|".join([*(re.escape(mark) for pair in _BLOCKS for mark in pair), r"</?think:[^\s<>]{1,40}>"]), re.IGNORECASE
)
"""Hunyuan's marks have a suffix of their own."""
_CLOSES = {opening.lower(): closing for opening, closing in _BLOCKS}
_MESSAGE = re.compile(
    r"(?:<\|start\|>\w+)?\s*(?:<\|channel\|>(?P<channel>\w+)[^<]*(?:<\|constrain\|>[^<]*)?|to=(?P<to>\w+))\s*<\|message\|>"
    r"(?P<text>.*?)(?=<\|end\|>|<\|eom\|>|<\|call\|>|<\|return\|>|<\|start\|>|\Z)",
    re.DOTALL,
)
_SHOWN = ("final", "user")
"""The channel, and the addressee, of a reply."""
_BARE = re.compile(r"\A(?:analysis|commentary)(?P<thought>.*?)(?:assistantfinal(?P<reply>.*))\Z", re.DOTALL)
_BARE_OPEN = re.compile(r"\Aanalysis(?=[A-Z])(?P<thought>.*)\Z", re.DOTALL)
"""The same of a decoder that has dropped the marks."""


def split(text: str) -> Split:
    """The reasoning in a completion's text, and its reply. A text without marks is all reply, and stays as it is."""
    if "<|message|>" in text and (messages := list(_MESSAGE.finditer(text))):
        return _of_channels(messages)
    if found := _BARE.match(text) or _BARE_OPEN.match(text):
        return Split(found["thought"].strip() or None, (found.groupdict().get("reply") or "").strip())
    for opening, closing in _PHRASES:
        if text.lstrip().startswith(opening):
            thought, _, reply = text.lstrip().removeprefix(opening).partition(closing)
            return Split(thought.strip() or None, reply.strip())
    return _of_blocks(text)


def _of_channels(messages: list[re.Match[str]]) -> Split:
    shown = [m["text"] for m in messages if (m["channel"] or m["to"]) in _SHOWN]
    hidden = [m["text"].strip() for m in messages if (m["channel"] or m["to"]) not in _SHOWN]
    return Split("\n".join(hidden) or None, "".join(shown).strip())


def _of_blocks(text: str) -> Split:
    outside, inside = _pieces(text)
    if inside is None:
        return Split(None, text)
    reply = "".join(outside).rstrip()
    if not outside[0].strip():
        reply = _unwrapped(reply.lstrip())
    return Split("\n".join(filter(None, map(str.strip, inside))) or None, reply)


def _pieces(text: str) -> tuple[list[str], list[str] | None]:
    """What stands outside of blocks and inside of them; None inside where there is no mark."""
    outside: list[str] = []
    inside: list[str] | None = None
    closing: str | None = None
    """What ends the block that is open."""
    at = 0
    for mark in _MARK.finditer(text):
        word, before = mark[0].lower(), text[at : mark.start()]
        if closing is None and (closes := _closes(word)):
            outside.append(before)
            inside, closing = inside or [], closes
        elif word == closing:
            inside, closing = [*(inside or []), before], None
        elif closing is None:  # it closes what nothing here has opened: the prompt did, if this is the first mark
            inside, outside = (["".join([*outside, before])], [""]) if inside is None else (inside, [*outside, before])
        else:
            continue  # of another family, or opened twice
        at = mark.end()
    if closing is None:
        return [*outside, text[at:]], inside
    return outside or [""], [*(inside or []), text[at:]]


def _closes(word: str) -> str | None:
    """What closes the block that a mark opens, in small letters; None for a mark that opens none."""
    if word.startswith("<think:"):
        return f"</{word[1:]}"
    return _CLOSES[word].lower() if word in _CLOSES else None


def _unwrapped(reply: str) -> str:
    for opening, closing in _WRAPPED:
        if reply.startswith(opening):
            return reply.removeprefix(opening).removesuffix(closing).strip()
    return reply


def joined(reasoning: str | None, reply: str) -> str:
    """A text that `split` takes apart again."""
    return reply if reasoning is None else f"{OPEN}\n{reasoning}\n{CLOSE}\n\n{reply}"


def opened_by(prompt: str) -> str | None:
    """The mark that closes the block in which a prompt ends; None where it ends in none."""
    for opening, closing in _BLOCKS:
        if prompt.rstrip().endswith(opening):
            return closing
    return None


def closing_of(text: str) -> str | None:
    """What closes the reasoning that a text leaves open, and begins its reply; None where it leaves none open."""
    if "<|message|>" in text:
        messages = list(_MESSAGE.finditer(text))
        if not messages or ((last := messages[-1])["channel"] or last["to"]) in _SHOWN:
            return None
        ending, heading = ("<|end|>", "<|channel|>final") if last["channel"] else ("<|eom|>", " to=user")
        return f"{ending}<|start|>assistant{heading}<|message|>"
    closing = None
    for mark in _MARK.finditer(text):
        word = mark[0].lower()
        if closing is not None and word == closing.lower():
            closing = None
        elif closing is None:
            closing = _CLOSES.get(word) or _closes(word)
    return None if closing is None else f"\n{closing}\n\n"


def so_far(text: str) -> Split:
    """Of a text that is still being written, what is sure of both parts: more text only adds to them.

    A lone closing mark cannot be foreseen: where the prompt has opened a block, the text is to begin with its mark.
    """
    whole = _HEADER.sub("", text[: len(text) - _unsure(text)])
    begun = whole.lstrip()
    if any(start.startswith(begun) for start in (*_STARTS, _ANALYSIS, "to=")):
        return Split(None, "")
    return split(whole)


_ANALYSIS = "analysis"
_STARTS = tuple(opening for opening, _ in _PHRASES)
_HEADER = re.compile(
    r"(?:<\|start\|>\w*\s*|<\|channel\|>[^<]*(?:<\|constrain\|>[^<]*)?|(?:\A|(?<=\|>assistant))\s*to=\w*\s*)+\Z"
)
"""The beginning of a message in a channel, whose text is to come."""
_LITERALS = [mark.lower() for mark in MARKS]
_WORDS = [*(closing.lower() for _, closing in _PHRASES), "assistantfinal"]
"""They end reasoning in a text alone that begins as such texts do: else most words' ends would be unsure."""


_LONGEST = 50
"""Characters of a mark at most."""
_SUFFIXED = re.compile(r"</?think:[^\s<>]{0,40}\Z")


def _unsure(text: str) -> int:
    """Characters at a text's end that may be the beginning of a mark, and the blanks before them."""
    tail = text[-_LONGEST:].lower()
    begun = text.lstrip().startswith((*_STARTS, _ANALYSIS, "commentary"))
    marks = [*_LITERALS, *_WORDS] if begun else _LITERALS
    held = next((n for n in range(len(tail), 0, -1) if any(mark.startswith(tail[-n:]) for mark in marks)), 0)
    if suffixed := _SUFFIXED.search(tail):
        held = max(held, len(tail) - suffixed.start())
    kept = text[: len(text) - held]
    return held + len(kept) - len(kept.rstrip()) if held or _MARK.search(text) or HEADED in text else 0


_LONG = 2048
"""Characters that are read anew with each piece of a stream, at most, where they can be forgotten."""
_DOT = "."


class StreamSplitter:
    """Splits a text that comes in pieces: what each piece adds to the reasoning and to the reply."""

    def __init__(self) -> None:
        self._text = ""
        self._given = Split("", "")

    def feed(self, piece: str, *, last: bool = False) -> Split:
        """What is sure now and was not before; all that is left with the `last` piece.

        A lone closing mark comes too late: what went before was given as reply, and stays so.
        """
        self._text += piece
        found = split(self._text) if last else so_far(self._text)
        thought = found.reasoning or ""
        before = self._given
        added = Split(_added(before.reasoning or "", thought), _added(before.reply, found.reply))
        self._given = Split(longer(before.reasoning or "", thought), longer(before.reply, found.reply))
        if len(self._text) > _LONG and not last:
            self._forget()
        return added

    def _forget(self) -> None:
        """Keep of the text what decides how more of it is read, where all of it was given."""
        if _unsure(self._text) or HEADED in self._text or self._text.lstrip().startswith((_ANALYSIS, *_STARTS)):
            return
        marks = [mark[0] for mark in _MARK.finditer(self._text)]
        if not marks:
            self._text, self._given = _DOT, Split("", _DOT)
        elif closing_of(self._text) is None:
            self._text, self._given = f"{OPEN}{CLOSE}{_DOT}", Split("", _DOT)
        elif _closes(marks[-1].lower()) and not self._given.reply:
            self._text, self._given = f"{marks[-1]}{_DOT}", Split(_DOT, "")


def longer(before: str, now: str) -> str:
    """What was given already, or more of it; what does not go on from it replaces it."""
    return before if before.startswith(now) else now


def _added(before: str, now: str) -> str:
    return longer(before, now).removeprefix(before)
