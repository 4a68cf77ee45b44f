// What the client's tests stand on: a clock that moves when told, and a websocket that is a list.

/** Time for one test: `advance` runs what is due, in order. */
export class FakeTime {
  constructor() {
    this.at = 1_000;
    this.timers = new Map();
    this.count = 0;
    this.now = () => this.at;
    this.setTimeout = (run, ms) => {
      this.timers.set((this.count += 1), { run, due: this.at + ms });
      return this.count;
    };
    this.clearTimeout = (timer) => this.timers.delete(timer);
  }

  advance(ms) {
    const end = this.at + ms;
    for (;;) {
      let next = null;
      for (const [id, timer] of this.timers) {
        if (timer.due <= end && (next === null || timer.due < next.due)) next = { id, ...timer };
      }
      if (next === null) break;
      this.timers.delete(next.id);
      this.at = Math.max(this.at, next.due);
      next.run();
    }
    this.at = end;
  }
}

/** Return a WebSocket class whose instances are kept in `sockets`. */
export function fakeWebSocket() {
  const sockets = [];
  class FakeWebSocket {
    constructor(url, protocols) {
      this.url = url;
      this.protocols = protocols;
      this.readyState = 0;
      this.sent = [];
      sockets.push(this);
    }

    send(text) {
      this.sent.push(JSON.parse(text));
    }

    close(code) {
      this.closedWith = code;
      this.readyState = 2;
    }

    // --- the server's side ---

    give(message) {
      this.readyState = 1;
      this.onmessage?.({ data: JSON.stringify(message) });
    }

    cut(code = 1006) {
      this.readyState = 3;
      this.onclose?.({ code });
    }

    sentOf(type) {
      return this.sent.filter((message) => message.type === type);
    }
  }
  return { FakeWebSocket, sockets };
}

export function welcome(fields = {}) {
  return {
    type: "welcome",
    user: "alice",
    offset: 10,
    now: 1_790_000_000_000,
    resumed: false,
    orders: [],
    room: "demo",
    epoch: "e1",
    heartbeat_ms: 25_000,
    state: { likes: 5, viewers: 2, stock: {}, orders: {} },
    sales: [],
    pinned: null,
    recent: [],
    limits: {
      message_bytes: 4096,
      messages_per_s: 20,
      messages_burst: 40,
      comment_chars: 500,
      comments_per_s: 1,
      comments_burst: 5,
      likes_per_message: 50,
      like_messages_per_s: 10,
    },
    ...fields,
  };
}

export function batch(offset, events = [], fields = {}) {
  return { type: "batch", now: 1_790_000_000_100, offset, events, ...fields };
}

export function comment(id) {
  return { type: "comment", comment: id, user: "bob", name: "Bob", text: `text of ${id}`, at: 1 };
}

export function sale(fields = {}) {
  return {
    sale: "s1",
    sku: "BAG",
    state: "open",
    title: "Bag",
    price: 100,
    currency: "EUR",
    stock: 10,
    left: 10,
    per_user_limit: null,
    starts_at: 1,
    ends_at: null,
    hold_seconds: 0,
    orders: 0,
    version: 2,
    at: 1_789_999_999_000,
    ...fields,
  };
}
