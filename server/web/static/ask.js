// Ask once before what cannot be undone.

import { byId, setText } from "./dom.js";

/** Resolve to whether the host means it. `verb` stands on the button that does it. */
export function ask(text, verb) {
  const dialog = byId("ask");
  setText(byId("ask-text"), text);
  setText(byId("ask-yes"), verb);
  dialog.returnValue = "no"; // what a press of Escape leaves in place
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}
