// The list of comments, on both pages. Knows the newest MOST of them; a hot room has 40 a second.

import { make } from "./dom.js";

const MOST = 200;
const NEAR_PX = 60; // this close to the end counts as reading the newest

export class CommentList {
  /**
   * @param {HTMLElement} list
   * @param {{ me?: () => string, jump?: HTMLElement, actions?: (event) => Node[] }} options `jump` is a button
   *   that is shown while newer comments are out of sight
   */
  constructor(list, options = {}) {
    this.list = list;
    this.options = options;
    this.rows = new Map(); // comment -> row
    this.pinnedToEnd = true;
    this.shape = ""; // heights of content and frame when the end was last shown
    list.addEventListener("scroll", () => this.#look());
    new ResizeObserver(() => this.pinnedToEnd && this.#toEnd()).observe(list);
    options.jump?.addEventListener("click", () => this.#toEnd());
  }

  /** Forget all and take these. */
  reset(events) {
    this.list.replaceChildren();
    this.rows.clear();
    for (const event of events) this.add(event);
    this.#toEnd();
  }

  add(event) {
    if (this.rows.has(event.comment)) return;
    const mine = this.options.me?.() === event.user;
    const row = make(
      "li",
      { class: mine ? "comment mine" : "comment", "data-comment": event.comment },
      make("span", { class: "avatar", "aria-hidden": "true", text: initial(event.name) }),
      make(
        "p",
        {},
        make("b", { text: event.name }),
        " ", // so that name and text are two words where there is no layout
        make("span", { class: "said", text: event.text, dir: "auto" }),
      ),
      ...(this.options.actions?.(event) ?? []),
    );
    row.style.setProperty("--hue", hue(event.user));
    this.rows.set(event.comment, row);
    this.#append(row);
  }

  remove(comment) {
    this.rows.get(comment)?.remove();
    this.rows.delete(comment);
  }

  /** Show a line that is only for who looks at this page. */
  note(text) {
    this.#append(make("li", { class: "note", text }));
  }

  #append(row) {
    this.list.append(row);
    while (this.list.childElementCount > MOST) {
      const oldest = this.list.firstElementChild;
      this.rows.delete(oldest.dataset.comment);
      oldest.remove();
    }
    if (this.pinnedToEnd) this.#toEnd();
    else if (this.options.jump) this.options.jump.hidden = false;
  }

  #look() {
    const { scrollHeight, scrollTop, clientHeight } = this.list;
    if (this.pinnedToEnd && this.shape !== `${scrollHeight} ${clientHeight}`) {
      this.#toEnd(); // the layout moved, not the reader
      return;
    }
    this.pinnedToEnd = scrollHeight - scrollTop - clientHeight < NEAR_PX;
    if (this.pinnedToEnd && this.options.jump) this.options.jump.hidden = true;
  }

  #toEnd() {
    this.pinnedToEnd = true;
    this.list.scrollTop = this.list.scrollHeight;
    this.shape = `${this.list.scrollHeight} ${this.list.clientHeight}`;
    if (this.options.jump) this.options.jump.hidden = true;
  }
}

function initial(name) {
  return ([...name.trim()][0] ?? "?").toUpperCase();
}

/** The same user has the same colour, on every page. */
function hue(user) {
  let sum = 0;
  for (const char of user) sum = (sum * 31 + char.codePointAt(0)) % 9973;
  return (sum * 137.508) % 360; // the golden angle: u1 and u2 must not look alike
}
