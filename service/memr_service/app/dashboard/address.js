/** The address's hash: #/view/part/part?name=value. What follows the question mark is the state of the view. */

/** The view's name and the parts after it, as they stand in the address. */
export const parts = () => location.hash.split("?")[0].split("/").slice(1);

/** A part of the address as text; as it stands, where it is not encoded as it should be. */
export function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** The state of the view: { name: value }, both strings. */
export const state = () => Object.fromEntries(new URLSearchParams(location.hash.split("?")[1] ?? ""));

/** Keep more of the view's state in the address, so that the address leads back to it. Empty values are left out. */
export function keep(values) {
  const given = Object.entries({ ...state(), ...values }).filter(([, value]) => value !== "" && value !== null && value !== undefined);
  const query = given.length ? `?${new URLSearchParams(given)}` : "";
  history.replaceState(null, "", (location.hash.split("?")[0] || "#/") + query);
}

/** The address of a prompt's page in a run, or of its list of prompts. */
export const toPrompt = (run, key) => `#/run/${encodeURIComponent(run)}/prompts${key ? `/${key}` : ""}`;
