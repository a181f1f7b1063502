"""A decomposer of your own in front of an LLM: a callable from questions to decompositions, no training.

As it is, it asks the LLM of another terminal: `divcon serve --local miniature/llm --port 8001`.
"""

import os
import re
from collections.abc import Sequence

import divcon
from divcon.decompose import Decomposition
from divcon.lm import Usage
from divcon.tasks import Question


def what_is_held(questions: Sequence[Question]) -> list[Decomposition]:
    """What each of a question's crates, bags, ... holds, and then the question's last sentence."""
    made = []
    for question in questions:
        held = re.findall(r"(\d+) (\w+) of (\w+)", question.text)
        asked = [f"How many {what} are in {number} {box}?" for number, box, what in held]
        made.append(Decomposition((*asked, question.text.split(". ")[-1]), "asked", "", Usage()))
    return made


llm, model = os.environ.get("LLM", "http://127.0.0.1:8001/v1"), os.environ.get("MODEL", "llm")
plugged = divcon.plug(what_is_held, llm, model, prompts="miniature", request={"temperature": 0})
print(plugged.answer("Mia has 4 crates of pears. She eats 7 pears. How many pears does Mia have now?"))
