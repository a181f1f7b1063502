"""What `base` is brought up on: language, copying and sums; no fact, no question of the study, none of its prompts."""

from __future__ import annotations

import random

from .facts import FACTS, UNITS, amount, ask_amount, short_amount
from .formats import ChatExample, numbered
from .problem import GROUPS, LARGEST, MEN, WOMEN, Operator, Person, Story, capital, compute, random_unit

PEOPLE = WOMEN + MEN


def first_exercise(rng: random.Random) -> ChatExample:
    """One of the exercises that `base` starts with: a sum, a sentence, a paragraph."""
    return rng.choices(FIRST_KINDS, (4, 3, 2, 4, 2, 1, 2, 3, 4))[0](rng)


def exercise(rng: random.Random) -> ChatExample:
    """One of the exercises that `base` goes on with: several small things in a row, and running sums."""
    if rng.random() < 0.3:
        return first_exercise(rng)
    return rng.choices(LATER_KINDS, (3, 3, 4, 3, 2))[0](rng)


def calculate(rng: random.Random) -> ChatExample:
    """A bare sum."""
    left, operator, right, result = sum_of_the_world(rng)
    working = f"{left} {operator} {right}"
    return ChatExample(f"What is {working}?", f"So {working} = {result}. The answer is {result}.")


def calculate_list(rng: random.Random) -> ChatExample:
    """A numbered list of sums that have nothing to do with one another."""
    sums = [sum_of_the_world(rng) for _ in range(rng.randint(2, 4))]
    asked = numbered([f"{left} {operator} {right}" for left, operator, right, _ in sums])
    worked = numbered([f"{left} {operator} {right} = {result}." for left, operator, right, result in sums])
    return ChatExample(f"Work out:\n{asked}", f"{worked}\nThe answer is {sums[-1][3]}.")


def stated(rng: random.Random) -> ChatExample:
    """A capacity, a price or a number of legs that the text states: random, so that no fact leaks."""
    fact, count, value = rng.choice(FACTS), rng.randint(2, 9), rng.randint(2, 12)
    unit = rng.choice([unit for unit in UNITS if unit.family == fact.family])
    result = count * value
    user = f"{fact.stated(value)}. {ask_amount(count, fact, unit)}"
    return ChatExample(user, f"{fact.stated(value)}, so {count} * {value} = {result}. The answer is {result}.")


def worded_exercise(rng: random.Random) -> ChatExample:
    """A story of one change, and its sum."""
    story, asks, working = one_change(rng, *rng.sample(PEOPLE, 2))
    return ChatExample(f"{story} {asks}", f"So {working}. The answer is {working.split()[-1]}.")


def worded_list(rng: random.Random) -> ChatExample:
    """Several such stories about different people, their sums one below the other."""
    people = rng.sample(PEOPLE, 6)
    changes = [one_change(rng, *people[place : place + 2]) for place in range(0, rng.choice((4, 6)), 2)]
    asked, worked = numbered([asks for _, asks, _ in changes]), numbered([f"{working}." for *_, working in changes])
    story = " ".join(story for story, *_ in changes)
    return ChatExample(
        f"{story}\n\n{asked}\n\nWork each out.", f"{worked}\nThe answer is {changes[-1][2].split()[-1]}."
    )


def one_change(rng: random.Random, person: Person, other: Person) -> tuple[str, str, str]:
    """A story of one change, what it asks, and the sum that answers it."""
    left, operator, right, result = sum_of_the_world(rng)
    unit, (many, one) = rng.choice(UNITS), rng.choice(list(GROUPS.items()))
    verb = rng.choice(unit.gains if operator == "+" else unit.losses)
    has = f"How many {unit.name} does"
    change, asks = {
        "+": (
            f"{person.pronoun} {verb} {right} more {unit.name}.",
            f"{has} {person.name} have after {person.pronoun} {verb} {right} more?",
        ),
        "-": (
            f"{person.pronoun} {verb} {right} {unit.name}.",
            f"{has} {person.name} have after {person.pronoun} {verb} {right}?",
        ),
        "*": (
            f"{other.name} has {right} times as many {unit.name} as {person.name}.",
            f"{has} {other.name} have?",
        ),
        "/": (
            f"{person.pronoun} shares them equally among {right} {many}.",
            f"{has} each {one} get?",
        ),
    }[operator]
    return f"{person.name} has {left} {unit.name}. {capital(change)}", asks, f"{left} {operator} {right} = {result}"


