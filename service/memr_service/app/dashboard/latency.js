/** How long rewards take, how many there are, and how many requests fail: from the server's metrics. */

import { Chart } from "./chart.js";
import { element, table } from "./element.js";
import { short } from "./number.js";
import { poll } from "./poll.js";
import { between, counter, histogram, mean, quantile } from "./prometheus.js";
import { text } from "./server.js";

const EVERY_S = 5;
const KEPT = 720; // readings: an hour
const PARTS = {
  "encode: texts to vectors": ["memr_encode_seconds"],
  "score: read the memories, compute rewards": ["memr_score_seconds"],
  "commit: make the record durable": ["memr_commit_seconds"],
  "POST /reward in total": ["memr_request_seconds", 'route="/reward"'],
};
const TOTAL = Object.keys(PARTS).length - 1;

let newest = null; // the last reading: { at (seconds), parts, items, refused, failed }
/** What happened between readings, with rates for each second. It is kept while other views are shown. */
const rows = [];

export async function latency(main, signal) {
  const box = element("div");
  const line = (label, value, says) => ({ label, value, says });
  const bound = (share) => [(row) => plotted(quantile(row.parts[TOTAL], share)), (_, row) => bounded(quantile(row.parts[TOTAL], share))];
  const empty = `Nothing yet: the first requests after this page was opened draw it, within ${EVERY_S} s.`;
  const chart = (title, note, lines) => new Chart(title, note, lines, { signal, times: true, empty, range: fromZero });
  const charts = [
    chart("POST /reward", "milliseconds", [
      line("mean", (row) => milliseconds(row.parts[TOTAL])),
      line("95 %, upper bound", ...bound(0.95)),
    ]),
    chart("Throughput", "each second", [
      line("completions", (row) => row.items),
      line("requests for rewards", (row) => row.requests),
    ]),
    chart("Errors", "requests each second, of all routes", [
      line("server (5xx)", (row) => row.failed),
      line("refused (4xx)", (row) => row.refused),
    ]),
  ];
  main.replaceChildren(
    element("h1", {}, "Latency"),
    element(
      "p",
      { class: "note" },
      "The charts begin when this page was opened; Prometheus and Grafana keep them for longer. In milliseconds. The " +
        "server counts durations in buckets: ≤ 20 is at most 20, in a bucket that ends there. > is beyond the last bucket.",
    ),
    element("div", { class: "charts" }, charts.map((one) => one.figure)),
    box,
  );
  await poll(EVERY_S, signal, async () => {
    read(await text("metrics", signal));
    const parts = Object.keys(PARTS).map((part, number) => ({
      part,
      all: newest.parts[number],
      recent: rows.at(-1)?.at === newest.at ? rows.at(-1).parts[number] : null,
    }));
    box.replaceChildren(table("Parts of a request for rewards", columns(), parts));
    for (const one of charts)
      one.update(
        rows,
        rows.map((row) => row.at),
        "time",
      );
  });
}

/** Note a reading, and what happened since the one before. */
function read(metrics) {
  const now = {
    at: Date.now() / 1000,
    parts: Object.values(PARTS).map((series) => histogram(metrics, ...series)),
    items: counter(metrics, "memr_items_total"),
    refused: counter(metrics, "memr_requests_total", /status="4/),
    failed: counter(metrics, "memr_requests_total", /status="5/),
  };
  const before = newest;
  newest = now;
  if (!before || now.at - before.at > 3 * EVERY_S) return; // another view was shown meanwhile
  const rate = (count, earlier) => (count < earlier ? count : count - earlier) / (now.at - before.at);
  const parts = now.parts.map((one, number) => between(one, before.parts[number]));
  rows.push({
    at: now.at,
    parts,
    requests: parts[TOTAL].count / (now.at - before.at),
    items: rate(now.items, before.items),
    refused: rate(now.refused, before.refused),
    failed: rate(now.failed, before.failed),
  });
  rows.splice(0, rows.length - KEPT);
}

function columns() {
  const of = (which, title, cell) => ({ title, number: true, cell: (row) => (row[which] ? cell(row[which]) : "–") });
  const average = (one) => short(milliseconds(one), 1);
  const at = (share) => (one) => bounded(quantile(one, share));
  return [
    { title: "Part of a request", cell: (row) => row.part },
    of("all", "Count", (one) => short(one.count)),
    of("all", "Mean", average),
    of("all", "Median", at(0.5)),
    of("all", "95 %", at(0.95)),
    of("all", "99 %", at(0.99)),
    of("recent", `Count, last ${EVERY_S} s`, (one) => short(one.count)),
    of("recent", `Mean, last ${EVERY_S} s`, average),
    of("recent", `95 %, last ${EVERY_S} s`, at(0.95)),
  ];
}

/** A quantile's bucket in milliseconds. */
function bounded(bucket) {
  if (!bucket) return "–";
  return bucket.high === Infinity ? `> ${short(1000 * bucket.low)}` : `≤ ${short(1000 * bucket.high)}`;
}

/** Where a quantile is drawn, in milliseconds: at the end of its bucket, or where the last one begins. */
const plotted = (bucket) => bucket && 1000 * (bucket.high === Infinity ? bucket.low : bucket.high);

const milliseconds = (one) => (one.count ? 1000 * mean(one) : null);

const fromZero = (_, low, high) => [0, 1.05 * high || 1];
