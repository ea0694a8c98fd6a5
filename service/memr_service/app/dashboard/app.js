/** The page: shows the view that the address's hash names, and sets the theme. */

import { decoded, parts } from "./address.js";
import { compare } from "./compare.js";
import { element } from "./element.js";
import { latency } from "./latency.js";
import { themeButton } from "./palette.js";
import { run } from "./run.js";
import { runs } from "./runs.js";

const VIEWS = { "": runs, run, compare, latency };
const OF_RUNS = ["run", "compare"]; // views of runs that the address names; without a name it leads to the list
const main = document.getElementById("main");
let shown = new AbortController();

async function show() {
  shown.abort();
  shown = new AbortController();
  const { signal } = shown;
  const [name = "", ...rest] = parts();
  const given = name === "compare" ? rest : rest.map(decoded);
  document.title = ["memr", name, ...given].filter(Boolean).join(" · ");
  document.getElementById("status").textContent = "";
  main.setAttribute("aria-busy", "true");
  const before = main.firstChild;
  try {
    const view = OF_RUNS.includes(name) && !rest[0] ? runs : (VIEWS[name] ?? runs);
    await view(main, signal, ...given);
  } catch (error) {
    if (signal.aborted) return;
    if (error.told) document.addEventListener("again", show, { signal, once: true });
    if (main.firstChild === before) main.replaceChildren(); // the view that was left
    main.append(element("p", { class: "problem", role: error.told ? null : "alert" }, error.message));
  }
  if (!signal.aborted) main.removeAttribute("aria-busy");
}

addEventListener("hashchange", async () => {
  await show();
  main.focus({ preventScroll: true });
  scrollTo(0, 0);
});
themeButton(document.getElementById("theme"), () => document.dispatchEvent(new Event("themed")));
show();
