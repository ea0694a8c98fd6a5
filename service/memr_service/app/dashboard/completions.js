/** A run's completions, sorted, filtered and paged by the service. */

import { toPrompt } from "./address.js";
import { choice, element } from "./element.js";
import { Listing } from "./listing.js";
import { short } from "./number.js";
import { at, get } from "./server.js";

const RIGHT = { "": "all", true: "right", false: "wrong" };

/** `of`: only those of the prompt with this key. */
export async function completions(run, info, signal, of = "") {
  const { components, success_threshold } = info.config;
  const listing = new Listing("Completions", {
    query: { sort: "position", ascending: false, right: "", step: "", prompt: of, rejected: "", after: "", text: "" },
    load: (query) => get(at(run, "/completions", query), signal),
    columns,
    above,
    signal,
  });
  const { query } = listing;
  const step = element("input", { type: "number", min: "0", size: "8", value: query.step });
  const text = element("input", { type: "search", maxlength: "1000", size: "24", value: query.text });
  const submit = (event) => (event.preventDefault(), listing.change({ step: step.value, text: text.value }));
  const guard = element("span");
  const bar = element(
    "form",
    { class: "bar", submit },
    choice("Outcome", RIGHT, query.right, (right) => listing.change({ right })),
    guard,
    element("label", {}, "Step", step),
    element("label", {}, "Text", text),
    element("button", { type: "submit" }, "Show"),
  );

  /** The filters that were set by links, each with a button that ends it. The choice of guards has those that rejected. */
  function above({ rejected }) {
    const reasons = Object.fromEntries(Object.entries(rejected).map(([why, count]) => [why, `${why} (${short(count)})`]));
    const all = { "": "any", ...(query.rejected && { [query.rejected]: query.rejected }), ...reasons };
    guard.replaceChildren(
      Object.keys(all).length > 1
        ? choice("Rejected by", all, query.rejected, (why) => listing.change({ rejected: why }))
        : "",
    );
    const ending = (title, name) => element("button", { type: "button", click: () => listing.change({ [name]: "" }) }, title);
    return [
      ["prompt", "Of one prompt only.", "Of all prompts"],
      ["after", `After record ${query.after} only.`, "Of all records"],
    ]
      .filter(([name]) => query[name] && query[name] !== of)
      .map(([name, said, end]) => element("p", {}, said, " ", ending(end, name)));
  }

  function columns() {
    return [
      { title: "Explain", brief: true, cell: explained },
      listing.sorted("Newest", "position", (row) => (row.step === null ? "–" : `step ${row.step}`)),
      listing.sorted("Outcome", "outcome", (row) => outcome(row.outcome, success_threshold)),
      listing.sorted("Reward", "reward", (row) => short(row.reward)),
      { title: "Completion", text: true, cell: (row) => row.completion ?? "not kept" },
      ...(of ? [] : [{ title: "Prompt", text: true, cell: prompt }]),
      ...Object.keys(components).map((name) => listing.sorted(name, name, (row) => values(row.raw[name], row.scaled[name]))),
      listing.sorted("Length", "length", (row) => short(row.length)),
      { title: "Rejected by", cell: (row) => row.rejected.join(", ") },
    ];
  }

  const address = `#/run/${encodeURIComponent(run)}`;

  function explained({ position, item }) {
    const href = `${address}/explain/${position}/${item}`;
    const label = `Explain item ${item} of record ${position}`;
    return [
      element("a", { href, "aria-label": label }, "Explain"),
      element("small", {}, `record ${short(position)}, item ${item}`),
    ];
  }

  function prompt({ prompt, prompt_key }) {
    const links = element(
      "small",
      {},
      element("a", { href: toPrompt(run, prompt_key) }, "its history"),
      " · ",
      element("a", { href: `${address}/completions?prompt=${prompt_key}` }, "its completions"),
    );
    return [prompt ?? "not kept", links];
  }

  await listing.update();
  return element("section", {}, bar, listing.box);
}

/** An outcome, marked as right or wrong. */
export function outcome(value, threshold) {
  const right = value > threshold;
  return element("span", { class: right ? "right" : "wrong" }, short(value));
}

/** A component's values, each with its name. */
const values = (raw, scaled) => [
  element("span", { class: "named" }, element("small", {}, "raw"), short(raw)),
  element("span", { class: "named" }, element("small", {}, "scaled"), short(scaled)),
];
