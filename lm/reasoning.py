"""Reasoning apart from the reply: the one place that splits what a model wrote before its answer from the answer.

Nothing in a block of reasoning is parsed, graded, voted on or handed to another model. Tags in code (backticks, fences)
are text. A block at the beginning that never closes is all reasoning, and the reply never came; behind visible text, a
tag that is never closed is text. A lone closing tag ends a block that the prompt had opened. Where a server sends
reasoning in a field of its own, `lm.api.response` reads it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cache
from typing import NamedTuple

from .reasoning_tags import (
    BLOCKS,
    HARMONY_ENDS,
    HARMONY_STARTS,
    PHRASES,
    REPLY_PHRASES,
    SUFFIXED,
    SUFFIXED_START,
    WRAPPERS,
    closing_tag,
)


class Split(NamedTuple):
    """A completion's two parts."""

    reasoning: str | None
    """None where the text holds none."""
    reply: str
    """Empty where the model never came to reply."""


def split(text: str) -> Split:
    """The reasoning in a completion's text, and its reply. A text without tags is all reply, and stays as it is."""
    return StreamSplitter(takes_back=True).feed(text, last=True)


def render(reasoning: str | None, reply: str) -> str:
    """A text that `split` takes apart again."""
    if reasoning is None:
        return reply
    opening, closing = BLOCKS[0]
    return f"{opening}\n{reasoning}\n{closing}\n\n{reply}"


def open_block(prompt: str) -> tuple[str, str] | None:
    """The tags of the block that a prompt opens at its end, for the model to close; None where it opens none."""
    return next((tags for tags in BLOCKS if prompt.rstrip().endswith(tags[0])), None)


def closing_tag_of(text: str) -> str | None:
    """What closes the reasoning that a text leaves open and begins its reply; None where it leaves none open."""
    splitter = StreamSplitter()
    splitter.feed(text)
    return splitter.closing


_WINDOW = 200
"""Characters of a harmony message's header at most."""
_HEADER = re.compile(
    r"(?:<\|start\|>(?P<role>\w*)\s*)?(?:to=(?P<to>[\w.]+)\s*)?"
    r"(?:<\|channel\|>\s*(?P<channel>\w+)[\w\s.=-]*(?:<\|constrain\|>[\w\s.=-]*)?)?<\|message\|>"
)
_HEADER_START = re.compile(
    r"(?:<\|start\|>\w*\s*)?(?:t|to|to=[\w.]*\s*)?(?:<\|channel\|>[\w\s.=-]*(?:<\|constrain\|>[\w\s.=-]*)?)?(?:<[|\w]*)?"
)
"""What such a header may begin with, up to any character."""
_BARE = re.compile(r"analysis(?=\w)|commentary(?=\w| to=)")
"""The beginning of harmony messages whose tokens a decoder has dropped."""
_BARE_FINAL = "assistantfinal"
_STARTS = (*PHRASES, "analysis", "commentary to=", "to=")
_TAGS = [tag for pair in BLOCKS for tag in pair]
_BLANKS = re.compile(r"\s*")


@cache
def _pattern(literals: tuple[str, ...], extra: str | None = None) -> re.Pattern[str]:
    return re.compile("|".join([*map(re.escape, literals), *filter(None, [extra])]), re.IGNORECASE)