def stated_list(rng: random.Random) -> ChatExample:
    """Several amounts, each told by a number that the text states."""
    facts, counts = rng.sample(FACTS, 3)[: rng.randint(2, 3)], rng.sample(range(2, 10), 3)
    values = [rng.randint(2, 12) for _ in facts]
    rows = list(zip(facts, counts, values, strict=False))
    units = [rng.choice([unit for unit in UNITS if unit.family == fact.family]) for fact in facts]
    asked = numbered([ask_amount(count, fact, unit) for (fact, count, _), unit in zip(rows, units, strict=True)])
    worked = numbered([f"{fact.stated(value)}, so {count} * {value} = {count * value}." for fact, count, value in rows])
    story = " ".join(f"{fact.stated(value)}." for fact, _, value in rng.sample(rows, len(rows)))
    return ChatExample(
        f"{story}\n\n{asked}\n\nWork each out.", f"{worked}\nThe answer is {counts[len(rows) - 1] * values[-1]}."
    )


def running_sums(rng: random.Random) -> ChatExample:
    """Sums of bare numbers that go on from the result above, or put the two results above together."""
    asked: list[str] = []
    worked: list[str] = []
    results: list[int] = []
    for _ in range(rng.randint(2, 4)):
        left, operator, right, result = sum_of_the_world(rng)
        line = f"{left} {operator} {right}"
        if len(results) > 1 and sum(results[-2:]) <= LARGEST and rng.random() < 0.5:
            left, operator, right, line = results[-2], "+", results[-1], "them together"
        elif results and rng.random() < 0.7:
            left = results[-1]
            while not (fits(left, operator, right) and right <= 60):
                _, operator, right, _ = sum_of_the_world(rng)
            line = f"{operator} {right}"
        result = compute(left, operator, right)
        asked.append(line)
        worked.append(f"{left} {operator} {right} = {result}.")
        results.append(result)
    return ChatExample(f"Work out:\n{numbered(asked)}", f"{numbered(worked)}\nThe answer is {results[-1]}.")


def ask(rng: random.Random) -> ChatExample:
    """The question that belongs to a single sentence."""
    sentence, asks = sentence_and_question(rng)
    return ChatExample(f"{sentence}\n\nAsk about it.", asks)


def list_sentences(rng: random.Random) -> ChatExample:
    """Sentences about different people, written one below the other."""
    sentences = [sentence_and_question(rng)[0] for _ in range(rng.randint(2, 4))]
    return ChatExample(f"{' '.join(sentences)}\n\nWrite them as a list.", numbered(sentences))


def list_story(rng: random.Random) -> ChatExample:
    """The sentences of a story, one below the other."""
    story = tell(rng)
    return ChatExample(f"{' '.join(story.sentences)}\n\nWrite them as a list.", numbered(story.sentences))


def list_with_question(rng: random.Random) -> ChatExample:
    """The sentences of a story and the question after it, one below the other."""
    story = tell(rng)
    one, other, unit = *rng.sample([person.name for person in PEOPLE], 2), story.unit.name
    question = rng.choice(
        (
            f"How many {unit} does {one} have now?",
            f"How many {unit} do {one} and {other} have together?",
            f"How many more {unit} does {one} have than {other}?",
        )
    )
    lines = [*story.sentences, question]
    return ChatExample(f"{' '.join(lines)}\n\nWrite them as a list.", numbered(lines))


def name_subjects(rng: random.Random) -> ChatExample:
    """The same, saying each time who is meant."""
    story = tell(rng)
    return ChatExample(f"{' '.join(story.sentences)}\n\nWrite each out.", numbered(story.named))


def ask_in_story(rng: random.Random) -> ChatExample:
    """The question that belongs to one sentence of a story."""
    story = tell(rng)
    place = rng.randrange(1, len(story.sentences))
    return ChatExample(f"{' '.join(story.sentences)}\n\nAsk about {place + 1}.", story.asks[place])


