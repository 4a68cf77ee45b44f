// Which sales are shown, and in what order. `pick` is pure.

const RANK = { open: 0, paused: 1, scheduled: 2, sold_out: 3 };

/** Sales one can still hope for, the most urgent first; with none, the one that ended last. */
export function pick(sales) {
  const all = [...sales];
  const live = all.filter((sale) => sale.state in RANK);
  if (live.length === 0) return all.sort((a, b) => b.at - a.at).slice(0, 1);
  return live.sort(
    (a, b) => RANK[a.state] - RANK[b.state] || (a.starts_at ?? Infinity) - (b.starts_at ?? Infinity) || 0,
  );
}

/** Keeps one card for each sale that is shown. */
export class SaleList {
  /** @param {HTMLElement} element @param {(sale) => { element, show, refresh }} makeCard @param {Function} order */
  constructor(element, makeCard, order = pick) {
    this.element = element;
    this.makeCard = makeCard;
    this.order = order;
    this.cards = new Map();
  }

  show(sales) {
    const shown = this.order(sales);
    const ids = new Set(shown.map(({ sale }) => sale));
    for (const [id, card] of this.cards) {
      if (ids.has(id)) continue;
      card.element.remove();
      this.cards.delete(id);
    }
    shown.forEach((sale, place) => {
      const card = this.cards.get(sale.sale);
      if (card) card.show(sale);
      else this.cards.set(sale.sale, this.makeCard(sale));
      const { element } = this.cards.get(sale.sale);
      // Moved only when needed: a moved element loses focus.
      if (this.element.children[place] !== element) this.element.insertBefore(element, this.element.children[place]);
    });
    this.element.hidden = shown.length === 0;
  }

  tick(now) {
    for (const card of this.cards.values()) card.face.tick(now);
  }
}
