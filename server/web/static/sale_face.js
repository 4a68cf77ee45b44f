// How a sale looks, on both pages: title, price, state, countdown, stock. What one can do with it is the page's.

import { countdown } from "../js/liveroom.js";
import { make, setText } from "./dom.js";
import { showMoney } from "./money.js";
import { showCountdown } from "./times.js";

const URGENT_MS = 10_000;

const STATES = {
  scheduled: "Coming up",
  open: "Open",
  paused: "Paused",
  sold_out: "Sold out",
  closed: "Ended",
  cancelled: "Cancelled",
};

/** The name of a sale's state; one we do not know is shown as it is. */
export function stateName(state) {
  return STATES[state] ?? state;
}

export class SaleFace {
  constructor(sale) {
    this.sale = sale;
    this.title = make("h3", { dir: "auto" });
    this.badge = make("span", { class: "badge" });
    this.price = make("p", { class: "price" });
    this.until = make("span");
    this.left = make("b");
    this.count = make("p", { class: "count", role: "timer", "aria-live": "off" }, this.until, " ", this.left);
    this.bar = make("progress", { "aria-label": "Units left" });
    this.stock = make("p", { class: "stock" });
    this.element = make(
      "article",
      { class: "sale", "data-sale": sale.sale },
      make("header", {}, this.title, this.badge),
      make("div", { class: "figures" }, this.price, this.count),
      make("div", { class: "shelf" }, this.bar, this.stock),
    );
    this.show(sale);
  }

  show(sale) {
    this.sale = sale;
    this.element.dataset.state = sale.state;
    setText(this.title, sale.title);
    setText(this.badge, stateName(sale.state));
    setText(this.price, showMoney(sale.price, sale.currency));
    this.bar.max = Math.max(1, sale.stock);
    this.bar.value = sale.left;
    this.element.classList.toggle("scarce", sale.left > 0 && sale.left <= sale.stock / 5);
    setText(this.stock, sale.left > 0 ? `${sale.left} of ${sale.stock} left` : `All ${sale.stock} gone`);
  }

  /** Show the time that is left at server time `now`. */
  tick(now) {
    const counted = countdown(this.sale, now);
    this.count.hidden = counted === null;
    if (counted === null) return;
    setText(this.until, counted.until === "opens" ? "Opens in" : "Ends in");
    setText(this.left, showCountdown(counted.ms));
    this.count.classList.toggle("urgent", counted.ms <= URGENT_MS);
  }
}