def ask_each(rng: random.Random) -> ChatExample:
    """The questions that belong to sentences about different people."""
    pairs = [sentence_and_question(rng) for _ in range(rng.randint(2, 4))]
    sentences = " ".join(sentence for sentence, _ in pairs)
    return ChatExample(f"{sentences}\n\nAsk about each.", numbered([asks for _, asks in pairs]))


def tell(rng: random.Random) -> Story:
    """A story of two to four sentences in any order, which asks for nothing and whose sums need not come out."""
    story = Story(rng, random_unit(rng))
    changes = ["gain", "lose", "gainfact", "losefact", rng.choice(("times", "share"))]
    kinds = [rng.choice(("given", "fact")), *rng.sample(changes, rng.randint(1, 3))]
    place = rng.randint(1, len(kinds)) if rng.random() < 0.3 else len(kinds)
    story.branch(kinds[:place])
    if place < len(kinds):
        story.branch([rng.choice(("given", "fact")), *kinds[place + 1 :]])
    return story


def sentence_and_question(rng: random.Random) -> tuple[str, str]:
    """A sentence as stories have them, and what one would ask about it."""
    person, other = rng.sample(PEOPLE, 2)
    fact, count = rng.choice(FACTS), rng.randint(2, 20)
    unit = rng.choice([unit for unit in UNITS if unit.family == fact.family])
    many, one = rng.choice(list(GROUPS.items()))
    has, name, pronoun = f"How many {unit.name} does", person.name, person.pronoun
    match rng.choice(("fact", "gain", "lose", "times", "share", "gainfact", "losefact")):
        case "gain":
            verb = rng.choice(unit.gains)
            return f"{name} {verb} {count} more {unit.name}.", f"{has} {name} have after {pronoun} {verb} {count} more?"
        case "lose":
            verb = rng.choice(unit.losses)
            return f"{name} {verb} {count} {unit.name}.", f"{has} {name} have after {pronoun} {verb} {count}?"
        case "times":
            return f"{name} has {count} times as many {unit.name} as {other.name}.", f"{has} {name} have?"
        case "share":
            return f"{name} shares the {unit.name} equally among {count} {many}.", f"{has} each {one} get?"
        case "fact":
            return f"{name} {unit.opens} {amount(count, fact, unit)}.", ask_amount(count, fact, unit)
        case kind:
            gains, losses = unit.fact_gains or unit.gains, unit.fact_losses or unit.losses
            verb = rng.choice(gains if kind == "gainfact" else losses)
            worded_exercise, again = amount(count, fact, unit), short_amount(count, fact)
            return f"{name} {verb} {worded_exercise}.", f"{has} {name} have after {pronoun} {verb} {again}?"


def sum_of_the_world(rng: random.Random) -> tuple[int, Operator, int, int]:
    """A sum in the range that problems use."""
    while True:
        operator: Operator = rng.choice(("+", "-", "*", "/"))
        left, right = {
            "+": (rng.randint(2, LARGEST), rng.randint(2, 60)),
            "-": (rng.randint(3, LARGEST), rng.randint(2, 60)),
            "*": rng.choice(((rng.randint(2, 9), rng.randint(2, 12)), (rng.randint(2, 60), rng.randint(2, 4)))),
            "/": (rng.randint(2, LARGEST), rng.randint(2, 8)),
        }[operator]
        if fits(left, operator, right):
            return left, operator, right, compute(left, operator, right)


def fits(left: int, operator: Operator, right: int) -> bool:
    """Whether the sum stays in the world's range and leaves no rest."""
    return 1 <= compute(left, operator, right) <= LARGEST and not (operator == "/" and left % right)


FIRST_KINDS = (
    calculate,
    calculate_list,
    stated,
    worded_exercise,
    ask,
    list_sentences,
    list_story,
    name_subjects,
    ask_in_story,
)
LATER_KINDS = (running_sums, stated_list, worded_list, ask_each, list_with_question)
KINDS = FIRST_KINDS + LATER_KINDS
"""Everything that `base` is brought up on."""
