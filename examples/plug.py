"""A distilled decomposer in front of an LLM, in Python.

As it is, it takes the miniature study's decomposer (`make study`), and asks the LLM of another terminal:
`divcon serve --local miniature/llm --port 8001`.
"""

import asyncio
import os

import divcon

QUESTION = "Mia has 4 crates of pears. She eats 7 pears. How many pears does Mia have now?"

plugged = divcon.plug(
    decomposer=os.environ.get("DECOMPOSER", "runs/miniature/decomposer"),
    llm=os.environ.get("LLM", "http://127.0.0.1:8001/v1"),  # or a client: openai.OpenAI(), openai.AsyncOpenAI()
    model=os.environ.get("MODEL", "llm"),
    prompts="miniature",  # the only ones that this LLM knows; leave it out for any other
    request={"temperature": 0},
)

answer = plugged.answer(QUESTION)
print(answer)  # the sub-questions, the solution, the answer
print(answer.usage["solve"].usage, answer.dollars)

print([each.answer for each in plugged.answers([QUESTION, "Ben has 3 bags of figs. How many figs does Ben have?"])])
print(asyncio.run(plugged.aanswer(QUESTION)).answer)

*pieces, last = plugged.stream(QUESTION)  # pieces of the solution as they come, then the Answer
print("".join(map(str, pieces)) == last.solution)
