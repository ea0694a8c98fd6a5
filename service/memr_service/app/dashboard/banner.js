/** The banner above every view: why nothing new is shown, and a button that helps. */

const box = document.getElementById("banner");
const [said, button] = box.children;

/** Show a message and a button. It stays until it is hidden or replaced. */
export function show(message, title, press) {
  if (said.textContent !== message) said.textContent = message; // an alert is read out when its text changes
  button.textContent = title;
  button.onclick = press;
  box.hidden = false;
}

export function hide() {
  box.hidden = true;
  said.textContent = "";
}
