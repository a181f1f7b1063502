"""The report's page in a real browser: what it shows, what it asks of the network, and what hostile text does to it."""

from __future__ import annotations

import base64
import gzip
import json
import os
import re
import shutil
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from divcon.eval.analysis.pareto import front
from divcon.eval.analysis.summary import lines
from divcon.eval.config import dump, load
from divcon.eval.grid import results
from divcon.eval.grid.rows import PhaseCost, ResultRow, Results
from divcon.eval.render import page
from divcon.eval.report import plots
from divcon.eval.report import provenance as provenance_report
from divcon.eval.report.browser import Browser
from divcon.eval.report.plots import Drawn, Plot
from divcon.eval.report.report import report
from divcon.lm.cost.prices import MachinePrice, Price
from divcon.studies import provenance
from tests.fakes.rows import row as made_up_row

from ...fakes.hostile import KINDS
from ...paths import ROOT

if TYPE_CHECKING:
    from playwright.sync_api import Browser as Chromium
    from playwright.sync_api import Page

TESTS = {"known": 8, "new": 5}
VOTES = ("greedy", "sc@3", "prob_best@3")
COMPOSITIONS = tuple(product(("none", "llm", "distilled"), ("llm", "distilled")))
GOLD = "42"
NASTY = [
    "</script><script>window.hacked = 1</script>",
    "<img src=x onerror='window.hacked = 1'>",
    "<!-- <script>",
    "]]> &lt;b&gt; \\u003c \u202e backwards",
]


def answers_of(question: int, composition: int) -> list[str | None]:
    """Three samples that differ from question to question and from composition to composition."""
    kinds: list[list[str | None]] = [
        [GOLD, GOLD, "7"],
        ["7", "7", GOLD],
        [None, None, None],
        [GOLD, "7", None],
        ["7", "8", "9"],
        [GOLD, GOLD, GOLD],
    ]
    return kinds[(4 * question + composition * (5 * question + 3) + 3 * (question % 3)) % len(kinds)]


def row(test: str, question: int, composition: int, vote: str) -> ResultRow:
    decomposer, solver = COMPOSITIONS[composition]
    sampled = answers_of(question, composition)
    answers = sampled[:1] if vote == "greedy" else sampled
    verdicts = ["unreadable" if a is None else "right" if a == GOLD else "wrong" for a in answers]
    voters = [i for i, a in enumerate(answers) if a is not None]
    # The last of the voters is the most probable; the count is won by the answer most of them give.
    best = voters[-1:] if vote.startswith("prob") else voters
    counts = {i: [answers[j] for j in best].count(answers[i]) for i in best}
    won = list({answers[i]: answers.index(answers[i]) for i in best if counts[i] == max(counts.values())}.values())
    asked = [] if decomposer == "none" else [f"What is part {n} of {question}?" for n in (1, 2)]
    dollars = None if solver == "distilled" else 0.001 * len(answers)
    return made_up_row(
        *(decomposer, solver, vote),
        test=test,
        id=f"{test}-{question}",
        question=f"Question {question} of {test}: how many buns are left?",
        gold=GOLD,
        subquestions=asked,
        decomposition="\n".join(asked),
        decomposition_kind="asked" if asked else "not tried",
        decomposition_right=question % 2 == 0 if asked else None,
        solutions=[f"{test} {question}, sample {i} by {solver} after {decomposer}: {a}" for i, a in enumerate(answers)],
        answers=answers,
        classes=[None if a is None else answers.index(a) for a in answers],
        verdicts=verdicts,
        logprobs=[-1.0 + 0.1 * i for i in range(len(answers))],
        certainties=[None] * len(answers),
        answer=answers[won[0]] if won else None,
        verdict=verdicts[won[0]] if won else "unreadable",
        credit=sum(verdicts[i] == "right" for i in won) / len(won) if won else 0.0,
        decompose=cost(30 if asked else 0, 0.0 if not asked else 0.001),
        solve=cost(100 * len(answers) + 10 * composition, dollars),
    )


