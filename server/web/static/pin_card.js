// The pinned card: title, text, picture, link, and the price of the sale it names.

import { httpUrl, make } from "./dom.js";
import { showMoney } from "./money.js";

/** Show `pin` in `card`, or hide it when null. `goTo` is called when the sale it names is asked for. */
export function showPin(card, pin, sales, goTo) {
  card.hidden = pin === null;
  if (pin === null) {
    card.replaceChildren();
    return;
  }
  const parts = [];
  const picture = httpUrl(pin.image);
  if (picture !== null) {
    parts.push(make("img", { src: picture, alt: "", on: { error: (event) => event.target.remove() } }));
  }
  const words = make("div", { class: "words" }, make("h2", { text: pin.title, dir: "auto" }));
  if (pin.text) words.append(make("p", { text: pin.text, dir: "auto" }));
  const sale = sales.get(pin.sale);
  if (sale) words.append(make("p", { class: "price", text: showMoney(sale.price, sale.currency) }));
  parts.push(words);
  const link = httpUrl(pin.url);
  if (sale) parts.push(make("button", { type: "button", text: "See it", on: { click: () => goTo(sale.sale) } }));
  else if (link !== null) {
    parts.push(make("a", { class: "button", href: link, target: "_blank", rel: "noopener noreferrer", text: "Open" }));
  }
  card.replaceChildren(...parts);
}
