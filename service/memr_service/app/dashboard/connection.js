/** Whether the server answers. While it does not, a banner says since when, charts are grey, and it is asked again.
 *
 *  Once it answers, the document gets the event "again", at which views load what they lack.
 */

import * as banner from "./banner.js";
import { clock } from "./number.js";

const EVERY_S = 5;
const LATE_S = 10;
const FROM_PROXY = new Set([502, 503, 504]);

let last = new Date(); // of the last answer: the page itself was one
let waiting = null; // the timer of the next attempt, while there is no answer

/** The server did not answer. The banner says so, nothing else needs to. */
export class NoAnswer extends Error {
  told = true;
}

/** `fetch`, which throws NoAnswer where the server does not answer, or only a proxy does. */
export async function ask(path, options) {
  const late = setTimeout(knock, 1000 * LATE_S);
  try {
    const response = await fetch(path, { ...options, cache: "no-store" });
    if (FROM_PROXY.has(response.status) && !response.headers.get("content-type")?.includes("json"))
      throw new TypeError(response.statusText);
    answered();
    return response;
  } catch (error) {
    if (options.signal?.aborted) throw error;
    lost();
    throw new NoAnswer("The server does not answer.");
  } finally {
    clearTimeout(late);
  }
}

/** Ask whether the server lives. */
const knock = () => ask("livez", { signal: AbortSignal.timeout(1000 * EVERY_S) }).catch(lost);

function answered() {
  last = new Date();
  if (waiting === null) return;
  clearTimeout(waiting);
  waiting = null;
  banner.hide();
  document.body.classList.remove("gone");
  document.dispatchEvent(new Event("again"));
}

function lost() {
  clearTimeout(waiting);
  waiting = setTimeout(knock, 1000 * EVERY_S);
  document.body.classList.add("gone");
  banner.show(
    `The server does not answer. What you see is of ${clock(last)}, when it last did. Is it running, and is the network up? ` +
      `It is asked again every ${EVERY_S} s.`,
    "Retry",
    knock,
  );
}
