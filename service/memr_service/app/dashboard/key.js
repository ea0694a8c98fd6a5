/** The API key of this tab, and the dialog that asks for it. */

import * as banner from "./banner.js";

const KEY = "memr-key";
const dialog = document.getElementById("key");
const field = document.getElementById("key-field");
const message = document.getElementById("key-message");
const button = document.getElementById("key-button");

const FIRST = "Whoever runs the server has one: what MEMR_API_KEY is there, or a key that `memr key --scope read` made.";
const REFUSED =
  "The server does not know this key. Look for a missing character or a space, and for a key of another server. " +
  "If it is right, the server's keys file may have lost it: whoever runs the server can make one with `memr key --scope read`.";

/** No key was given. The banner says what to do. */
export class NoKey extends Error {
  told = true;
}

/** The key, or null. */
export const current = () => sessionStorage.getItem(KEY);

let asking = null;
let declined = false;

/** Ask for a key, once for all calls that wait for it. Throws NoKey once the dialog was closed without one. */
export async function askForKey() {
  button.hidden = false;
  if (!declined) await (asking ??= opened());
  if (declined) throw new NoKey("This server needs an API key.");
}

function opened() {
  message.textContent = current() ? REFUSED : FIRST;
  dialog.returnValue = "";
  dialog.showModal();
  field.focus();
  return new Promise((resolve) => dialog.addEventListener("close", () => resolve(closed()), { once: true }));
}

function closed() {
  asking = null;
  declined = dialog.returnValue !== "use" || !field.value.trim();
  if (!declined) sessionStorage.setItem(KEY, field.value.trim());
  field.value = "";
  if (declined) banner.show("This server needs an API key, so nothing new is shown.", "Enter a key", askAgain);
  else banner.hide();
}

/** Ask for a key at a press of a button; then views load what they lack. */
async function askAgain() {
  declined = false;
  try {
    await askForKey();
    document.dispatchEvent(new Event("again"));
  } catch {
    // the banner says what to do
  }
}

button.addEventListener("click", askAgain);
button.hidden = !current();
