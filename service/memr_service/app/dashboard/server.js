/** Calls of the service. Addresses are relative, so that the page works behind a proxy's path prefix. */

import { ask } from "./connection.js";
import { askForKey, current } from "./key.js";

/** An error response of the service: a problem document (RFC 9457). */
export class Problem extends Error {
  constructor(problem) {
    super([problem.detail ?? problem.title, problem.remedy].filter(Boolean).join(" "));
    this.status = problem.status;
  }
}

export const get = async (path, signal) => (await call(path, { signal })).json();
export const text = async (path, signal) => (await call(path, { signal })).text();
export const remove = (path, signal) => call(path, { signal, method: "DELETE" });
export const post = (path, body, signal) => send("POST", path, body, signal);
export const put = (path, body, signal) => send("PUT", path, body, signal);

async function send(method, path, body, signal) {
  const headers = { "Content-Type": "application/json" };
  return (await call(path, { signal, method, headers, body: JSON.stringify(body) })).json();
}

/** The address of a run or of one of its routes. A parameter with several values is repeated. */
export function at(run, rest = "", parameters = {}) {
  const given = Object.entries(parameters)
    .flatMap(([name, value]) => [value].flat().map((one) => [name, one]))
    .filter(([, value]) => value !== null && value !== undefined && value !== "");
  return `runs/${encodeURIComponent(run)}${rest}${given.length ? `?${new URLSearchParams(given)}` : ""}`;
}

async function call(path, options) {
  for (;;) {
    const key = current();
    const headers = { ...options.headers, ...(key ? { Authorization: `Bearer ${key}` } : {}) };
    const response = await ask(path, { ...options, headers });
    if (response.ok) return response;
    const problem = await response.json().catch(() => ({ title: response.statusText, status: response.status }));
    if (response.status !== 401) throw new Problem(problem);
    if (key === current()) await askForKey();
    options.signal?.throwIfAborted();
  }
}
