"""A chat template as a program of somebody else's: what it is given, what it writes, and what it silently leaves out.

Templates differ in the shape of messages (texts or lists of parts, with or without a system turn, turns that have to
alternate), in how reasoning is switched, and in what they open behind the last turn. All of it is found out by asking
the template, with marks that are looked for in what it writes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ...core.errors import ConfigError
from ..reasoning import Split, open_block, render
from ..reasoning_tags import REASONING_FIELDS
from ..types import Message, Thinking

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Turn = dict[str, Any]
_SYSTEM, _ASKED, _AGAIN, _REPLIED, _THOUGHT = "(the system)", "(first)", "(second)", "(reply)", "(thought)"
"""Marks: texts that no template writes by itself."""
_TODAY = datetime(2026, 1, 1)
"""What templates that write a date are told: tomorrow's prompt has to be today's."""
_SWITCHES = ("enable_thinking", "thinking")


def _on_a_fixed_day(form: str) -> str:
    return _TODAY.strftime(form)


class ChatTemplate:
    """The template of one tokenizer."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self.text = tokenizer.chat_template
        self._open_blocks: dict[Thinking | None, tuple[str, str] | None] = {}

    def prompt(self, messages: Sequence[Message], thinking: Thinking | None = None) -> str:
        """A conversation up to where the reply begins. Raises ConfigError where a turn would be lost."""
        turns = self._turns(messages)
        options, behind = self._switched(thinking)
        written = self._write(turns, **options)
        for turn in turns:
            if (text := _text(turn).strip()) not in written:
                raise ConfigError(
                    f"the chat template of {self._name} leaves out what a turn says ({text[:60]!r}), and is not used"
                )
        return written + behind

    def reply(self, said: Split, thinking: Thinking | None = None) -> str:
        """A reply as it stands behind a prompt, without the token that ends it."""
        if (tags := self.open_block(thinking)) is not None:
            return f"{said.reasoning or ''}\n{tags[1]}\n\n{said.reply}"
        if (header := self._header(said.reasoning is not None, thinking)) is not None:
            return header.replace(_THOUGHT, said.reasoning or "") + said.reply
        return render(said.reasoning, said.reply)

    def open_block(self, thinking: Thinking | None) -> tuple[str, str] | None:
        """The tags of the block of reasoning in which every prompt ends; None where it ends in none."""
        if thinking not in self._open_blocks:
            self._open_blocks[thinking] = open_block(self.prompt([Message("user", _ASKED)], thinking))
        return self._open_blocks[thinking]

    @cached_property
    def assistant_suffix(self) -> str:
        """What is written behind an assistant's turn at the end of a conversation."""
        written = self._write([self._turn("user", _ASKED), self._turn("assistant", _REPLIED)], prompt=False)
        return written.rpartition(_REPLIED)[2] if _REPLIED in written else ""

    def _header(self, thought: bool, thinking: Thinking | None) -> str | None:
        """What stands between a prompt and the reply where replies have headers (gpt-oss's channels); None elsewhere.

        Templates that would put an empty block before a reply to which no reasoning belongs do without one.
        """
        asked = [self._turn("user", _ASKED)]
        options, behind = self._switched(thinking)
        prompt = self._write(asked, **options) + behind
        answered = self._turn("assistant", _REPLIED) | (dict.fromkeys(REASONING_FIELDS, _THOUGHT) if thought else {})
        written = self._write([*asked, answered], prompt=False, **options)
        if not written.startswith(prompt) or _REPLIED not in written:
            return None
        header = written.removeprefix(prompt).partition(_REPLIED)[0]
        if thought:
            return header if _THOUGHT in header else None
        return header if header.strip() and "think" not in header else None

    def _turns(self, messages: Sequence[Message]) -> list[Turn]:
        """Messages in the shape that the template takes."""
        if not self.supports_system_role:
            messages = merge_system_into_user(messages)
        if not self._takes_repeats:
            messages = _alternating(messages)
        return [self._turn(message.role, message.content) for message in messages]

    def _turn(self, role: str, text: str) -> Turn:
        return {"role": role, "content": [{"type": "text", "text": text}] if self._takes_parts else text}

    @cached_property
    def _takes_parts(self) -> bool:
        """Whether what a turn says has to be a list of parts. Raises ConfigError where neither form is shown."""
        refusal: ConfigError | None = None
        for is_parts, content in ((False, _ASKED), (True, [{"type": "text", "text": _ASKED}])):
            try:
                written = self._write([{"role": "user", "content": content}])
            except ConfigError as error:
                refusal = refusal or error
                continue
            if _ASKED in written and "'text'" not in written:
                return is_parts
        raise refusal or ConfigError(f"the chat template of {self._name} does not show what the user says")

    @cached_property
    def supports_system_role(self) -> bool:
        """Whether it shows what a system turn says: some refuse one, and some leave it out in silence."""
        return self._shows(("system", _SYSTEM), ("user", _ASKED))

    @cached_property
    def _takes_repeats(self) -> bool:
        """Whether two turns of one role may follow each other."""
        return self._shows(("user", _ASKED), ("user", _AGAIN))

    def _shows(self, *turns: tuple[str, str]) -> bool:
        try:
            written = self._write([self._turn(*turn) for turn in turns])
        except ConfigError:
            return False
        return all(text in written for _, text in turns)

    def _switched(self, thinking: Thinking | None) -> tuple[dict[str, Any], str]:
        """What the template is told of thinking, and what is put behind the prompt where it takes no word for it: the
        end of an empty block, or the header of a reply.

        Raises ConfigError where neither can be done.
        """
        if thinking is None:
            return {}, ""
        options: dict[str, Any] = {
            name: thinking.on for name in _SWITCHES if self._option_changes_output(name, True, False)
        }
        takes_effort = self._option_changes_output("reasoning_effort", "low", "high")
        if thinking.effort:
            if not takes_effort:
                raise ConfigError(f"the chat template of {self._name} takes no effort: say on, off or a budget")
            return {**options, "reasoning_effort": thinking.effort}, ""
        if options:
            return options, ""
        tags = open_block(self._write([self._turn("user", _ASKED)]))
        if thinking.on:
            if tags is None and not takes_effort and self._header(thought=False, thinking=None) is None:
                raise ConfigError(f"the chat template of {self._name} has no switch for thinking: leave `thinking` out")
            return {}, ""
        if tags is not None:
            return {}, f"\n{tags[1]}\n\n"
        return {}, self._header(thought=False, thinking=None) or ""

    def _option_changes_output(self, name: str, one: object, other: object) -> bool:
        """Whether an option changes what is written."""
        asked = [self._turn("user", _ASKED)]
        try:
            options: list[dict[str, Any]] = [{name: one}, {name: other}]
            first, second = (self._write(asked, **each) for each in options)
            return first != second
        except ConfigError:
            return False

    @property
    def _name(self) -> str:
        return str(self._tokenizer.name_or_path)

    def _write(self, turns: Sequence[Turn], *, prompt: bool = True, **options: Any) -> str:
        """What the template makes of turns. Raises ConfigError when it refuses, or is broken."""
        clock: Callable[[str], str] = _on_a_fixed_day
        try:
            return str(
                self._tokenizer.apply_chat_template(
                    list(turns), tokenize=False, add_generation_prompt=prompt, strftime_now=clock, **options
                )
            )
        except Exception as error:  # a template is a program, and may fail in any way
            text = " ".join(str(error).split())[:200]
            raise ConfigError(f"the chat template of {self._name} cannot be used: {text}") from error


def merge_system_into_user(messages: Sequence[Message]) -> tuple[Message, ...]:
    """A conversation whose users say what its system turns did, each at the head of the turn that follows it."""
    turns: list[Message] = []
    waiting: list[str] = []
    for message in messages:
        if message.role == "system":
            waiting.append(message.content)
            continue
        if message.role == "user":
            message = message._replace(content="\n\n".join([*waiting, message.content]))
            waiting = []
        turns.append(message)
    return (*turns, *(Message("user", "\n\n".join(waiting)) for _ in waiting[:1]))


def _alternating(messages: Sequence[Message]) -> list[Message]:
    """A conversation in which turns of one role that follow each other are one."""
    turns: list[Message] = []
    for message in messages:
        if turns and turns[-1].role == message.role:
            turns[-1] = turns[-1]._replace(content=f"{turns[-1].content}\n\n{message.content}")
        else:
            turns.append(message)
    return turns


def _text(turn: Turn) -> str:
    content = turn["content"]
    return content if isinstance(content, str) else "\n".join(part["text"] for part in content)
