// The button for the theme, the plot, and the browser.
const button = document.getElementById("theme");
const dark = () => (document.documentElement.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
const relabel = () => { button.textContent = dark() ? "Light" : "Dark"; button.setAttribute("aria-label", `use the ${dark() ? "light" : "dark"} theme`); };
button.addEventListener("click", () => { theme.set(dark() ? "light" : "dark"); relabel(); });
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", relabel);
button.hidden = false;
relabel();

if (document.getElementById("plot")) plot(document.getElementById("plot"), facts("scatter"));
if (document.getElementById("browser")) {
  if ("DecompressionStream" in window) unpacked("index").then((index) => browser(document.getElementById("browser"), index));
  else document.getElementById("browser").textContent = "This browser cannot unpack the texts; they are in results.parquet.";
}
