// Short lines that come and go. A hot sale has many a second: the newest wins, two are shown.

import { make } from "./dom.js";

const SHOWN_MS = 4_000;
const MOST = 2;

export class Toasts {
  constructor(region) {
    this.region = region;
  }

  show(text, kind = "info") {
    const toast = make("p", { class: "toast", "data-kind": kind, text, dir: "auto" });
    this.region.append(toast);
    while (this.region.childElementCount > MOST) this.region.firstElementChild.remove();
    setTimeout(() => toast.remove(), SHOWN_MS);
  }
}

/** Say who bought what: one buyer, or one of many. */
export function boughtText({ name, others, quantity }, title) {
  if (others > 0) return `${name} and ${others} ${others === 1 ? "other" : "others"} bought ${title}`;
  return `${name} bought ${quantity > 1 ? `${quantity} × ` : ""}${title}`;
}
