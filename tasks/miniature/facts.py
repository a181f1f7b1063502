"""What everybody in the world knows and no text states: what a crate holds, a kite costs, a spider stands on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Family = Literal["holds", "costs", "has"]


@dataclass(frozen=True)
class Fact:
    """One number that has to be known, because no question says it."""

    noun: str
    plural: str
    family: Family
    value: int
    new: bool
    """Held out: no training question of a student needs it."""

    @property
    def sentence(self) -> str:
        """The fact as a solution says it, without its full stop."""
        return self.stated(self.value)

    def stated(self, value: int) -> str:
        """The same sentence with another number, for exercises that must not give the fact away."""
        article = "An" if self.noun[0] in "aeiou" else "A"
        return f"{article} {self.noun} {self.family} {value}"


@dataclass(frozen=True)
class Unit:
    """What is counted in a story, and what people do with it."""

    name: str
    family: Family
    """Which facts lead to it: pears come out of containers, coins out of prices, legs off animals."""
    gains: tuple[str, ...]
    losses: tuple[str, ...]
    opens: str = "has"
    """The verb that brings the first amount, when a fact says how large it is."""
    fact_gains: tuple[str, ...] = ()
    fact_losses: tuple[str, ...] = ()


def _facts(family: Family, known: str, new: str) -> tuple[Fact, ...]:
    return tuple(
        Fact(noun, plural, family, int(value), held_out)
        for rows, held_out in ((known, False), (new, True))
        for noun, plural, value in map(str.split, rows.split(","))
    )


FACTS: tuple[Fact, ...] = (
    *_facts(
        "holds",
        "crate crates 10,box boxes 6,basket baskets 8,bag bags 5,tray trays 12,jar jars 9,"
        "sack sacks 11,tin tins 4,tub tubs 7,bundle bundles 3,case cases 12,bucket buckets 8",
        "barrel barrels 11,carton cartons 9,chest chests 7,pouch pouches 3,drawer drawers 10,rack racks 5",
    ),
    *_facts(
        "costs",
        "kite kites 7,lamp lamps 9,drum drums 11,brush brushes 3,hat hats 5,belt belts 6",
        "scarf scarves 4,vase vases 8,clock clocks 12",
    ),
    *_facts(
        "has",
        "hen hens 2,cow cows 4,ant ants 6,spider spiders 8,crab crabs 10,stool stools 3",
        "starfish starfish 5,beetle beetles 6,prawn prawns 10",
    ),
)

UNITS: tuple[Unit, ...] = (
    *(Unit(name, "holds", ("bakes", "buys"), ("eats", "sells")) for name in ("rolls", "buns", "pies", "tarts")),
    *(Unit(name, "holds", ("picks", "buys"), ("eats", "sells")) for name in ("pears", "plums", "apples", "nuts")),
    *(Unit(name, "holds", ("finds", "buys"), ("loses", "sells")) for name in ("shells", "ropes", "hooks")),
    *(Unit(name, "holds", ("gets", "buys"), ("lends", "loses")) for name in ("books", "maps", "cards")),
    *(Unit(name, "holds", ("gets", "finds"), ("uses", "loses")) for name in ("pens", "pencils", "badges")),
    Unit("coins", "costs", ("earns", "finds"), ("spends", "loses"), "sells", ("sells",), ("buys",)),
    Unit("legs", "has", ("carves", "buys"), ("breaks", "sells"), "carves", ("carves",), ("uses",)),
)


def amount(count: int, fact: Fact, unit: Unit) -> str:
    """An amount that needs the fact, as a story tells it."""
    match fact.family:
        case "holds":
            return f"{count} {fact.plural} of {unit.name}"
        case "costs":
            return f"{count} {fact.plural}"
        case "has":
            return f"the legs for {count} {fact.plural}"


def short_amount(count: int, fact: Fact) -> str:
    """The same amount as a sub-question names it, where what is counted has been said already."""
    return f"the legs for {count} {fact.plural}" if fact.family == "has" else f"{count} {fact.plural}"


def ask_amount(count: int, fact: Fact, unit: Unit) -> str:
    """The sub-question that the fact answers."""
    match fact.family:
        case "holds":
            return f"How many {unit.name} are in {count} {fact.plural}?"
        case "costs":
            return f"How many {unit.name} do {count} {fact.plural} cost?"
        case "has":
            return f"How many {unit.name} do {count} {fact.plural} have?"
