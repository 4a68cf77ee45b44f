// A viewer's card of one sale: its face, a quantity, the claim button, what came of it.

import { claimButton, claimFailure, claimOutcome, mostUnits } from "./claim_button.js";
import { make, setText } from "./dom.js";
import { SaleFace } from "./sale_face.js";

const WON_MS = 3_000;

export class SaleCard {
  /** @param {object} sale @param {import("../js/liveroom.js").Room} room @param {() => boolean} isOver */
  constructor(sale, room, isOver) {
    this.room = room;
    this.isOver = isOver;
    this.face = new SaleFace(sale);
    this.claiming = false;
    this.won = false;
    this.quantity = make("select", { "aria-label": "Quantity", on: { change: () => this.refresh() } });
    this.button = make("button", { type: "button", class: "claim", on: { click: () => this.#claim() } });
    this.outcome = make("p", { class: "outcome", role: "status" });
    this.element = this.face.element;
    this.element.append(make("div", { class: "buy" }, this.quantity, this.button), this.outcome);
    this.refresh();
  }

  get sale() {
    return this.face.sale;
  }

  show(sale) {
    this.face.show(sale);
    this.refresh();
  }

  refresh() {
    const ownedUnits = unitsOf(this.room.orders.values(), this.sale.sale);
    this.#offerQuantities(mostUnits(this.sale, ownedUnits));
    const { text, disabled, kind } = claimButton(this.sale, {
      ownedUnits,
      quantity: Number(this.quantity.value) || 1,
      claiming: this.claiming,
      won: this.won,
      over: this.isOver(),
    });
    setText(this.button, text);
    this.button.disabled = disabled;
    this.button.dataset.kind = kind;
    this.quantity.hidden = this.quantity.options.length < 2 || (disabled && kind !== "busy");
    this.quantity.disabled = disabled;
  }

  #offerQuantities(most) {
    const options = this.quantity.options;
    while (options.length > Math.max(1, most)) options.remove(options.length - 1);
    while (options.length < Math.max(1, most)) this.quantity.add(new Option(String(options.length + 1)));
  }

  async #claim() {
    this.claiming = true;
    setText(this.outcome, "");
    const quantity = Number(this.quantity.value) || 1;
    this.refresh();
    try {
      const ack = await this.room.claim(this.sale.sale, quantity);
      this.won = ack.status === "reserved";
      setText(this.outcome, claimOutcome(ack, this.sale));
      this.outcome.dataset.kind = ack.status;
    } catch (fault) {
      setText(this.outcome, claimFailure(fault));
      this.outcome.dataset.kind = "failed";
    }
    this.claiming = false;
    this.refresh();
    if (this.won) {
      setTimeout(() => {
        this.won = false;
        this.refresh();
      }, WON_MS);
    }
  }
}

/** How many units of a sale stand in these orders. */
export function unitsOf(orders, sale) {
  let units = 0;
  for (const order of orders) if (order.sale === sale) units += order.quantity;
  return units;
}
