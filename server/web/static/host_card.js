// The host's card of one sale: its face, and what can be done with it in its present state.

import { make } from "./dom.js";
import { SaleFace } from "./sale_face.js";

// What the server takes in each state; see its sale rules.
const ACTIONS = {
  scheduled: ["open", "cancel"],
  open: ["pause", "close", "cancel"],
  paused: ["resume", "close", "cancel"],
  sold_out: ["close", "cancel"],
};
const NAMES = { open: "Open now", pause: "Pause", resume: "Resume", close: "Close", cancel: "Cancel" };
const FINAL = new Set(["close", "cancel"]);

export class HostCard {
  /** @param {object} sale @param {{ act(sale, action), restock(sale, units), pin(sale) }} does */
  constructor(sale, does) {
    this.does = does;
    this.face = new SaleFace(sale);
    this.element = this.face.element;
    this.orders = make("p", { class: "stock" });
    this.controls = make("div", { class: "row" });
    this.element.append(this.orders, this.controls);
    this.drawnFor = null;
    this.show(sale);
  }

  show(sale) {
    this.face.show(sale);
    this.orders.textContent = `${sale.orders} ${sale.orders === 1 ? "order" : "orders"} · ${sale.sku}`;
    if (this.drawnFor === sale.state) return; // a redraw would take what the host is typing
    this.drawnFor = sale.state;
    const actions = ACTIONS[sale.state] ?? [];
    const buttons = (some) => actions.filter(some).map((action) => this.#button(action));
    this.controls.replaceChildren(
      ...buttons((action) => !FINAL.has(action)),
      ...(actions.length > 0 ? [this.#restock(), this.#pin()] : []),
      make("span", { class: "space" }), // what cannot be undone stands apart
      ...buttons((action) => FINAL.has(action)),
    );
  }

  #button(action) {
    return make("button", {
      type: "button",
      class: FINAL.has(action) ? "quiet danger" : "main",
      "data-action": action,
      text: NAMES[action],
      on: { click: () => this.does.act(this.face.sale, action) },
    });
  }

  #restock() {
    const units = make("input", { type: "number", min: 1, step: 1, value: 10, required: true, "aria-label": "Units to add" });
    return make(
      "form",
      {
        class: "restock",
        on: {
          submit: (event) => {
            event.preventDefault();
            this.does.restock(this.face.sale, Number(units.value));
          },
        },
      },
      units,
      make("button", { "data-action": "restock", text: "Add stock" }),
    );
  }

  #pin() {
    return make("button", {
      type: "button",
      "data-action": "pin",
      text: "Pin",
      on: { click: () => this.does.pin(this.face.sale) },
    });
  }
}
