// The room as this client knows it: numbers, sales, own orders, the pinned card.
//
// Pure. Rules: of two versions of a sale or an order the larger wins, for after a resume the welcome may be
// newer than the events that follow it; numbers are merged, the last value wins; comments are not kept, that is
// the page's choice.

export class Present {
  constructor() {
    this.room = null;
    this.user = null;
    this.limits = null;
    this.pinned = null;
    this.state = { likes: 0, viewers: 0, stock: {}, orders: {} };
    this.sales = new Map(); // sale -> as it stands, `left` and `orders` by the newest number
    this.orders = new Map(); // own orders, order -> as it stands
    this.toldAt = new Map(); // sale -> server time of the newest numbers told of it
  }

  /** Take a `welcome`: whole when it starts afresh, by version when it resumes. */
  welcome(message) {
    this.room = message.room;
    this.user = message.user;
    this.limits = message.limits;
    this.pinned = message.pinned;
    if (!message.resumed) {
      this.sales.clear();
      this.orders.clear();
    }
    this.state = { likes: 0, viewers: 0, stock: {}, orders: {} };
    this.toldAt.clear();
    for (const sale of message.sales) this.takeSale(sale);
    for (const order of message.orders) this.takeOrder(order);
    this.merge(message.state, message.now);
  }

  /** Take an event of the log; false when it is older than what is held and should not be shown. */
  event(event) {
    if (event.type === "sale") return this.takeSale(event);
    if (event.type === "pinned") this.pinned = event.pinned;
    return true;
  }

  takeSale({ type, ...sale }) {
    const held = this.sales.get(sale.sale);
    if (held && held.version > sale.version) return false;
    const { stock, orders } = this.state;
    if (sale.at < (this.toldAt.get(sale.sale) ?? 0)) {
      // Numbers told after this event was made are the newer ones.
      sale.left = stock[sale.sale] ?? sale.left;
      sale.orders = orders[sale.sale] ?? sale.orders;
    } else {
      stock[sale.sale] = sale.left;
      orders[sale.sale] = sale.orders;
    }
    this.sales.set(sale.sale, sale);
    return true;
  }

  takeOrder({ type, ...order }) {
    const held = this.orders.get(order.order);
    if (held && held.version > order.version) return false;
    this.orders.set(order.order, order);
    return true;
  }

  /** Merge numbers that changed, told at server time `now`. */
  merge(changed, now) {
    const { stock, orders, ...numbers } = changed;
    this.state = {
      ...this.state,
      ...numbers,
      stock: { ...this.state.stock, ...stock },
      orders: { ...this.state.orders, ...orders },
    };
    for (const id of new Set([...Object.keys(stock ?? {}), ...Object.keys(orders ?? {})])) {
      this.toldAt.set(id, now);
      const sale = this.sales.get(id);
      if (!sale) continue;
      const left = this.state.stock[id] ?? sale.left;
      this.sales.set(id, { ...sale, left, orders: this.state.orders[id] ?? sale.orders });
    }
  }
}