class StreamSplitter:
    """Splits a text that comes in pieces, in time that grows with its length: what each piece adds to either part.

    All pieces together give what `split` makes of the whole text, with one difference: what came before a lone closing
    tag was given as reply, and stays so.
    """

    def __init__(self, *, takes_back: bool = False) -> None:
        """`takes_back` is for a whole text in one piece: a lone closing tag makes reasoning of what came before it."""
        self._takes_back = takes_back
        self._text, self._at = "", 0
        """What is not yet given out begins at `_at`."""
        self._state: Callable[[bool], bool] = self._start
        """Reads on; whether there may be more to read before the next piece."""
        self._reply, self._reasoning = _Trimmed(), _Trimmed()
        self._code = _CodeTracker()
        self._is_tagged = False
        """Whether a tag of reasoning was read."""
        self._closings: tuple[str, ...] = ()
        self._held: list[str] | None = None
        """A block that may turn out to be text: nothing of it is given out before it closes."""
        self._wrapper: tuple[str, ...] = ()
        self._is_shown = False
        self._ending = ""

    def feed(self, piece: str, *, last: bool = False) -> Split:
        """What is certain now and was not before; all that is left with the `last` piece."""
        self._text, self._at = self._text[self._at :] + piece, 0
        while self._state(last):
            pass
        if last:
            self._finish()
        return Split(self._reasoning.take() or None, self._reply.take())

    @property
    def closing(self) -> str | None:
        """What ends the reasoning that is open, and begins the reply; None where none is open."""
        if self._state == self._block:
            return f"\n{self._closings[0]}\n\n"
        return self._ending or None if self._state == self._message and not self._is_shown else None

    # states ----------------------------------------------------------------------------------------------------------

    def _start(self, last: bool) -> bool:
        """Nothing but blanks was read."""
        self._skip_blanks()
        begun = self._text[self._at : self._at + _WINDOW]
        if phrase := next((phrase for phrase in PHRASES if begun.startswith(phrase)), None):
            return self._open(phrase, REPLY_PHRASES, is_sure=False)
        if bare := _BARE.match(begun):
            self._is_tagged, self._closings, self._state = True, (_BARE_FINAL,), self._bare
            self._at += bare.end()
            return True
        if begun.startswith("to="):
            return self._header("to=", last, self._outside)
        if not last and any(start.startswith(begun) for start in _STARTS):
            return False
        self._state = self._outside
        return True

    def _outside(self, last: bool) -> bool:
        """Outside of blocks."""
        if self._is_tagged and not self._reply.has_begun and not self._wrapper and not self._unwrap(last):
            return False
        literals = (*_TAGS, *HARMONY_STARTS, *self._wrapper)
        if (tag := self._read_to(literals, self._add_reply, last, SUFFIXED)) is None:
            return False
        if self._code.is_open:
            return self._literally(tag)
        if tag.lower() in HARMONY_STARTS:
            return self._header(tag, last, self._outside)
        if closing := closing_tag(tag):
            return self._open(tag, (closing,), is_sure=self._is_tagged or not self._reply.has_begun)
        self._at += len(tag)
        if tag.lower() in self._wrapper:
            self._reply.hold(tag)
        else:
            self._close_lone()
        return True

    def _block(self, last: bool) -> bool:
        add = self._reasoning.add if self._held is None else self._held.append
        if (tag := self._read_to(self._closings, add, last)) is None:
            return False
        if self._held is not None:
            self._reasoning.add("".join(self._held[1:]))
            self._held = None
            self._forget_blanks()
        self._at += len(tag)
        self._reasoning.end_block()
        self._state = self._outside
        return True

    def _bare(self, last: bool) -> bool:
        if (tag := self._read_to(self._closings, self._reasoning.add, last)) is None:
            return False
        self._at += len(tag)
        self._state = self._rest
        return True

    def _rest(self, last: bool) -> bool:
        """A reply without tags."""
        self._add_reply(self._text[self._at :])
        self._at = len(self._text)
        return False

    def _message(self, last: bool) -> bool:
        add = self._add_reply if self._is_shown else self._reasoning.add
        if (tag := self._read_to((*HARMONY_ENDS, HARMONY_STARTS[0]), add, last)) is None:
            return False
        if self._is_shown and self._code.is_open:
            return self._literally(tag)
        self._reasoning.end_block()
        self._state = self._between
        return True

    def _between(self, last: bool) -> bool:
        """Behind a message: what is no header is dropped."""
        if (tag := self._read_to(HARMONY_STARTS, lambda _: None, last)) is None:
            return False
        return self._header(tag, last, self._between)

    # steps -----------------------------------------------------------------------------------------------------------

    def _read_to(
        self, literals: tuple[str, ...], add: Callable[[str], None], last: bool, extra: str | None = None
    ) -> str | None:
        """Pass on what stands before the next of some tags, and return the tag, which is not read yet; None where there
        is none, and what may be the beginning of one waits."""
        found = _pattern(literals, extra).search(self._text, self._at)
        end = (
            found.start()
            if found
            else len(self._text) - (0 if last else _held_back(self._text[self._at :], literals, extra))
        )
        add(self._text[self._at : end])
        self._at = end
        return found[0] if found else None

    def _literally(self, tag: str) -> bool:
        self._add_reply(tag)
        self._at += len(tag)
        return True

    def _add_reply(self, text: str) -> None:
        self._code.read(text)
        self._reply.add(text, keep_start=not self._is_tagged)

    def _skip_blanks(self) -> None:
        blanks = _BLANKS.match(self._text, self._at)
        end = blanks.end() if blanks else self._at
        self._add_reply(self._text[self._at : end])
        self._at = end

    def _unwrap(self, last: bool) -> bool:
        """Leave out the tag in which a reply is wrapped; False where it may be yet to come."""
        self._skip_blanks()
        begun = self._text[self._at : self._at + _WINDOW]
        for opening, closing in WRAPPERS:
            if begun.startswith(opening):
                self._at += len(opening)
                self._wrapper = (closing.lower(),)
                return True
        return last or not any(opening.startswith(begun) for opening, _ in WRAPPERS)

    def _open(self, opening: str, closings: tuple[str, ...], *, is_sure: bool) -> bool:
        self._at += len(opening)
        self._closings, self._state = closings, self._block
        if is_sure:
            self._forget_blanks()
        else:
            self._held = [opening]
        return True

    def _forget_blanks(self) -> None:
        """A tag was read: blanks at the beginning of the reply are not its own."""
        self._is_tagged = True
        if not self._reply.has_begun:
            self._reply.drop_held()

    def _close_lone(self) -> None:
        """The prompt had opened a block, if this is the first tag; any other closes nothing."""
        if self._takes_back and not self._is_tagged:
            self._reply.drop_held()
            self._reasoning.add(self._reply.take())
            self._reasoning.end_block()
            self._reply, self._code = _Trimmed(), _CodeTracker()
        self._forget_blanks()

    def _header(self, tag: str, last: bool, otherwise: Callable[[bool], bool]) -> bool:
        """Read a message's header from its first tag on; a tag that begins none is text of the state `otherwise`."""
        begun = self._text[self._at : self._at + _WINDOW]
        if found := _HEADER.match(begun):
            self._forget_blanks()
            self._at += found.end()
            addressee = found["channel"] or found["to"]
            self._is_shown = addressee in ("final", "user") if addressee else found["role"] in (None, "", "assistant")
            end, heading = ("<|eom|>", " to=user") if not found["channel"] else ("<|end|>", "<|channel|>final")
            self._ending = f"{end}<|start|>assistant{heading}<|message|>"
            self._state = self._message
            return True
        is_begun = len(begun) < _WINDOW and _HEADER_START.fullmatch(begun) is not None
        if is_begun and not last:
            return False
        self._state = otherwise
        if is_begun and not self._reply.has_begun and not begun.startswith("to="):  # cut off within its header
            self._is_tagged, self._at = True, len(self._text)
        else:
            if otherwise == self._outside:
                self._add_reply(tag)
            self._at += len(tag)
        return True

    def _finish(self) -> None:
        if self._held is not None:
            self._add_reply("".join(self._held))
        if self._is_tagged:
            self._reply.drop_held()
        else:
            self._reply.release()


