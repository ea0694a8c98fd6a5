/** A run's curves. */

import { Chart, quantileLines } from "./chart.js";
import { element } from "./element.js";

/** A box with all charts of a run, and `update(history)`. */
export function curves(info, signal) {
  const names = Object.keys(info.config.components);
  const each = (value) => names.map((name) => ({ label: name, value: (row) => value(row.components[name]) }));
  const sides = (value) => ["success", "failure"].map((side) => ({ label: side, value: (row) => value(row, side) }));
  const share = { range: (_, low, high) => [0, Math.max(1, high ?? 1)] };
  const charts = [
    chart("Outcome", "mean of a step", [{ label: "outcome", value: (row) => row.outcome_mean }]),
    chart("Reward", "mean and spread", [
      { label: "mean", value: (row) => row.reward_mean },
      { label: "standard deviation", value: (row) => row.reward_std },
    ]),
    ...names.map((name, number) =>
      chart(
        `${name}, raw`,
        "quantiles",
        quantileLines((row) => row.components[name].raw, number),
      ),
    ),
    chart(
      "Scaled",
      "mean",
      each((one) => one.scaled_mean),
    ),
    chart(
      "Weight share",
      "of what is paid",
      each((one) => one.share),
      share,
    ),
    chart(
      "Completions in memory",
      "entries",
      sides((row, side) => row.memory[side].completions),
    ),
    chart(
      "Prompts in memory",
      `at most ${info.config.max_prompts.toLocaleString("en")}`,
      sides((row, side) => row.memory[side].prompts),
    ),
    chart(
      "Support",
      "completions read, per item",
      sides((row, side) => row.support[side]),
    ),
    chart(
      "Length",
      "characters",
      quantileLines((row) => row.length, 2),
    ),
    chart(
      "Groups without variance",
      "share whose outcomes are all equal",
      [{ label: "share", value: (row) => row.zero_variance_share }],
      share,
    ),
  ];
  const box = element(
    "div",
    { class: "charts" },
    charts.map((one) => one.figure),
  );
  let guards = null;

  function chart(title, note, lines, options) {
    return new Chart(title, note, lines, { ...options, signal });
  }

  /** Reasons come one by one; a new one makes the chart anew. */
  function rejections(rows) {
    const reasons = [...new Set(rows.flatMap((row) => Object.keys(row.rejected)))].sort();
    if (guards?.title !== undefined && guards.lines.length === reasons.length) return guards;
    const lines = reasons.map((reason) => ({ label: reason, value: (row) => (row.rejected[reason] ?? 0) / row.items }));
    const made = chart("Rejected", reasons.length ? "share of completions, by reason" : "nothing so far", lines, share);
    if (guards) guards.figure.replaceWith(made.figure);
    else box.append(made.figure);
    return made;
  }

  return {
    box,
    update(history) {
      guards = rejections(history.rows);
      for (const one of [...charts, guards]) one.update(history.rows, history.x, history.across);
    },
  };
}
