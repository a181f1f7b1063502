// Before the first paint: that scripts run, and the theme that was chosen here before.
document.documentElement.classList.add("scripted");
const theme = {
  get() {
    try { return localStorage.getItem("divcon-theme"); } catch { return null; } // storage may be shut
  },
  set(name) {
    document.documentElement.dataset.theme = name;
    try { localStorage.setItem("divcon-theme", name); } catch { /* it is then not remembered */ }
  },
};
if (theme.get()) document.documentElement.dataset.theme = theme.get();
