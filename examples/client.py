"""What a client changes to have its questions decomposed: where it asks, with which key, and for which model.

As it is, it asks `divcon serve --decomposer runs/miniature/decomposer --local miniature/llm`.
"""

import asyncio
import os

import openai

ENDPOINT = os.environ.get("ENDPOINT", "http://127.0.0.1:8000/v1")
KEY = os.environ.get("KEY", "none")  # one of `divcon keys`, where the endpoint wants one
MODEL = os.environ.get("MODEL", "llm")  # what the LLM behind the endpoint is called
QUESTION = "Mia has 4 crates of pears. She eats 7 pears. How many pears does Mia have now?"
TURNS = [{"role": "user", "content": QUESTION}]

# client = openai.OpenAI()  # before
client = openai.OpenAI(base_url=ENDPOINT, api_key=KEY)

reply = client.chat.completions.create(model=MODEL, messages=TURNS, temperature=0)
print(reply.choices[0].message.content)
print(reply.usage.divcon["subquestions"])

for chunk in client.chat.completions.create(model=MODEL, messages=TURNS, temperature=0, stream=True):
    print(chunk.choices[0].delta.content or "", end="")
print()

voted = client.chat.completions.create(model=MODEL, messages=TURNS, extra_body={"divcon": {"k": 5}})
print(voted.usage.divcon["share"], "of 5 samples agree")


async def ask() -> str:
    """The same in an event loop."""
    async with openai.AsyncOpenAI(base_url=ENDPOINT, api_key=KEY) as client:
        reply = await client.chat.completions.create(model=MODEL, messages=TURNS, temperature=0)
    return reply.choices[0].message.content


print(asyncio.run(ask()))
