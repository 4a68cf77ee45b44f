// Ask once before what cannot be undone.
//
// Rule: each question has its own answer. A dialog's `close` event comes late, and could answer the next one.

import { byId, setText } from "./dom.js";

/** Resolve to whether the host means it. `verb` stands on the button that does it. */
export function ask(text, verb) {
  const dialog = byId("ask");
  const [yes, no] = [byId("ask-yes"), byId("ask-no")];
  setText(byId("ask-text"), text);
  setText(yes, verb);
  return new Promise((resolve) => {
    const answer = (means) => {
      yes.onclick = no.onclick = dialog.oncancel = null;
      dialog.close();
      resolve(means);
    };
    yes.onclick = () => answer(true);
    no.onclick = () => answer(false);
    dialog.oncancel = () => answer(false); // Escape
    dialog.showModal();
  });
}