class _Trimmed:
    """A part of a text: blanks at its end wait for more, those at its beginning are left out."""

    def __init__(self) -> None:
        self._out: list[str] = []
        self._waiting: list[str] = []
        self._separator = ""
        self.has_begun = False
        """Whether the block that is read holds more than blanks."""

    def add(self, text: str, *, keep_start: bool = False) -> None:
        if not self.has_begun and not keep_start:
            text = text.lstrip()
        visible = text.rstrip()
        if not visible:
            self._waiting.append(text)
            return
        self._out += [self._separator, *self._waiting, visible]
        self._waiting, self._separator = [text[len(visible) :]], ""
        self.has_begun = True

    def hold(self, text: str) -> None:
        """What is to be given out only if more follows."""
        self._waiting.append(text)

    def drop_held(self) -> None:
        self._waiting = []

    def release(self) -> None:
        """Give out what waits."""
        self._out += self._waiting
        self._waiting = []

    def end_block(self) -> None:
        """What follows begins a block of its own, on a line of its own."""
        if self.has_begun:
            self._waiting, self._separator, self.has_begun = [], "\n", False

    def take(self) -> str:
        out, self._out = self._out, []
        return "".join(out)


class _CodeTracker:
    """Whether a text that is read in pieces is within code: behind a backtick of the same line, or within a fence."""

    _FENCES = ("```", "~~~")

    def __init__(self) -> None:
        self._head = ""
        """The first characters of the line that are no blanks."""
        self._runs = 0
        """Runs of backticks in the line."""
        self._last = ""
        self._fence = ""

    @property
    def is_open(self) -> bool:
        return bool(self._fence) or self._runs % 2 == 1

    def read(self, text: str) -> None:
        first, *others = text.split("\n")
        self._read_line(first)
        for line in others:
            self._end_line()
            self._read_line(line)

    def _read_line(self, part: str) -> None:
        if not part:
            return
        self._runs += len(re.findall("`+", part)) - (self._last == "`" == part[0])
        self._last = part[-1]
        if len(self._head) < 3:
            self._head = f"{self._head}{part}".lstrip()[:3]

    def _end_line(self) -> None:
        if not self._fence and self._head in self._FENCES:
            self._fence = self._head
        elif self._fence and self._head == self._fence:
            self._fence = ""
        self._head, self._runs, self._last = "", 0, ""


def _held_back(text: str, literals: Sequence[str], extra: str | None) -> int:
    """Characters at a text's end that may be the beginning of a tag."""
    tail = text[-_LONGEST:].lower()
    held = next((n for n in range(len(tail), 0, -1) if _begins(tail[-n:], literals)), 0)
    if extra and (suffixed := SUFFIXED_START.search(tail)):
        held = max(held, len(tail) - suffixed.start())
    return held


_LONGEST = 50
"""Characters of a tag at most."""


def _begins(start: str, literals: Sequence[str]) -> bool:
    return any(literal.lower().startswith(start) for literal in literals)
