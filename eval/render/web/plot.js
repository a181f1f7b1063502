// Accuracy against cost: a point a cell, with its interval; the cells that no cheaper one reaches are joined.
const COLOURS = [
  "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#888888", "#B8A800",
  "#8A4FBF", "#8B5A2B", "#00868B", "#C2304F", "#3B3B98", "#A6A600", "#F4A6A6", "#5B8C5A",
]; // Okabe and Ito's, and more
const SHAPES = [
  "M-5 0a5 5 0 1 0 10 0a5 5 0 1 0 -10 0Z", "M-4.5 -4.5H4.5V4.5H-4.5Z", "M0 -5.5L5.5 4.5H-5.5Z", "M0 -6L6 0L0 6L-6 0Z",
  "M0 5.5L5.5 -4.5H-5.5Z", "M-2 -5H2V-2H5V2H2V5H-2V2H-5V-2H-2Z",
];
const AXES = {
  flops: "FLOPs a question", tokens: "tokens a question", reasoning: "reasoning tokens a question", seconds: "seconds a question", dollars: "US dollars a question",
};
const KINDS = ["decomposer", "solver", "vote"];

const colour = (n) => COLOURS[n % COLOURS.length];

function plot(place, data) {
  const costs = Object.keys(AXES).filter((kind) => kind in data.points[0]); // nobody reasons in most runs
  const names = KINDS.map((_, i) => [...new Set(data.cells.map((cell) => cell[i]))]);
  const usual = [names[0], names[1], data.votes];
  const canvas = el("div", { class: "canvas" });
  const card = el("div", { class: "card", hidden: true });
  const drawing = svg("svg", { role: "group", "aria-label": "Accuracy against cost, a point a cell; arrow keys go from point to point" });
  const missing = el("p", { class: "note", id: "undrawn" });
  const axis = choice("cost", costs.map((kind) => [kind, AXES[kind]]), (value) => address.set({ axis: value === data.axis ? null : value }));
  const test = choice("test", data.tests.map((name, i) => [String(i), name]), (value) => address.set({ plotted: value === "0" ? null : data.tests[value] }));
  const logarithmic = el("input", { type: "checkbox", onchange: () => { address.set({ scale: logarithmic.checked ? null : "linear" }); draw(); } });
  const boxes = KINDS.map((kind, i) => filters(kind, i));
  let points = [], current = null;

  function choice(label, options, set) {
    const select = el("select", { onchange: () => { set(select.value); draw(); } }, options.map(([value, text]) => el("option", { value }, text)));
    return { select, field: el("label", {}, `${label} `, select) };
  }

  function filters(kind, i) {
    const inputs = names[i].map((name) => el("input", { type: "checkbox", value: name, onchange: () => {
      const shown = inputs.filter((input) => input.checked).map((input) => input.value);
      address.set({ [kind]: shown.join("\n") === usual[i].join("\n") ? null : shown });
      draw();
    } }));
    const labels = inputs.map((input, n) => el("label", { class: "chip" }, input, sign(i, n), ` ${input.value}`));
    return { inputs, field: el("fieldset", {}, el("legend", {}, kind), labels) };
  }

  // The filters are the legend: colour says the decomposer, shape the solver, filling the vote.
  function sign(i, n) {
    const style = i === 0 ? { fill: colour(n), d: SHAPES[0] } : i === 1 ? { fill: "currentColor", d: SHAPES[n % SHAPES.length] }
      : { fill: names[2][n] === "greedy" ? "none" : "currentColor", stroke: "currentColor", "stroke-width": 1.5, d: SHAPES[0] };
    return svg("svg", { class: "sign", viewBox: "-8 -8 16 16", "aria-hidden": "true" }, svg("path", style));
  }

  const chosen = (i) => new Set(boxes[i].inputs.filter((input) => input.checked).map((input) => input.value));

  function restore() {
    axis.select.value = costs.includes(address.get("axis")) ? address.get("axis") : data.axis;
    test.select.value = String(Math.max(0, data.tests.indexOf(address.get("plotted"))));
    logarithmic.checked = address.get("scale") !== "linear";
    boxes.forEach(({ inputs }, i) => {
      const shown = new Set(address.all(KINDS[i]) ?? usual[i]);
      for (const input of inputs) input.checked = shown.has(input.value);
    });
  }

  function draw() {
    const shown = KINDS.map((_, i) => chosen(i)), kind = axis.select.value, log = logarithmic.checked;
    const all = data.points.filter((p) => p.test === Number(test.select.value) && data.cells[p.cell].every((name, i) => shown[i].has(name)));
    const drawn = all.filter((p) => p[kind] != null && (!log || p[kind] > 0)).sort((p, q) => p[kind] - q[kind]);
    const wide = Math.max(canvas.clientWidth || 600, 260), high = Math.round(Math.min(430, Math.max(300, wide * 0.6)));
    const frame = { left: 46, right: wide - 14, top: 14, bottom: high - 44 };
    const x = scale(drawn.map((p) => p[kind]), frame.left + 14, frame.right - 14, log);
    const y = scale(drawn.flatMap((p) => p.accuracy.map((part) => 100 * part)), frame.bottom, frame.top, false, 0, 100);
    drawing.setAttribute("viewBox", `0 0 ${wide} ${high}`);
    drawing.setAttribute("height", high);
    points = drawn.map((p) => mark(p, x(p[kind]), p.accuracy.map((part) => y(100 * part))));
    const best = front(drawn.filter((p) => p.real), kind);
    const line = best.map((p, i) => `${i ? `H${x(p[kind])}V` : `M${x(p[kind])} `}${y(100 * p.accuracy[0])}`).join("");
    drawing.replaceChildren(
      ...grid(x, y, frame), svg("text", { class: "name", x: (frame.left + frame.right) / 2, y: high - 6, "text-anchor": "middle" }, AXES[kind]),
      svg("text", { class: "name", x: 4, y: 10 }, drawn.length ? "accuracy (%)" : "nothing to draw: no cell is chosen whose cost is known"),
      svg("path", { class: "front", d: line ? `${line}H${frame.right}` : "" }), ...points.map((point) => point.node), ...namedOf(best, data.cells, x, y, kind, frame));
    points.forEach((point, i) => { point.node.setAttribute("tabindex", i ? -1 : 0); });
    tell(all, kind, log);
    hide();
  }

  function mark(p, x, [value, low, high]) {
    const cell = data.cells[p.cell], [d, s] = [0, 1].map((i) => names[i].indexOf(cell[i]));
    const node = svg("g", { class: "point", role: "button", "aria-label": said(p).join("; "), transform: `translate(${x} 0)`, style: `color:${colour(d)}` },
      svg("path", { class: "bar", d: `M0 ${high}V${low}M-3 ${high}H3M-3 ${low}H3` }),
      svg("path", { class: cell[2] === "greedy" ? "hollow" : "full", d: SHAPES[s % SHAPES.length], transform: `translate(0 ${value})` }),
      svg("circle", { class: "touch", cy: value, r: 12 }));
    const point = { p, node, x, y: value };
    const show = () => reveal(point);
    for (const event of ["mouseenter", "focus"]) node.addEventListener(event, show);
    for (const event of ["mouseleave", "blur"]) node.addEventListener(event, hide);
    // A finger has nothing to hover with: its first touch shows, the second opens.
    let wasShown = false;
    node.addEventListener("pointerdown", () => { wasShown = current === point; });
    node.addEventListener("click", (event) => {
      if (event.pointerType === "touch" && !wasShown) show();
      else open(p, event.shiftKey);
    });
    node.addEventListener("keydown", (event) => onkey(event, point));
    return point;
  }

  const said = (p) => [
    labelled(data.cells[p.cell]), `${percent(p.accuracy)} of ${p.n.toLocaleString("en")} questions`,
    ...costs.map((kind) => `${AXES[kind].replace(" a question", "")}: ${number(p[kind])}`),
  ];

  function reveal(point) {
    current = point;
    const [name, accuracy, ...costs] = said(point.p);
    card.replaceChildren(el("strong", {}, name), el("div", {}, accuracy), ...costs.map((cost) => el("div", {}, cost)),
      el("small", {}, matchMedia("(hover: none)").matches ? "a question; touch again to read it as A below" : "a question; click or Enter: read it as A below, with Shift as B"));
    card.hidden = false;
    const ratio = canvas.clientWidth / drawing.viewBox.baseVal.width, left = point.x * ratio + 14;
    card.style.left = `${Math.max(0, left + card.offsetWidth > canvas.clientWidth ? Math.min(left - card.offsetWidth - 28, canvas.clientWidth - card.offsetWidth) : left)}px`;
    card.style.top = `${Math.max(0, point.y * ratio - card.offsetHeight / 2)}px`;
  }

  function hide() { card.hidden = true; current = null; }

  function open(p, second) {
    address.set({ [second ? "b" : "a"]: data.cells[p.cell].join(":"), at: null });
    document.dispatchEvent(new CustomEvent("cell"));
  }

  function onkey(event, point) {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (step) points[(points.indexOf(point) + step + points.length) % points.length].node.focus();
    else if (event.key === "Enter" || event.key === " ") open(point.p, event.shiftKey);
    else if (event.key === "Escape" && current) hide();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  // What is not drawn is named: an unknown cost is not zero.
  function tell(all, kind, log) {
    const name = (p) => labelled(data.cells[p.cell]);
    const unknown = all.filter((p) => p[kind] == null).map(name), free = log ? all.filter((p) => p[kind] === 0).map(name) : [];
    missing.textContent = [
      unknown.length && `Not drawn, of unknown cost in ${AXES[kind].replace(" a question", "")}: ${unknown.join("; ")}.`,
      free.length && `Not drawn, as a logarithmic axis has no place for a cost of 0: ${free.join("; ")}.`,
    ].filter(Boolean).join(" ");
  }

  canvas.append(drawing, card);
  place.replaceChildren(
    el("div", { class: "controls" }, axis.field, el("label", {}, logarithmic, " logarithmic"), data.tests.length > 1 && test.field),
    canvas, missing, ...boxes.map((box) => box.field));
  restore();
  draw();
  address.onchange(() => { restore(); draw(); });
  if ("ResizeObserver" in window) {
    let before = canvas.clientWidth;
    new ResizeObserver(() => { if (canvas.clientWidth !== before) { before = canvas.clientWidth; draw(); } }).observe(canvas);
  }
}

// The points that no cheaper or equally cheap point reaches, by rising cost.
function front(points, kind) {
  const best = [];
  for (const p of [...points].sort((a, b) => a[kind] - b[kind] || b.accuracy[0] - a.accuracy[0])) {
    if (!best.length || p.accuracy[0] > best[best.length - 1].accuracy[0]) best.push(p);
  }
  return best;
}

// From values to places, with its ticks.
function scale(values, from, to, log, least = -Infinity, most = Infinity) {
  const by = log ? Math.log10 : (value) => value;
  let [low, high] = values.length ? [Math.min(...values), Math.max(...values)].map(by) : [0, 1];
  if (high - low < 1e-9) [low, high] = log ? [low - 0.3, high + 0.3] : [low - Math.abs(low || 1) * 0.1, high + Math.abs(high || 1) * 0.1];
  const room = (high - low) * 0.04;
  [low, high] = log ? [low - room, high + room] : [Math.max(least, low - room), Math.min(most, high + room)];
  const place = (value) => from + ((by(value) - low) / (high - low)) * (to - from);
  place.ticks = (log ? decades : even)(low, high, Math.abs(to - from));
  return place;
}

function decades(low, high) {
  const steps = high - low > 2.5 ? [1] : high - low > 0.8 ? [1, 2, 5] : [1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9];
  const found = [];
  for (let e = Math.floor(low); e <= Math.ceil(high); e++) {
    for (const step of steps) {
      const at = e + Math.log10(step);
      if (at >= low && at <= high) found.push(step * 10 ** e);
    }
  }
  return found;
}

function even(low, high, room) {
  const rough = (high - low) / Math.max(4, Math.min(8, room / 45)), size = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((n) => n * size).find((n) => n >= rough);
  const found = [];
  for (let i = Math.ceil(low / step); i * step <= high; i++) found.push(i * step);
  return found;
}

function grid(x, y, frame) {
  let until = -Infinity;
  const across = x.ticks.map((tick) => {
    const label = svg("text", { x: x(tick), y: frame.bottom + 16, "text-anchor": "middle" }, number(tick));
    const half = label.textContent.length * 3.4;
    const fits = x(tick) - half > until;
    if (fits) until = x(tick) + half + 6;
    return [svg("path", { class: "grid", d: `M${x(tick)} ${frame.top}V${frame.bottom}` }), fits && label];
  });
  const up = y.ticks.map((tick) => [
    svg("path", { class: "grid", d: `M${frame.left} ${y(tick)}H${frame.right}` }),
    svg("text", { x: frame.left - 6, y: y(tick) + 4, "text-anchor": "end" }, number(tick)),
  ]);
  return [...across, ...up, svg("path", { class: "axis", d: `M${frame.left} ${frame.top}V${frame.bottom}H${frame.right}` })].flat().filter(Boolean);
}

// Names of the cells on the front, where there is room for them.
function namedOf(best, cells, x, y, kind, frame) {
  const taken = [], found = [];
  for (const p of [...best].reverse()) {
    const text = labelled(cells[p.cell]), wide = text.length * 5.6;
    const right = x(p[kind]) + 9, end = right + wide > frame.right;
    const box = { left: end ? x(p[kind]) - 9 - wide : right, top: y(100 * p.accuracy[0]) - 14 };
    const free = box.left > frame.left && box.top > frame.top - 12 && taken.every((other) =>
      box.left > other.left + other.wide || box.left + wide < other.left || Math.abs(box.top - other.top) > 13);
    if (!free) continue;
    taken.push({ ...box, wide });
    found.push(svg("text", { class: "named", x: end ? x(p[kind]) - 9 : right, y: box.top + 8, "text-anchor": end ? "end" : "start" }, text));
  }
  return found;
}
