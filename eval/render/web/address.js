// What is looked at stands behind the # of the address, so that a link opens the same view.
const address = {
  values: new URLSearchParams(),
  listeners: [],
  read() {
    const text = location.hash.slice(1);
    if (!text.includes("=")) return false; // a heading, or nothing
    this.values = new URLSearchParams(text);
    return true;
  },
  get(name, otherwise = "") { return this.values.get(name) ?? otherwise; },
  all(name) { return this.values.has(name) ? this.values.getAll(name) : null; },
  // Values that are empty or null leave the address; a list is kept whole, even when nothing is in it.
  set(changes) {
    for (const [name, value] of Object.entries(changes)) {
      this.values.delete(name);
      if (Array.isArray(value)) (value.length ? value : [""]).forEach((one) => this.values.append(name, one));
      else if (value) this.values.set(name, value);
    }
    const text = String(this.values);
    try { history.replaceState(null, "", text ? `#${text}` : location.pathname + location.search); } catch { /* no history here */ }
  },
  onchange(listener) { this.listeners.push(listener); },
};
address.read();
addEventListener("hashchange", () => { if (address.read()) address.listeners.forEach((listener) => listener()); });
