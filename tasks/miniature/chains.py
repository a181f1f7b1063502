"""How steps chain: what a question's structure is, and which structures are held out.

A chain is written as its kinds of step, `fact-lose-gainfact`. Where two people are told of, a bar parts
them, and what is asked about both comes last: `fact-lose|fact|total`.

    fact       an amount that a fact tells            given      an amount that the text tells; no step
    gain       some more                              lose       some fewer
    times      somebody has so many times as many     share      shared equally
    gainfact   an amount that a fact tells, more      losefact   an amount that a fact tells, fewer
    total      both together                          compare    how many more
"""

from __future__ import annotations

KNOWN: tuple[str, ...] = (
    "fact",
    "fact-gain",
    "fact-lose",
    "fact-times",
    "fact-share",
    "given-gainfact",
    "given-losefact",
    "fact|given|total",
    "fact|given|compare",
    "fact-gain-lose",
    "fact-lose-gain",
    "fact-gain-times",
    "fact-lose-share",
    "fact-times-lose",
    "fact-share-gain",
    "fact-gainfact",
    "given-gainfact-lose",
    "given-losefact-share",
    "given-gainfact|given|compare",
    "fact|fact|total",
    "fact-lose-gainfact",
    "fact-gain-lose-times",
    "fact-times-lose-gain",
    "fact-lose|fact|total",
    "fact-gain|fact|compare",
)

NEW: tuple[str, ...] = (
    "fact-losefact",
    "fact-share-times",
    "fact-times-gain",
    "fact-lose-times",
    "fact|fact|compare",
    "fact-lose|given|compare",
    "given-losefact-gain",
    "given-gainfact-times-lose",
    "fact-gain-losefact",
    "fact-share-lose-gain",
    "fact-times-gain-share",
    "fact|fact-lose|total",
)

SINGLE = "fact"
"""The one chain that needs no decomposition."""


def parse(chain: str) -> tuple[list[list[str]], str]:
    """The branches of a chain, one per person, and what is asked about both ('' where there is one)."""
    *branches, last = chain.split("|")
    return ([branch.split("-") for branch in branches], last) if branches else ([last.split("-")], "")
