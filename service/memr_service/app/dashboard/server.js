/** The service, as the page calls it. Addresses are relative, so that it may lie behind a proxy's prefix. */

const KEY = "memr-key";

/** A problem document (RFC 9457) that the service answered with. */
export class Refusal extends Error {
  constructor(problem) {
    super([problem.detail ?? problem.title, problem.remedy].filter(Boolean).join(" "));
    this.status = problem.status;
  }
}

export const get = async (path, signal) => (await call(path, { signal })).json();
export const text = async (path, signal) => (await call(path, { signal })).text();
export const post = async (path, body, signal) =>
  (
    await call(path, {
      signal,
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
    })
  ).json();

/** Address of a run, or of what belongs to it. */
export function at(run, rest = "", parameters = {}) {
  const given = Object.entries(parameters).filter(([, value]) => value !== null && value !== undefined && value !== "");
  return `runs/${encodeURIComponent(run)}${rest}${given.length ? `?${new URLSearchParams(given)}` : ""}`;
}

async function call(path, options) {
  for (;;) {
    const key = sessionStorage.getItem(KEY);
    const headers = { ...options.headers, ...(key ? { Authorization: `Bearer ${key}` } : {}) };
    const response = await fetch(path, { ...options, headers, cache: "no-store" });
    if (response.ok) return response;
    const problem = await response.json().catch(() => ({ title: response.statusText, status: response.status }));
    if (response.status !== 401) throw new Refusal(problem);
    if (key === sessionStorage.getItem(KEY)) await askForKey(key ? problem.detail : "");
    options.signal?.throwIfAborted();
  }
}

let asking = null;

/** Ask for a key, once for all calls that wait for it. */
function askForKey(says) {
  asking ??= new Promise((resolve) => {
    const dialog = document.getElementById("key");
    const field = document.getElementById("key-field");
    document.getElementById("key-says").textContent = says;
    dialog.addEventListener("cancel", (event) => event.preventDefault());
    dialog.querySelector("form").addEventListener(
      "submit",
      (event) => {
        event.preventDefault();
        sessionStorage.setItem(KEY, field.value.trim());
        field.value = "";
        dialog.close();
        asking = null;
        resolve();
      },
      { once: true },
    );
    dialog.showModal();
    field.focus();
  });
  return asking;
}
