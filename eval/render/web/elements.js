// Elements. Text goes in as text nodes and attributes only: nothing here reads markup.
const SVG = "http://www.w3.org/2000/svg";

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children.flat(Infinity).filter((child) => child != null && child !== false));
  return element;
}

const el = (tag, attributes = {}, ...children) => filled(document.createElement(tag), attributes, children);
const svg = (tag, attributes = {}, ...children) => filled(document.createElementNS(SVG, tag), attributes, children);

function facts(name) {
  const block = document.getElementById(name);
  return block && JSON.parse(block.textContent);
}

const LONG = 4000;

// A text as it is, control characters made visible; a long one unfolds on demand.
function prose(text, tag = "pre") {
  const visible = (part) => part.replace(/[\u0000-\u0008\u000b-\u001f]/g, (c) => String.fromCharCode(0x2400 + c.charCodeAt(0)));
  const shown = el(tag, { class: "prose", dir: "auto" }, visible(text.slice(0, LONG)));
  if (text.length <= LONG) return shown;
  const more = el("button", { type: "button", onclick: () => shown.replaceChildren(visible(text)) },
    `Show all ${text.length.toLocaleString("en")} characters`);
  shown.append("\u2026 ", more);
  return shown;
}

function table(header, rows, caption) {
  const line = (cells, tag) => el("tr", {}, cells.map((cell) => el(tag, tag === "th" ? { scope: "col" } : {}, cell)));
  return el("div", { class: "wide", tabindex: 0 },
    el("table", {}, caption && el("caption", {}, caption), el("thead", {}, line(header, "th")),
      el("tbody", {}, rows.map((row) => line(row, "td")))));
}

const SUPERSCRIPT = "\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079";

function power(exponent) {
  return String(exponent).replace("-", "\u207b").replace(/\d/g, (digit) => SUPERSCRIPT[digit]);
}

// Three significant digits. What nobody knows is called so.
function number(value) {
  if (value == null) return "unknown";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e-3 && size < 1e5) return Number(value.toPrecision(3)).toLocaleString("en", { maximumSignificantDigits: 3 });
  const [digits, exponent] = value.toExponential(2).split("e");
  return `${Number(digits)}\u00d710${power(Number(exponent))}`;
}

const percent = ([value, low, high]) =>
  `${(100 * value).toFixed(1)} % [${(100 * low).toFixed(1)}, ${(100 * high).toFixed(1)}]`;

const labelled = ([decomposer, solver, vote]) => `${decomposer} \u2192 ${solver}, ${vote}`;
