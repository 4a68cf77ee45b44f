// One websocket after another: connects, notices that a connection is dead, and comes back.
//
// Knows the browser's WebSocket, close codes and `bye`; never knows what a room is (the cursor is asked for as
// a string). Rules: at most one socket counts at a time, and one that was given up is never listened to again;
// a dead peer is found by silence after a probe, for scripts cannot see websocket pings.

import { backoff, comesBack, namedDelay } from "./backoff.js";

const SUBPROTOCOL = "liveroom.v1.json";
const BEARER_PREFIX = "liveroom.bearer.";

/** Statuses, in the order of a life: connecting, live, waiting (then connecting again), closed. */
export class Socket {
  /**
   * @param {object} options `{ url(): string, token, WebSocket, time, random }`; `token` is a string, a function
   *   that returns one or a promise of one (asked before every attempt), or nothing
   * @param {object} hooks `{ message(map), status(status), cut() }`
   */
  constructor(options, hooks) {
    this.options = options;
    this.hooks = hooks;
    this.status = null;
    this.attempt = 0; // failures in a row
    this.gapsInARow = 0;
    this.socket = null;
    this.timer = null; // of waiting
    this.named = false; // the server named the time that is waited for
    this.probe = null;
  }

  open() {
    this.#setStatus({ status: "connecting", attempt: this.attempt });
    const { token } = this.options;
    if (typeof token !== "function") {
      this.#connect(token);
      return;
    }
    const asked = {};
    this.socket = asked; // stands for the socket to come, so that a close while asking is seen
    Promise.resolve()
      .then(token)
      .then((fresh) => this.socket === asked && this.#connect(fresh))
      .catch(() => this.socket === asked && this.#down(1006));
  }

  /** Send a map; false when there is no live connection. */
  send(map) {
    if (this.status?.status !== "live" || this.socket.readyState !== 1) return false;
    this.socket.send(JSON.stringify(map));
    return true;
  }

  /** A `welcome` came: the connection is live. */
  welcomed() {
    this.attempt = this.gapsInARow;
    this.#setStatus({ status: "live" });
  }

  /** A batch fitted: a gap before it, if any, is mended. */
  sound() {
    this.gapsInARow = 0;
    this.attempt = 0;
  }

  /** A batch did not fit: come back with the cursor, slower each time it happens in a row. */
  gap() {
    this.gapsInARow += 1;
    this.attempt = this.gapsInARow;
    this.#drop();
    this.#wait(backoff(this.attempt, this.options.random));
  }

  /** The server said `bye`: do as it says. */
  bye({ reconnect_after_ms: ms }) {
    this.#drop();
    if (ms === null) this.#setStatus({ status: "closed", code: null });
    else this.#wait(namedDelay(ms, this.options.random), true);
  }

  /** Anything heard within `ms` proves the peer alive; else the connection is given up. */
  expectWithin(ms) {
    if (this.probe !== null) return;
    this.probe = this.options.time.setTimeout(() => {
      this.probe = null;
      this.#drop();
      this.#wait(backoff(this.attempt, this.options.random));
    }, ms);
  }

  /** The network is back, or the page is seen again: do not wait longer, unless the server asked for it. */
  hurry() {
    if (this.status?.status !== "waiting" || this.named) return;
    this.options.time.clearTimeout(this.timer);
    this.timer = null;
    this.open();
  }

  /** End for good. */
  close() {
    if (this.status?.status === "closed") return;
    this.#drop();
    this.options.time.clearTimeout(this.timer);
    this.timer = null;
    this.#setStatus({ status: "closed", code: 1000 });
  }

  #connect(token) {
    const protocols = token ? [SUBPROTOCOL, BEARER_PREFIX + token] : [SUBPROTOCOL];
    const socket = new this.options.WebSocket(this.options.url(), protocols);
    this.socket = socket;
    socket.onmessage = ({ data }) => {
      this.options.time.clearTimeout(this.probe);
      this.probe = null;
      this.hooks.message(JSON.parse(data));
    };
    socket.onclose = ({ code }) => this.#down(code);
    socket.onerror = () => {}; // always followed by a close, which says more
  }

  #down(code) {
    this.#drop();
    if (comesBack(code)) this.#wait(backoff(this.attempt, this.options.random));
    else this.#setStatus({ status: "closed", code });
  }

  /** Give up the present socket: a dead one may take minutes to tell that it closed. */
  #drop() {
    const socket = this.socket;
    this.socket = null;
    this.options.time.clearTimeout(this.probe);
    this.probe = null;
    if (socket === null) return;
    socket.onmessage = socket.onclose = null;
    if (socket.readyState < 2) socket.close(1000);
    if (this.status.status === "live") this.hooks.cut();
  }

  #wait(ms, named = false) {
    this.named = named;
    this.attempt += 1;
    this.#setStatus({ status: "waiting", attempt: this.attempt, retry_in_ms: Math.round(ms) });
    this.timer = this.options.time.setTimeout(() => {
      this.timer = null;
      this.open();
    }, ms);
  }

  #setStatus(status) {
    this.status = status;
    this.hooks.status(status);
  }
}
