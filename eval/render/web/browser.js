// The questions, one at a time: what cell A and cell B made of each, side by side.
const SAID = { r: "\u2713 right", w: "\u2717 wrong", u: "? unreadable", t: "\u29d6 timed out", s: "\u00bd shared", "-": "not asked" };
const FILTERS = {
  "": "all questions", "a-right": "A right, B wrong", "b-right": "B right, A wrong", "both-wrong": "both wrong",
  "both-right": "both right", disagree: "rules disagree", unreadable: "unreadable",
};
const WRONG = "wut"; // no credit
const SCORES = ["rank", "probability", "certainty"];

function browser(place, index) {
  const size = index.id.length;
  const labels = index.cells.map((cell) => cell.slice(0, 3).join(":"));
  const cells = { a: cellChoice("a", "A"), b: cellChoice("b", "B") };
  const only = choice("show", Object.entries(FILTERS), "only");
  const test = choice("test", [["", "all tests"], ...index.tests.map((name) => [name, name])], "test");
  const find = el("input", { type: "search", placeholder: "in question, id or gold answer", oninput: () => later(refilter) });
  const deep = el("input", { type: "checkbox", onchange: () => refilter() });
  const status = el("p", { class: "status", role: "status" });
  const which = el("input", { type: "number", min: 1, step: 1, "aria-label": "which of these questions", onchange: () => go(Number(which.value) - 1) });
  const before = el("button", { type: "button", "aria-label": "previous question", onclick: () => go(at - 1) }, "\u2190", el("span", { class: "word" }, " Previous"));
  const after = el("button", { type: "button", "aria-label": "next question", onclick: () => go(at + 1) }, el("span", { class: "word" }, "Next "), "\u2192");
  const of = el("span");
  const shown = el("div", { class: "question", tabindex: -1, "aria-label": "question" });
  let found = [], at = 0, turn = 0, timer = null, texts = null, textsFor = null;

  function cellChoice(name, label) {
    const groups = new Map();
    index.cells.forEach(([decomposer, solver, vote], i) => {
      const group = `${decomposer} \u2192 ${solver}`;
      if (!groups.has(group)) groups.set(group, []);
      groups.get(group).push(el("option", { value: i }, `${group}, ${vote}`));
    });
    const select = el("select", { onchange: () => { address.set({ [name]: labels[select.value] }); refilter(); } },
      [...groups].map(([group, options]) => el("optgroup", { label: group }, options)));
    return { select, field: el("label", { class: name }, `${label} `, select) };
  }

  function choice(label, options, name) {
    const select = el("select", { onchange: () => refilter() }, options.map(([value, text]) => el("option", { value }, text)));
    return { select, name, field: el("label", {}, `${label} `, select) };
  }

  const chosen = () => [Number(cells.a.select.value), Number(cells.b.select.value)];

  function restore() {
    const [a, b] = usual();
    for (const [name, otherwise] of [["a", a], ["b", b]]) {
      const i = labels.indexOf(address.get(name));
      cells[name].select.value = String(i < 0 ? otherwise : i);
    }
    only.select.value = Object.hasOwn(FILTERS, address.get("only")) ? address.get("only") : "";
    test.select.value = index.tests.includes(address.get("test")) ? address.get("test") : "";
    find.value = address.get("find");
    deep.checked = address.get("deep") === "1";
  }

  // The LLM in both phases beside a student in one of them, under the same vote; or the first two.
  function usual() {
    const at = (label) => labels.indexOf(label), vote = index.cells[0][2];
    const first = Math.max(0, at(`llm:llm:${vote}`));
    const students = [`distilled:llm:${vote}`, `llm:distilled:${vote}`].map(at).filter((i) => i >= 0);
    return [first, students[0] ?? (first + 1) % labels.length];
  }

  function passes(name, a, b) {
    const [x, y] = [index.verdicts[a], index.verdicts[b]];
    const split = [a, b].map((i) => index.disagree[index.cells[i][3]]);
    return {
      "": () => true,
      "a-right": (i) => x[i] === "r" && WRONG.includes(y[i]),
      "b-right": (i) => y[i] === "r" && WRONG.includes(x[i]),
      "both-wrong": (i) => WRONG.includes(x[i]) && WRONG.includes(y[i]),
      "both-right": (i) => x[i] === "r" && y[i] === "r",
      disagree: (i) => split.some((told) => told[i] === "1"),
      unreadable: (i) => x[i] === "u" || y[i] === "u",
    }[name];
  }

  function later(act) { clearTimeout(timer); timer = setTimeout(act, 150); }

  // Which questions are shown; the one that is looked at stays if it is among them.
  async function refilter(wanted = key(found[at]), told = true) {
    const mine = ++turn, [a, b] = chosen(), said = find.value.trim().toLowerCase();
    if (told) address.set({ only: only.select.value, test: test.select.value, find: find.value, deep: deep.checked ? "1" : null });
    const inTest = index.tests.indexOf(test.select.value);
    let among = [...Array(size).keys()].filter((i) => inTest < 0 || index.test[i] === inTest);
    if (said) {
      const plain = (i) => [index.question[i], index.id[i], index.gold[i]].some((text) => text.toLowerCase().includes(said));
      const inTexts = deep.checked ? await searched(said, mine) : new Set();
      if (mine !== turn) return;
      among = among.filter((i) => plain(i) || inTexts.has(i));
    }
    for (const option of only.select.options) {
      const count = among.filter(passes(option.value, a, b)).length;
      option.textContent = `${FILTERS[option.value]} (${count.toLocaleString("en")})`;
    }
    found = among.filter(passes(only.select.value, a, b));
    at = Math.max(0, found.findIndex((i) => key(i) === wanted));
    await show(told);
  }

  // The questions whose texts, in any cell, hold what is searched for.
  async function searched(said, mine) {
    if (textsFor === said) return texts;
    const hits = new Set();
    for (const [start] of index.chunks) {
      if (mine !== turn) return hits;
      status.textContent = `searching the texts: ${start.toLocaleString("en")} of ${size.toLocaleString("en")} questions`;
      const chunk = await unpacked(`texts-${start}`);
      chunk.texts.forEach((each, i) => { if (each.some((text) => text.toLowerCase().includes(said))) hits.add(start + i); });
    }
    [texts, textsFor] = [hits, said];
    return hits;
  }

  const key = (i) => i === undefined ? "" : `${index.tests[index.test[i]]}/${index.id[i]}`;

  function go(to) {
    if (!found.length) return;
    at = Math.max(0, Math.min(found.length - 1, to || 0));
    show();
  }

  async function show(told = true) {
    const mine = ++turn, i = found[at];
    shown.setAttribute("aria-busy", "true");
    status.textContent = `${found.length.toLocaleString("en")} of ${size.toLocaleString("en")} questions`;
    [which.value, which.max, which.disabled] = [found.length ? at + 1 : "", found.length, !found.length];
    of.textContent = ` of ${found.length.toLocaleString("en")} `;
    [before.disabled, after.disabled] = [at <= 0, at >= found.length - 1];
    if (i === undefined) {
      shown.replaceChildren(el("p", {}, "No question is like that."));
      shown.setAttribute("aria-busy", "false");
      return;
    }
    if (told) address.set({ at: key(i) });
    const chunk = index.chunks.find(([start, end]) => start <= i && i < end);
    let made = null;
    try {
      if (chunk) made = taken(await chunkAt(chunk[0]), i - chunk[0]);
    } catch {
      status.textContent += "; this browser cannot unpack the texts";
    }
    if (mine !== turn) return;
    shown.replaceChildren(
      el("h3", {}, index.id[i], el("small", {}, ` ${index.tests[index.test[i]]}`)),
      prose(index.question[i], "blockquote"),
      el("p", {}, "gold answer: ", el("strong", { dir: "auto" }, prose(index.gold[i], "span"))),
      el("div", { class: "pair" }, chosen().map((cell, n) => side("AB"[n], cell, i, made))));
    shown.setAttribute("aria-busy", "false");
  }

  const taken = ({ questions, texts }, i) => ({ ...questions[i], texts: texts[i] });

  function side(name, cell, i, told) {
    const code = index.verdicts[cell][i], [decomposer, , vote, group] = index.cells[cell];
    const head = [el("h4", {}, el("span", { class: "name" }, name), ` ${labelled(index.cells[cell])} `), badge(code)];
    if (!told) return el("article", { class: name.toLowerCase() }, head, el("p", { class: "note" }, "The texts of this question are not in this page; they are in results.parquet."));
    const text = (n) => (n === null ? null : told.texts[n]);
    const made = told.cells[cell], samples = told.samples[group];
    if (!made) return el("article", { class: name.toLowerCase() }, head);
    return el("article", { class: name.toLowerCase() }, head,
      el("p", {}, "answer: ", answered(text(made.answer))),
      decomposed(told.decompositions[index.decomposers.indexOf(decomposer)], text),
      voted(cell, told, text), solved(samples, made, text),
      costs(told.decompositions[index.decomposers.indexOf(decomposer)].cost, samples.cost, made.cost, vote));
  }

  const badge = (code) => el("span", { class: `badge ${code === "-" ? "none" : code}` }, SAID[code]);
  const answered = (answer) => (answer === null ? el("em", {}, "none that can be read") : el("strong", { dir: "auto" }, prose(answer, "span")));

  // What a model thought before it replied: folded, since nobody was given it.
  const reasoned = (thought) => thought && el("details", { class: "reasoning" }, el("summary", {}, `reasoning (${thought.length.toLocaleString("en")} characters)`), prose(thought));

  function decomposed(of, text) {
    const right = of.right === null ? "" : of.right ? ", right" : ", not the right ones";
    const asks = of.asks.map(text);
    return el("section", {}, el("h5", {}, `Decomposition: ${of.kind}${right}${of.leaks ? ", holds the gold answer" : ""}`),
      reasoned(text(of.thought ?? null)),
      asks.length > 0 && el("ol", {}, asks.map((ask) => el("li", {}, prose(ask, "span")))),
      text(of.text) && text(of.text).trim() !== asks.join("\n").trim() && el("details", {}, el("summary", {}, "as it was written"), prose(text(of.text))));
  }

  // What each answer weighs under the cell's vote, and who wins under every rule on the same samples.
  function voted(cell, told, text) {
    const { tally, won } = told.cells[cell], group = index.cells[cell][3], samples = told.samples[group];
    if (!tally) return null;
    const heavy = [...tally].sort((one, other) => other[1] - one[1]), all = tally.reduce((sum, [, weight]) => sum + (weight ?? 0), 0);
    const rows = heavy.map(([of, weight]) => [
      answered(text(samples.answers[of])), badge(samples.verdicts[of]), String(samples.classes.filter((one) => one === of).length),
      weight === null ? "unknown" : `${all ? (100 * weight / all).toFixed(0) : 0} %`, won.includes(of) ? (won.length > 1 ? "ties" : "wins") : ""]);
    const rules = index.cells.map((other, i) => [other, told.cells[i]]).filter(([other, made]) => other[3] === group && made);
    return el("section", {}, el("h5", {}, `Vote: ${index.cells[cell][2]}`),
      rows.length ? table(["answer", "verdict", "samples", "weight", ""], rows) : el("p", {}, "nobody votes: no answer can be read"),
      rules.length > 1 && el("details", { open: index.disagree[group][found[at]] === "1" }, el("summary", {}, "every rule on these samples"),
        table(["rule", "wins"], rules.map(([other, made]) => [other[2], made.won.length ? made.won.flatMap((of, n) => [n ? " or " : "", answered(text(samples.answers[of])), " ", badge(samples.verdicts[of])]) : "nobody"]))));
  }

  function solved(samples, made, text) {
    const many = samples.texts.length, winner = made.won?.[0];
    return el("section", {}, el("h5", {}, many > 1 ? `${many} solutions` : "Solution"), samples.texts.map((solution, i) => {
      const scores = SCORES.filter((name) => samples.scores[name]).map((name) => `${name} ${samples.scores[name][i] === null ? "unknown" : samples.scores[name][i].toPrecision(3)}`);
      return el("details", { class: "solution", open: many <= 4 || i === winner },
        el("summary", {}, many > 1 ? `${i + 1}: ` : "", answered(text(samples.answers[i])), " ", badge(samples.verdicts[i]),
          many > 1 && made.won?.includes(samples.classes[i]) && el("span", { class: "wins" }, made.won.length > 1 ? " ties" : " wins"),
          scores.length > 0 && el("small", {}, ` ${scores.join(", ")}`)),
        reasoned(text(samples.thoughts?.[i] ?? null)), prose(text(solution)));
    }));
  }

  function costs(decompose, solve, rank, vote) {
    const phases = [["decompose", decompose], [vote === "greedy" ? "solve" : `solve \u00d7 ${vote.split("@")[1]}`, solve]];
    if (rank.some((part) => part)) phases.push(["rank", rank]);
    const size = Math.max(...phases.map(([, cost]) => cost.length)); // the sixth where a phase reasoned
    const full = phases.map(([name, cost]) => [name, Array.from({ length: size }, (_, i) => (i < cost.length ? cost[i] : 0))]);
    const sum = Array.from({ length: size }, (_, i) => (full.some(([, cost]) => cost[i] === null) ? null : full.reduce((all, [, cost]) => all + cost[i], 0)));
    const rows = [...full, ["together", sum]].map(([name, cost]) => [name, ...cost.map(number)]);
    return el("section", { class: "costs" }, el("h5", {}, "Cost of this question"), table(["phase", "tokens in", "out", "FLOPs", "seconds", "dollars", ...(size > 5 ? ["of out, reasoning"] : [])], rows));
  }

  function swap() {
    const [a, b] = chosen();
    address.set({ a: labels[b], b: labels[a] });
    restore();
    refilter();
  }

  function onkey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest?.("input, select, textarea, #plot")) return;
    const box = place.getBoundingClientRect(), seen = box.top < innerHeight && box.bottom > 0;
    const arrows = place.contains(event.target) && !event.target.closest(".wide");
    const step = { j: 1, k: -1 }[event.key] ?? (arrows ? { ArrowRight: 1, ArrowLeft: -1 }[event.key] : 0);
    if (!step || !seen) return;
    event.preventDefault();
    go(at + step);
  }

  place.replaceChildren(
    el("div", { class: "controls cells" }, cells.a.field, el("button", { type: "button", onclick: swap, "aria-label": "swap A and B", title: "swap A and B" }, "\u21c4"), cells.b.field),
    el("div", { class: "controls" }, only.field, index.tests.length > 1 && test.field, el("label", {}, "search ", find), el("label", {}, deep, " in all texts too")),
    el("div", { class: "controls pages" }, before, which, of, after, el("small", { class: "hint" }, "keys: j and k, or \u2190 and \u2192 here"), status),
    shown);
  document.addEventListener("keydown", onkey);
  document.addEventListener("cell", () => { restore(); refilter(); place.scrollIntoView(); shown.focus({ preventScroll: true }); });
  address.onchange(() => { restore(); refilter(address.get("at"), false); });
  restore();
  if (["a", "b", "at"].some((name) => address.get(name))) place.scrollIntoView();
  return refilter(address.get("at"), false);
}
