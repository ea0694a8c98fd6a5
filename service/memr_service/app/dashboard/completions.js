/** A run's completions, sorted, filtered and paged by the service. */

import { choice, element } from "./element.js";
import { Listing } from "./listing.js";
import { short } from "./number.js";
import { at, get } from "./server.js";

export async function completions(run, info, signal) {
  const names = Object.keys(info.config.components);
  const listing = new Listing("Completions", {
    query: { sort: "position", ascending: false, right: "", step: "", text: "" },
    load: (query) => get(at(run, "/completions", query), signal),
    columns,
    signal,
  });
  const step = element("input", { type: "number", min: "0", size: "8" });
  const text = element("input", { type: "search", maxlength: "1000", size: "24" });
  const submit = (event) => (event.preventDefault(), listing.change({ step: step.value, text: text.value }));
  const bar = element(
    "form",
    { class: "bar", submit },
    choice("Outcome", { "": "all", true: "right", false: "wrong" }, "", (right) => listing.change({ right })),
    element("label", {}, "Step", step),
    element("label", {}, "Text", text),
    element("button", { type: "submit" }, "Show"),
  );

  function columns() {
    return [
      {
        title: "Explain",
        cell: (row) =>
          element(
            "a",
            {
              href: `#/run/${encodeURIComponent(run)}/explain/${row.position}/${row.item}`,
              "aria-label": `Explain item ${row.item} of record ${row.position}`,
            },
            `${row.position}.${row.item}`,
          ),
      },
      listing.sorted("Newest", "position", (row) => (row.step === null ? "–" : `step ${row.step}`)),
      listing.sorted("Outcome", "outcome", (row) => short(row.outcome)),
      listing.sorted("Reward", "reward", (row) => short(row.reward)),
      { title: "Completion", text: true, cell: (row) => row.completion ?? "not kept" },
      { title: "Prompt", text: true, cell: (row) => row.prompt ?? "not kept" },
      ...names.map((name) => listing.sorted(name, name, (row) => `${short(row.raw[name])} → ${short(row.scaled[name])}`)),
      listing.sorted("Length", "length", (row) => short(row.length)),
      { title: "Rejected", cell: (row) => row.rejected.join(", ") },
    ];
  }

  await listing.update();
  return element("section", {}, bar, listing.box);
}