def cost(tokens: int, dollars: float | None) -> PhaseCost:
    flops = 1e6 * tokens
    return PhaseCost(int(tokens > 0), tokens, 0, tokens // 2, 0, tokens / 1000, flops, flops, dollars)


def made_up() -> Results:
    return Results(
        row(test, question, composition, vote)
        for composition in range(len(COMPOSITIONS))
        for vote in VOTES
        for test, many in TESTS.items()
        for question in range(many)
    )


ROWS = made_up()


def with_dollars(dollars: float | None) -> Results:
    """The rows, were every phase to cost as much."""
    return Results(
        replace(row, decompose=decompose, solve=solve, rank=rank)
        for row in ROWS
        for decompose, solve, rank in [[cost._replace(dollars=dollars) for cost in row.phases]]
    )


def directory(folder: Path, rows: Results) -> Path:
    """A run directory with these results."""
    folder.mkdir()
    (folder / "config.yaml").write_text(dump(load("miniature", ["grid.stops=[lead 2]"])), encoding="utf-8")
    results.save(rows, folder / "results.parquet")
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = directory(tmp_path_factory.mktemp("runs") / "made-up", ROWS)
    report(made)
    return made


@pytest.fixture(scope="module")
def chromium() -> Iterator[Chromium]:
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("no chromium on this machine: the page is not tried in a browser")
    from playwright.sync_api import sync_playwright

    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        yield browser
        browser.close()


@contextmanager
def opened(chromium: Chromium, file: Path, at: str = "", **how: Any) -> Iterator[Page]:
    """A page from disk; at the end, nothing was asked of a network, and nothing complained."""
    context = chromium.new_context(**how)
    tab = context.new_page()
    asked: list[str] = []
    complaints: list[str] = []
    tab.on("request", lambda request: asked.append(request.url))
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.on("console", lambda message: complaints.append(message.text))
    tab.goto(file.as_uri() + at)
    if how.get("java_script_enabled", True):
        tab.wait_for_selector("#browser .question h3")
    yield tab
    assert not complaints
    assert {url.partition("#")[0] for url in asked} == {file.as_uri()}
    context.close()


@pytest.fixture
def tab(chromium: Chromium, run: Path) -> Iterator[Page]:
    with opened(chromium, run / "report" / "index.html") as one:
        yield one


def compare(tab: Page, a: str, b: str) -> None:
    """Choose two cells by their labels."""
    for select, label in zip(("A", "B"), (a, b), strict=True):
        decomposer, solver, vote = label.split(":")
        tab.locator(f".cells label.{select.lower()} select").select_option(
            label=f"{decomposer} \N{RIGHTWARDS ARROW} {solver}, {vote}"
        )


def show(tab: Page, only: str) -> None:
    tab.locator("#browser label", has_text="show").locator("select").select_option(only)


def until(tab: Page, seen: Callable[[], bool]) -> None:
    """Wait for what must come. (Playwright's own way evaluates code, which the page's policy refuses.)"""
    for _ in range(250):
        if seen():
            return
        tab.wait_for_timeout(20)
    pytest.fail("it never came")


def settled(tab: Page) -> None:
    tab.locator(".question[aria-busy=false]").wait_for()


def counted(tab: Page, many: int) -> None:
    """Wait until so many questions pass the filters."""
    until(tab, lambda: tab.locator(".status").inner_text().startswith(f"{many} of"))
    settled(tab)


def listed(tab: Page) -> list[str]:
    """The ids of all questions that pass the filters, by paging through them."""
    settled(tab)
    tab.locator("#browser input[type=number]").fill("1")
    tab.keyboard.press("Enter")
    found = [shown(tab)]
    while tab.get_by_role("button", name="next question").is_enabled():
        tab.get_by_role("button", name="next question").click()
        found.append(shown(tab))
    return found


def shown(tab: Page) -> str:
    """The id of the question that is looked at."""
    settled(tab)
    return str(tab.evaluate("document.querySelector('.question h3').firstChild.data"))


def of_cell(label: str) -> dict[str, ResultRow]:
    return {row.id: row for row in ROWS if ":".join(row.cell.names) == label}


A, B = "llm:llm:sc@3", "llm:distilled:sc@3"


@pytest.mark.parametrize(
    ("only", "passes"),
    [
        ("", lambda a, b: True),
        ("a-right", lambda a, b: a.credit == 1 and b.credit == 0),
        ("b-right", lambda a, b: a.credit == 0 and b.credit == 1),
        ("both-wrong", lambda a, b: a.credit == 0 and b.credit == 0),
        ("both-right", lambda a, b: a.credit == 1 and b.credit == 1),
        ("unreadable", lambda a, b: "unreadable" in (a.verdict, b.verdict)),
    ],
)
def test_a_filter_shows_its_questions_and_no_others(tab: Page, only: str, passes: Any) -> None:
    a, b = of_cell(A), of_cell(B)
    wanted = [name for name in a if passes(a[name], b[name])]
    compare(tab, A, B)
    show(tab, only)
    assert wanted and listed(tab) == wanted
    assert tab.locator(".status").inner_text() == f"{len(wanted)} of 13 questions"


def test_rules_disagree_where_they_let_other_answers_win(tab: Page) -> None:
    count, best = of_cell("llm:llm:sc@3"), of_cell("llm:llm:prob_best@3")
    wanted = [
        name for name in count if (count[name].answer, count[name].credit) != (best[name].answer, best[name].credit)
    ]
    compare(tab, "llm:llm:greedy", "llm:llm:sc@3")
    show(tab, "disagree")
    assert 0 < len(wanted) < 13 and listed(tab) == wanted
    rules = tab.locator("article.b details", has_text="every rule on these samples")
    assert rules.locator("tbody tr").count() == 2 and rules.get_attribute("open") is not None


def test_a_test_and_a_search_narrow_the_questions(tab: Page) -> None:
    tab.locator("#browser label", has_text="test").locator("select").select_option("new")
    assert listed(tab) == [f"new-{i}" for i in range(5)]
    tab.get_by_role("searchbox").fill("QUESTION 3 of")
    counted(tab, 1)
    assert listed(tab) == ["new-3"]


def test_a_search_in_all_texts_finds_what_only_a_solution_says(tab: Page) -> None:
    tab.get_by_role("searchbox").fill("known 6, sample 1 by distilled")
    tab.get_by_text("No question is like that.").wait_for()
    tab.get_by_label("in all texts too").check()
    counted(tab, 1)
    assert listed(tab) == ["known-6"]


def test_two_cells_stand_side_by_side_with_all_that_they_said(tab: Page) -> None:
    compare(tab, "distilled:llm:sc@3", "none:llm:greedy")
    a, b = tab.locator("article.a"), tab.locator("article.b")
    left, right = a.bounding_box(), b.bounding_box()
    assert left and right and left["x"] + left["width"] <= right["x"] and left["y"] == right["y"]
    row = of_cell("distilled:llm:sc@3")["known-0"]
    assert a.locator(".solution").count() == 3 and b.locator(".solution").count() == 1
    assert [text.strip() for text in a.locator(".solution pre").all_inner_texts()] == list(row.solutions)
    assert a.locator("ol li").all_inner_texts() == list(row.subquestions)
    assert "asked, right" in a.inner_text() and "not tried" in b.inner_text()
    assert "67 %" in a.inner_text() and "wins" in a.inner_text() and "probability 0.368" in a.inner_text()
    assert "of 13" in tab.locator(".pages").inner_text()


def test_an_unknown_cost_is_called_so_and_makes_the_sum_unknown(tab: Page) -> None:
    compare(tab, "llm:distilled:greedy", "llm:llm:greedy")
    costs = {side: tab.locator(f"article.{side} .costs tbody tr").all_inner_texts() for side in "ab"}
    assert [line.split("\t")[-1] for line in costs["a"]] == ["0.001", "unknown", "unknown"]
    assert [line.split("\t")[-1] for line in costs["b"]] == ["0.001", "0.001", "0.002"]


def test_keys_go_to_the_next_question_and_back_but_not_from_a_text_field(tab: Page) -> None:
    tab.locator("#browser").scroll_into_view_if_needed()
    for key, now in [("j", "known-1"), ("j", "known-2"), ("k", "known-1")]:
        tab.keyboard.press(key)
        assert shown(tab) == now
    tab.get_by_role("button", name="next question").focus()
    tab.keyboard.press("ArrowRight")
    assert shown(tab) == "known-2"
    tab.get_by_role("searchbox").focus()
    tab.keyboard.press("j")
    counted(tab, 0)


def test_the_first_tab_skips_to_the_content_and_focus_is_seen(tab: Page) -> None:
    tab.keyboard.press("Tab")
    skip = tab.locator("a.skip")
    assert skip.evaluate("link => link === document.activeElement")
    box = skip.bounding_box()
    assert box and box["x"] >= 0
    assert skip.evaluate("link => getComputedStyle(link).outlineStyle") == "solid"
    tab.keyboard.press("Enter")
    assert tab.evaluate("document.activeElement.id") == "content"


def test_everything_can_be_reached_by_tab(tab: Page) -> None:
    wanted = tab.evaluate("[...document.querySelectorAll('button:not(:disabled), select, input, summary')].length")
    reached = set()
    for _ in range(300):
        tab.keyboard.press("Tab")
        reached.add(tab.evaluate("[...document.querySelectorAll('*')].indexOf(document.activeElement)"))
    controls = tab.evaluate(
        "[...document.querySelectorAll('button:not(:disabled), select, input, summary')]"
        ".filter((one) => one.checkVisibility()).map((one) => [...document.querySelectorAll('*')].indexOf(one))"
    )
    assert wanted > 20 and set(controls) <= reached


def test_a_link_opens_the_same_view(chromium: Chromium, tab: Page, run: Path) -> None:
    compare(tab, "none:llm:prob_best@3", "distilled:llm:sc@3")
    show(tab, "unreadable")
    tab.get_by_role("button", name="next question").click()
    tab.locator("#plot select").first.select_option("tokens")
    before, hash = shown(tab), tab.evaluate("location.hash")
    with opened(chromium, run / "report" / "index.html", hash) as other:
        assert shown(other) == before
        assert other.locator("article h4").all_inner_texts() == tab.locator("article h4").all_inner_texts()
        assert other.locator(".status").inner_text() == tab.locator(".status").inner_text()
        assert other.locator("#plot select").first.input_value() == "tokens"
        assert other.evaluate("document.getElementById('browser').getBoundingClientRect().top < innerHeight")


def test_a_page_that_was_only_opened_keeps_its_address(tab: Page) -> None:
    assert tab.evaluate("location.hash") == ""


@pytest.mark.parametrize(
    "at",
    ["#axis=constructor&only=constructor", "#a=nobody&at=%00%zz&test=none", "#decomposer=&vote=__proto__", "#votes"],
)
def test_an_address_that_means_nothing_opens_the_usual_view(chromium: Chromium, run: Path, at: str) -> None:
    with opened(chromium, run / "report" / "index.html", at) as tab:
        assert shown(tab) == "known-0"


def background(tab: Page) -> int:
    """How light it is, 0 to 255."""
    colour = str(tab.evaluate("getComputedStyle(document.body).backgroundColor"))
    return int(re.findall(r"\d+", colour)[0])


def test_the_dark_scheme_follows_the_system_and_the_button_is_remembered(chromium: Chromium, run: Path) -> None:
    file = run / "report" / "index.html"
    with opened(chromium, file, color_scheme="light") as light:
        assert background(light) > 200
    with opened(chromium, file, color_scheme="dark") as dark:
        assert background(dark) < 60
        dark.get_by_role("button", name="use the light theme").click()
        assert background(dark) > 200
        dark.reload()
        assert background(dark) > 200
        dark.get_by_role("button", name="use the dark theme").click()
        assert background(dark) < 60


def test_a_phone_scrolls_in_one_direction_and_stacks_the_cells(chromium: Chromium, run: Path) -> None:
    phone: dict[str, Any] = {"viewport": {"width": 360, "height": 740}, "is_mobile": True, "has_touch": True}
    with opened(chromium, run / "report" / "index.html", **phone) as tab:
        assert tab.evaluate("document.documentElement.scrollWidth") == 360
        a, b = tab.locator("article.a").bounding_box(), tab.locator("article.b").bounding_box()
        assert a and b and a["x"] == b["x"] and a["y"] + a["height"] <= b["y"]
        point = tab.locator("#plot .point .touch").last
        point.tap()
        assert tab.locator("#plot .card").is_visible() and tab.evaluate("location.hash") == ""
        point.tap()
        assert "a=" in tab.evaluate("location.hash")


# -- the plot ----------------------------------------------------------------------------------------------------------


def points(tab: Page) -> list[str]:
    """The cells that are drawn, by rising cost."""
    return [str(label).split(";")[0] for label in tab.locator("#plot .point").evaluate_all(_LABELS)]


_LABELS = "all => all.map((one) => one.getAttribute('aria-label'))"


def test_every_cell_is_a_point_and_filters_take_points_away(tab: Page) -> None:
    assert len(points(tab)) == 6 * 2  # of the first two votes
    tab.get_by_role("checkbox", name="prob_best@3").check()
    assert len(points(tab)) == 6 * 3
    tab.locator("fieldset", has_text="solver").get_by_label("distilled").uncheck()
    assert len(points(tab)) == 3 * 3
    tab.locator("fieldset", has_text="decomposer").get_by_label("none").uncheck()
    assert len(points(tab)) == 2 * 3


def test_a_cell_of_unknown_cost_is_named_and_not_drawn(tab: Page) -> None:
    tab.locator("#plot select").first.select_option("dollars")
    assert len(points(tab)) == 3 * 2 and not [name for name in points(tab) if "\N{RIGHTWARDS ARROW} distilled" in name]
    said = tab.locator("#undrawn").inner_text()
    assert "of unknown cost in US dollars" in said and "llm \N{RIGHTWARDS ARROW} distilled, greedy" in said


def test_a_cost_of_zero_has_no_place_on_a_logarithmic_axis(chromium: Chromium, tmp_path: Path) -> None:
    free = with_dollars(0.0)
    made = directory(tmp_path / "free", free)
    report(made, "dollars")
    with opened(chromium, made / "report" / "index.html") as tab:
        assert not points(tab) and "no place for a cost of 0" in tab.locator("#undrawn").inner_text()
        tab.get_by_label("logarithmic").uncheck()
        assert len(points(tab)) == 6 * 2 and tab.locator("#undrawn").inner_text() == ""


@pytest.mark.parametrize("axis", ["flops", "tokens", "seconds"])
def test_the_front_of_every_axis_is_the_front_of_the_tables(tab: Page, axis: str) -> None:
    whole = [line for line in lines(ROWS) if line.test == "all questions" and str(line.cell.vote) in VOTES[:2]]
    steps = front((getattr(line, axis), line.accuracy.value) for line in whole)
    tab.locator("#plot select").first.select_option(axis)
    drawn = str(tab.locator("#plot .front").get_attribute("d"))
    assert len(steps) > 1 and drawn.count("V") == len(steps) - 1


def test_hovering_and_focusing_a_point_show_its_numbers(tab: Page) -> None:
    tab.locator("#plot").scroll_into_view_if_needed()
    tab.locator("#plot .point .touch").last.hover()
    card = tab.locator("#plot .card")
    assert "FLOPs: " in card.inner_text() and "of 13 questions" in card.inner_text()
    tab.locator("#plot .point").first.focus()
    tab.keyboard.press("ArrowRight")
    assert card.locator("strong").inner_text() == points(tab)[1]
    tab.keyboard.press("Shift+Enter")
    chosen = tab.locator(".cells label.b select").evaluate("select => select.selectedOptions[0].textContent")
    assert chosen == points(tab)[1]


def test_without_scripts_the_drawn_figure_stays(chromium: Chromium, run: Path) -> None:
    with opened(chromium, run / "report" / "index.html", java_script_enabled=False) as tab:
        assert tab.locator("figure.accuracy_cost svg").is_visible()
        assert "needs JavaScript" in tab.locator("#browser").inner_text()
        assert not tab.locator("#theme").is_visible()


# -- hostile text ------------------------------------------------------------------------------------------------------


def hostile_row(of: ResultRow, text: str) -> ResultRow:
    """A row all of whose texts are the hostile one."""
    many = (text,) * len(of.solutions)
    return replace(
        of,
        id=text,
        test=text,
        question=text,
        gold=text,
        decomposition=text,
        subquestions=(text,),
        solutions=many,
        answers=many,
        answer=text,
    )


def test_hostile_text_is_shown_and_does_nothing(chromium: Chromium, tmp_path: Path) -> None:
    texts = [*NASTY, "nul \x00 and \x1b", "lone \ud800 surrogate", *(make(1, Path("x")) for make in KINDS.values())]
    templates = [one for one in ROWS if one.id == "known-0"]
    browser = Browser.of(Results(hostile_row(one, text) for one in templates for text in texts))
    (tmp_path / "page.html").write_text(page.document("x", browser.sections(), browser.blocks()), encoding="utf-8")
    with opened(chromium, tmp_path / "page.html") as tab:
        for text in texts:
            settled(tab)
            said = str(tab.locator(".question .solution pre").first.evaluate("pre => pre.firstChild.data"))
            visible = re.sub("[\x00-\x08\x0b-\x1f]", lambda c: chr(0x2400 + ord(c[0])), text)
            assert said.replace("\ufffd", "\ud800") == visible[:4000]
            tab.keyboard.press("j")
        assert tab.evaluate("window.hacked") is None
        assert tab.locator("main script").count() == 1 and tab.locator("main img").count() == 0


@pytest.mark.parametrize("text", [*NASTY, "lone \ud800 surrogate"])
def test_no_text_ends_a_block_of_facts_or_is_changed_by_it(text: str) -> None:
    block = page.facts("x", {text: [text]})
    assert block.count("<") == 2 and block.isascii()
    assert json.loads(re.sub("<.*?>", "", block)) == {text: [text]}


def test_a_long_text_unfolds_on_demand(chromium: Chromium, tmp_path: Path) -> None:
    long = "a long story " * 80_000
    rows = [replace(one, solutions=(long,) * len(one.solutions)) for one in ROWS if one.id == "known-0"]
    browser = Browser.of(Results(rows))
    (tmp_path / "page.html").write_text(page.document("x", browser.sections(), browser.blocks()), encoding="utf-8")
    with opened(chromium, tmp_path / "page.html") as tab:
        solution = tab.locator(".solution pre").first
        assert len(str(solution.text_content())) < 5000
        solution.get_by_role("button", name="Show all 1,040,000 characters").click()
        assert solution.text_content() == long


def test_the_policy_refuses_scripts_that_the_page_did_not_bring(chromium: Chromium, run: Path) -> None:
    tab = chromium.new_page()
    tab.goto((run / "report" / "index.html").as_uri())
    tab.evaluate(
        "const s = document.createElement('script'); s.textContent = 'window.hacked = 1'; document.body.append(s)"
    )
    assert tab.evaluate("window.hacked") is None
    refused = tab.evaluate("fetch('https://example.org/').then(() => 'asked', () => 'refused')")
    assert refused == "refused"
    tab.close()


# -- what the page is made of ------------------------------------------------------------------------------------------


def blocks(browser: Browser) -> list[Any]:
    packed = [re.sub("<.*?>", "", block) for block in browser.blocks()]
    return [json.loads(gzip.decompress(base64.b64decode(one))) for one in packed]


def test_samples_that_votes_share_are_stored_once() -> None:
    (of_known, of_new) = blocks(Browser.of(ROWS))
    assert len(of_known["questions"]) == 8 and len(of_new["questions"]) == 5
    for texts in of_known["texts"]:
        assert len(texts) == len(set(texts))
        assert sum("sample" in text for text in texts) == 6 * 3  # six compositions, greedy being the first sample


def test_texts_beyond_the_budget_are_left_out_of_every_test_alike_and_it_is_said() -> None:
    rows = Results(replace(one, question=f"{one.question} {'x' * 600_000}") for one in ROWS)
    whole = Browser.of(rows)
    sizes = [len(chunk.packed) for chunk in whole.chunks]
    some = Browser.of(rows, budget=sum(sizes) // 2)
    kept = [chunk.start for chunk in some.chunks]
    assert len(whole.chunks) == 7 and 0 < len(kept) < len(sizes)
    assert sum(len(chunk.packed) for chunk in some.chunks) <= some.budget
    assert min(kept) < 8 <= max(kept)
    told = sum(chunk.end - chunk.start for chunk in some.chunks)
    assert f"holds the texts of {told} of 13 questions" in "".join(some.sections())
    assert "holds the texts" not in "".join(whole.sections())


def test_a_question_whose_texts_were_left_out_keeps_its_verdicts(chromium: Chromium, tmp_path: Path) -> None:
    browser = Browser.of(ROWS, budget=0)
    (tmp_path / "page.html").write_text(page.document("x", browser.sections(), browser.blocks()), encoding="utf-8")
    with opened(chromium, tmp_path / "page.html") as tab:
        assert "they are in results.parquet" in tab.locator("article.a").inner_text()
        assert tab.locator("article.a .badge").count() == 1
        compare(tab, A, B)
        show(tab, "unreadable")
        assert 0 < len(listed(tab)) < 13


def test_the_same_results_make_the_same_page(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / run.name)
    assert report(tmp_path / run.name).read_bytes() == (run / "report" / "index.html").read_bytes()


def test_a_figure_that_there_is_nothing_for_any_more_is_removed(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    (copy / "report" / "own.svg").write_text("the user's", encoding="utf-8")

    def nothing(of: Drawn) -> Plot | None:
        return None

    monkeypatch.setitem(plots.PLOTS, "heat_map", nothing)
    text = report(copy).read_text(encoding="utf-8")
    assert not [*(copy / "report").glob("heat_map.*")] and (copy / "report" / "own.svg").is_file()
    assert "figure class=heat_map" not in text and "figure class=by_test" in text


def test_equal_texts_of_a_run_are_one_string_in_memory(run: Path) -> None:
    rows = results.read(run / "results.parquet")
    same = [row for row in rows if row.id == "known-3"]
    assert rows == ROWS
    assert len({id(row.question) for row in same}) == 1 and len({id(row.cell) for row in rows}) == len(ROWS.by_cell)
    assert len({id(text) for row in same if row.cell.names[1] == "distilled" for text in row.solutions}) == 9


@pytest.mark.skipif("DIVCON_INSTALLED" in os.environ, reason="the wheel is what it lists")
def test_every_file_of_the_page_is_listed_for_the_wheel() -> None:
    told = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    render = ROOT / "eval" / "render"
    listed = {path for pattern in told["package-data"]["divcon.eval.render"] for path in render.glob(pattern)}
    needed = {path for path in (render / "web").iterdir() if path.is_file()}
    assert needed and needed <= listed


# -- provenance --------------------------------------------------------------------------------------------------------


def told_by(prices: dict[str, Any]) -> dict[str, Any]:
    model = {"host": "local", "model": "tiny", "revision": "abc123"}
    return provenance.record({"miniature/solve": "f" * 64}, dict.fromkeys(prices, model), prices)


def test_provenance_names_versions_prompts_models_and_prices(tmp_path: Path) -> None:
    prices = {
        "llm": Price(prompt=2.5, completion=10.0, cached=1.25, source="genai-prices 0.2.3, 2026-11-01"),
        "student": MachinePrice(second=0.0004),
    }
    provenance.write(told_by(prices), tmp_path)
    text = "".join(provenance_report.sections(tmp_path))
    for fact in ("f" * 64, "genai-prices 0.2.3, 2026-11-01", "local tiny abc123", "torch", "transformers", "0.0004"):
        assert fact in text
    assert [path.name for path in tmp_path.iterdir()] == ["provenance.json"]


def test_a_price_that_nobody_names_is_unknown(tmp_path: Path) -> None:
    provenance.write(told_by({"llm": None}), tmp_path)
    assert "<td>unknown price</td>" in "".join(provenance_report.sections(tmp_path))


def test_a_run_without_provenance_says_so(run: Path) -> None:
    assert "the run has no provenance.json" in (run / "report" / "index.html").read_text(encoding="utf-8")


def test_a_folder_that_is_no_checkout_has_no_commit(tmp_path: Path) -> None:
    assert provenance.commit(tmp_path) is None
    (tmp_path / ".git").write_text("gitdir: nowhere", encoding="utf-8")
    assert provenance.commit(tmp_path) is None
