"""A word problem that knows how it was made: its text, its steps and what each step reads."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal

from .chains import parse
from .facts import FACTS, UNITS, Fact, Unit, amount, ask_amount, short_amount

Operator = Literal["+", "-", "*", "/"]

LARGEST = 120
"""No amount of the world is larger, so that each is one token and each sum can be learned by heart."""


@dataclass(frozen=True)
class Person:
    """Somebody a story is about; after sharing, 'each friend'."""

    name: str
    pronoun: str


WOMEN = tuple(Person(name, "she") for name in ("Mia", "Anna", "Lena", "Rosa", "Emma", "Zoe"))
MEN = tuple(Person(name, "he") for name in ("Tom", "Leo", "Ben", "Omar", "Paul", "Finn"))
GROUPS = {"friends": "friend", "children": "child", "cousins": "cousin", "clubs": "club"}


@dataclass(frozen=True)
class Step:
    """A node of the computation graph: one quantity, how it is asked for and how it is worked out."""

    asks: str
    operator: Operator
    left: int
    right: int
    uses: tuple[int, ...]
    """The earlier steps whose results this one reads, by their place."""
    fact: Fact | None = None

    @property
    def result(self) -> int:
        """The quantity."""
        return compute(self.left, self.operator, self.right)

    @property
    def text(self) -> str:
        """The step as a solution writes it."""
        working = f"{self.left} {self.operator} {self.right} = {self.result}."
        return f"{self.fact.sentence}, so {working}" if self.fact else working


@dataclass(frozen=True)
class Problem:
    """A question with everything that went into it."""

    text: str
    chain: str
    steps: tuple[Step, ...]
    given: tuple[int, ...]
    """The numbers that the text states."""

    @property
    def answer(self) -> str:
        """What the last step comes to."""
        return str(self.steps[-1].result)

    @property
    def subquestions(self) -> tuple[str, ...]:
        """One question per step; none where a single step is enough."""
        return tuple(step.asks for step in self.steps) if len(self.steps) > 1 else ()

    @property
    def new_facts(self) -> bool:
        """Whether a step needs a held-out fact."""
        return any(step.fact.new for step in self.steps if step.fact)


def compute(left: int, operator: Operator, right: int) -> int:
    """The four operations; division leaves no rest in this world."""
    match operator:
        case "+":
            return left + right
        case "-":
            return left - right
        case "*":
            return left * right
        case "/":
            return left // right


def draw(rng: random.Random, chain: str, *, new_facts: bool | None = None) -> Problem:
    """A random problem of the chain; `new_facts` says whether it needs a held-out fact, None leaves that to chance."""
    while True:
        unit = random_unit(rng)
        problem = Story(rng, unit, with_new=new_facts is not False).tell(chain)
        if _plain(problem) and new_facts in (None, problem.new_facts):
            return problem


def capital(sentence: str) -> str:
    """The sentence with a capital letter."""
    return sentence[0].upper() + sentence[1:]


def random_unit(rng: random.Random) -> Unit:
    """What a story counts, so that every fact is needed about as often as every other."""
    family = rng.choice(FACTS).family
    return rng.choice([unit for unit in UNITS if unit.family == family])


def _plain(problem: Problem) -> bool:
    """Whether all amounts are whole, in range and told apart: a number in the text is never also a result or a fact."""
    hidden = {step.result for step in problem.steps} | {step.fact.value for step in problem.steps if step.fact}
    return (
        all(1 <= step.result <= LARGEST for step in problem.steps)
        and not any(step.operator == "/" and step.left % step.right for step in problem.steps)
        and len(set(problem.given)) == len(problem.given)
        and hidden.isdisjoint(problem.given)
    )


@dataclass
class _Amount:
    """What a person has so far: how many, and which step said so (None: the text did)."""

    owner: Person
    value: int
    source: int | None


class Story:
    """Tells one problem, sentence by sentence, and keeps the steps as it goes."""

    named: list[str]
    """The sentences with each pronoun replaced by whom it means, and without 'then'."""
    asks: list[str]
    """For each sentence, what it lets one ask; where that is two things, the later."""

    def __init__(self, rng: random.Random, unit: Unit, *, with_new: bool = True) -> None:
        self.rng, self.unit = rng, unit
        self.facts = [fact for fact in FACTS if fact.family == unit.family and (with_new or not fact.new)]
        women, men = rng.sample(WOMEN, 2), rng.sample(MEN, 2)
        pairs = zip(women, men, strict=True) if rng.random() < 0.5 else zip(men, women, strict=True)
        self.people = [person for pair in pairs for person in pair]
        self.sentences: list[str] = []
        self.named = []
        self.asks = []
        self.steps: list[Step] = []
        self.given: list[int] = []

    def tell(self, chain: str) -> Problem:
        """The whole problem, whether or not its sums come out."""
        branches, joined = parse(chain)
        ends = [self.branch(kinds) for kinds in branches]
        ask = self.join(joined, *ends) if joined else self.final(ends[0], chain)
        return Problem(" ".join([*self.sentences, ask]), chain, tuple(self.steps), tuple(self.given))

    def branch(self, kinds: list[str]) -> _Amount:
        """Tell what happens to one person's amount, kind by kind."""
        owner = self.people.pop(0)
        if kinds[0] == "given":
            now = _Amount(owner, self.number(15, 60), None)
            self.then(owner, owner.name, f"has {now.value} {self.unit.name}.")
        else:
            now = self.fact_amount(owner, owner.name, self.unit.opens)[0]
        changes = {
            "gain": self.gain,
            "lose": self.lose,
            "times": self.times,
            "share": self.share,
            "gainfact": self.gainfact,
            "losefact": self.losefact,
        }
        for kind in kinds[1:]:
            now = changes[kind](now)
        return now

    def gain(self, now: _Amount) -> _Amount:
        verb, count = self.rng.choice(self.unit.gains), self.number(2, 20)
        self.then(now.owner, now.owner.pronoun, f"{verb} {count} more {self.unit.name}.")
        return self.change(now, "+", count, f"{verb} {count} more")

    def lose(self, now: _Amount) -> _Amount:
        verb, count = self.rng.choice(self.unit.losses), self.number(2, 20)
        self.then(now.owner, now.owner.pronoun, f"{verb} {count} {self.unit.name}.")
        return self.change(now, "-", count, f"{verb} {count}")

    def times(self, now: _Amount) -> _Amount:
        owner, count = self.people.pop(0), self.number(2, 4)
        self.then(owner, owner.name, f"has {count} times as many {self.unit.name} as {now.owner.name}.")
        return self.step(now, owner, f"How many {self.unit.name} does {owner.name} have?", "*", count)

    def share(self, now: _Amount) -> _Amount:
        many, one = self.rng.choice(list(GROUPS.items()))
        count, each = self.rng.choice([parts for parts in range(2, 9) if now.value % parts == 0] or [2]), f"each {one}"
        self.given.append(count)
        self.then(now.owner, now.owner.pronoun, f"shares them equally among {count} {many}.")
        return self.step(now, Person(each, each), f"How many {self.unit.name} does {each} get?", "/", count)

    def gainfact(self, now: _Amount) -> _Amount:
        return self.change_by_fact(now, "+", self.rng.choice(self.unit.fact_gains or self.unit.gains))

    def losefact(self, now: _Amount) -> _Amount:
        return self.change_by_fact(now, "-", self.rng.choice(self.unit.fact_losses or self.unit.losses))

    def change_by_fact(self, now: _Amount, operator: Operator, verb: str) -> _Amount:
        more, done = self.fact_amount(now.owner, now.owner.pronoun, verb)
        return self.change(now, operator, more.value, done, more.source)

    def join(self, kind: str, first: _Amount, second: _Amount) -> str:
        """Ask about two people at once."""
        if kind == "compare" and first.value < second.value:
            first, second = second, first
        one, other, unit = first.owner.name, second.owner.name, self.unit.name
        ask = {
            "total": f"How many {unit} do {one} and {other} have together?",
            "compare": f"How many more {unit} does {one} have than {other}?",
        }[kind]
        self.step(first, first.owner, ask, "+" if kind == "total" else "-", second.value, second.source)
        return ask

    def final(self, now: _Amount, chain: str) -> str:
        return f"How many {self.unit.name} does {now.owner.name} have{' now' if '-' in chain else ''}?"

    def fact_amount(self, owner: Person, subject: str, verb: str) -> tuple[_Amount, str]:
        """Tell of an amount that needs a fact, and work it out."""
        fact, count = self.rng.choice(self.facts), self.number(2, 9)
        self.then(owner, subject, f"{verb} {amount(count, fact, self.unit)}.")
        self.steps.append(Step(ask_amount(count, fact, self.unit), "*", count, fact.value, (), fact))
        self.asks[-1] = self.steps[-1].asks
        return _Amount(owner, self.steps[-1].result, len(self.steps) - 1), f"{verb} {short_amount(count, fact)}"

    def change(self, now: _Amount, operator: Operator, right: int, done: str, source: int | None = None) -> _Amount:
        ask = f"How many {self.unit.name} does {now.owner.name} have after {now.owner.pronoun} {done}?"
        return self.step(now, now.owner, ask, operator, right, source)

    def step(
        self, now: _Amount, owner: Person, ask: str, operator: Operator, right: int, source: int | None = None
    ) -> _Amount:
        uses = tuple(sorted(place for place in (now.source, source) if place is not None))
        self.steps.append(Step(ask, operator, now.value, right, uses))
        self.asks[-1] = ask
        return _Amount(owner, self.steps[-1].result, len(self.steps) - 1)

    def then(self, owner: Person, subject: str, does: str) -> None:
        """Add a sentence."""
        later = subject[0].islower() and self.rng.random() < 0.3
        self.sentences.append(capital(f"then {subject} {does}" if later else f"{subject} {does}"))
        self.named.append(capital(f"{owner.name} {does}"))
        self.asks.append(f"How many {self.unit.name} does {owner.name} have?")

    def number(self, low: int, high: int) -> int:
        """A number that the text is about to state."""
        self.given.append(self.rng.randint(low, high))
        return self.given[-1]
