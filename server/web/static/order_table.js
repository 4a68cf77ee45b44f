// The orders, newest first, read page by page from the API.
//
// Rule: the list only grows at its end, so the last page is read again and everything before it is kept.

import { api } from "./api.js";
import { byId, make, setText } from "./dom.js";
import { showMoney } from "./money.js";
import { showTimeOfDay } from "./times.js";

const SHOWN = 100;
const PAUSE_MS = 1_000; // between two readings, however many orders come

export class OrderTable {
  /** @param {(fault: Error) => void} onFault */
  constructor(onFault) {
    this.onFault = onFault;
    this.orders = new Map();
    this.after = null; // where the last page begins
    this.reading = false;
    this.stale = false;
  }

  /** There may be new orders: read them, soon. */
  async refresh() {
    this.stale = true;
    if (this.reading) return;
    this.reading = true;
    while (this.stale) {
      this.stale = false;
      try {
        await this.#read();
      } catch (fault) {
        this.onFault(fault);
      }
      this.#show();
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
    this.reading = false;
  }

  async #read() {
    for (;;) {
      const from = this.after === null ? "" : `&after=${encodeURIComponent(this.after)}`;
      const page = await api.get(`/orders?limit=200${from}`);
      for (const order of page.orders) this.orders.set(order.order, order);
      if (page.next === null) return;
      this.after = page.next;
    }
  }

  #show() {
    const newest = [...this.orders.values()].slice(-SHOWN).reverse();
    byId("orders").replaceChildren(
      ...newest.map((order) =>
        make(
          "tr",
          { "data-order": order.order },
          make("td", { text: showTimeOfDay(order.at) }),
          make("td", { text: order.name, title: order.user, dir: "auto" }),
          make("td", { text: `${order.quantity} × ${order.title}`, dir: "auto" }),
          make("td", { class: "n", text: showMoney(order.amount, order.currency) }),
          make("td", {}, make("span", { class: "badge", text: order.status })),
        ),
      ),
    );
    setText(byId("orders-count"), String(this.orders.size));
    byId("no-orders").hidden = this.orders.size > 0;
  }
}
