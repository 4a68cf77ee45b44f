// The liveroom client for browsers and Node: join a room, follow its log, send commands.
//
//   import { connect, countdown } from "./liveroom.js";
//   const room = connect({ url: "wss://live.example", room: "spring-sale", token });
//   room.on("comment", ({ name, text }) => ...);
//   const ack = await room.claim(sale, 1);
//
// The idea: a room is an append-only log, a viewer is a cursor into it. This file ties the parts together and
// knows no timers' lengths but the ping's; each part is one file and can be read alone. Protocol: PROTOCOL.md.

import { Clock, countdown } from "./clock.js";
import { Commands, LiveroomError } from "./commands.js";
import { Cursor } from "./cursor.js";
import { Likes } from "./likes.js";
import { Listeners } from "./listeners.js";
import { Present } from "./present.js";
import { Socket } from "./socket.js";

const PINGS_AT_START = 4;
const PING_START_MS = 250;
const PING_MS = 30_000;
const PONG_WITHIN_MS = 10_000;
const PONG_AFTER_WAKE_MS = 5_000; // a page that is looked at again should not wait long to learn it is cut
const SEEN_SHARE = 0.01; // of viewers, who report how late a batch was shown
const SEEN_MS = 10_000;

const EVENTS = new Set([
  "comment",
  "comment_removed",
  "sale",
  "order_placed",
  "pinned",
  "notice",
  "custom",
  "room_closed",
]);

/**
 * Join a room.
 *
 * @param {object} options
 * @param {string} options.url where the server is: `wss://host`, `https://host` or with a path before `/v1`
 * @param {string} options.room the room's id
 * @param {string | (() => string | Promise<string>)} [options.token] a token, or how to get a fresh one
 * @param {string} [options.user] who to be on a server started with `--dev`; not sent when there is a token
 * @param {string} [options.name] the name to show, likewise
 * @param {Function} [options.WebSocket] a WebSocket class, where the global one is missing
 * @param {object} [options.time] `{ now, setTimeout, clearTimeout }`, and `options.random`: for tests
 * @returns {Room}
 */
export function connect(options) {
  return new Room(options);
}

const SYSTEM_TIME = {
  now: () => performance.now(),
  setTimeout: (run, ms) => setTimeout(run, ms),
  clearTimeout: (timer) => clearTimeout(timer),
};

/**
 * A room one is in. `on(type, listener)` takes every message and event type (`welcome`, `comment`, `sale`, ...)
 * and `state` (all numbers, after any changed), `status` (of the connection), `skipped`, `unknown`.
 */
export class Room {
  #options;
  #time;
  #random;
  #listeners = new Listeners();
  #cursor = new Cursor();
  #clock;
  #present = new Present();
  #socket;
  #commands;
  #likes;
  #pingTimer = null;
  #pings = 0;
  #reports;
  #reportedAt = -Infinity;
  #unwatch;

  constructor(options) {
    this.#options = options;
    this.#time = options.time ?? SYSTEM_TIME;
    this.#random = options.random ?? Math.random;
    this.#clock = new Clock(this.#time.now);
    this.#reports = this.#random() < SEEN_SHARE;
    const send = (map) => this.#socket.send(map);
    this.#commands = new Commands(send, this.#time);
    this.#likes = new Likes((n) => send({ type: "like", n }), this.#time);
    this.#socket = new Socket(
      {
        url: () => roomUrl(options, this.#cursor.resume),
        token: options.token,
        WebSocket: options.WebSocket ?? globalThis.WebSocket,
        time: this.#time,
        random: this.#random,
      },
      {
        message: (message) => this.#receive(message),
        status: (status) => this.#status(status),
        cut: () => this.#commands.cut(),
      },
    );
    this.unknown = 0; // messages and events of a type that is not known here
    this.#unwatch = watchPage(() => this.wake());
    this.#socket.open();
  }

  // --- what is known ------------------------------------------------------------------------------------

  /** `connecting`, `live`, `waiting` or `closed`. */
  get status() {
    return this.#socket.status.status;
  }

  /** Batches that did not follow their cursor; each made the client come back for what was lost. */
  get gaps() {
    return this.#cursor.gaps;
  }

  get epoch() {
    return this.#cursor.epoch;
  }

  get offset() {
    return this.#cursor.offset;
  }

  /** The room's numbers: `likes`, `viewers`, `stock` and `orders` by sale. */
  get state() {
    return this.#present.state;
  }

  /** Sales by id, as they stand. */
  get sales() {
    return this.#present.sales;
  }

  /** The user's own orders by id. */
  get orders() {
    return this.#present.orders;
  }

  get pinned() {
    return this.#present.pinned;
  }

  get limits() {
    return this.#present.limits;
  }

  /** Who this is, by the token; null before the first welcome. */
  get user() {
    return this.#present.user;
  }

  /** Server time, ms since the Unix epoch. */
  now() {
    return this.#clock.now();
  }

  on(type, listener) {
    return this.#listeners.on(type, listener);
  }

  // --- what one can do ----------------------------------------------------------------------------------

  /** Say something. Resolves to the `ack`; rejects with a `LiveroomError`. */
  comment(text) {
    return this.#commands.once({ type: "comment", text });
  }

  /** Add likes; sent as sums. */
  like(n = 1) {
    this.#likes.add(n);
  }

  /**
   * Ask for units of a sale. Resolves to the `ack`, whose `status` is the outcome, however many connections it
   * takes. Pass an `id` of your own to repeat a wish after a page load; each wish to buy has its own.
   */
  claim(sale, quantity = 1, { id } = {}) {
    const command = { type: "claim", sale, quantity };
    return this.#commands.lasting(id === undefined ? command : { ...command, id });
  }

  /** Give back an order that is not final. */
  cancel(order) {
    return this.#commands.once({ type: "cancel", order });
  }

  /** The network or the page is back: find out at once whether the connection still is. */
  wake() {
    this.#socket.hurry();
    this.#ping(PONG_AFTER_WAKE_MS);
  }

  /** Leave for good. */
  close() {
    this.#socket.close();
  }

  // --- what comes ---------------------------------------------------------------------------------------

  #receive(message) {
    switch (message.type) {
      case "welcome":
        return this.#welcome(message);
      case "batch":
        return this.#batch(message);
      case "ack":
        this.#commands.ack(message);
        break;
      case "error":
        this.#commands.error(message);
        break;
      case "order":
        if (!this.#present.takeOrder(message)) return undefined;
        break;
      case "pong":
        this.#clock.sample(message.t, message.now);
        break;
      case "bye":
        this.#listeners.emit("bye", message); // before the status it leads to
        return this.#socket.bye(message);
      default:
        return this.#ignore(message);
    }
    return this.#listeners.emit(message.type, message);
  }

  #welcome(message) {
    this.#cursor.start(message);
    this.#clock.seed(message.now);
    this.#present.welcome(message);
    this.#likes.most = message.limits.likes_per_message;
    const again = this.status === "live"; // a second welcome on one connection: the room, not the line, is new
    if (!again) this.#socket.welcomed();
    this.#listeners.emit("welcome", message);
    this.#listeners.emit("state", this.state);
    if (again) return;
    this.#commands.live();
    this.#likes.flush();
    this.#pings = 0;
    this.#pingOnAndOn();
  }

  #batch(batch) {
    if (!this.#cursor.move(batch)) {
      this.#socket.gap();
      return;
    }
    if (batch.events.length > 0) this.#socket.sound();
    for (const event of batch.events) {
      if (!EVENTS.has(event.type)) this.#ignore(event);
      else if (this.#present.event(event)) this.#listeners.emit(event.type, event);
    }
    if (batch.state) {
      this.#present.merge(batch.state, batch.now);
      this.#listeners.emit("state", this.state);
    }
    if (batch.skipped) this.#listeners.emit("skipped", batch.skipped);
    this.#listeners.emit("batch", batch);
    if (this.#reports) this.#report(batch);
  }

  #ignore(value) {
    this.unknown += 1;
    this.#listeners.emit("unknown", value);
  }

  #status(status) {
    if (status.status !== "live") this.#stopPings();
    if (status.status === "closed") {
      this.#likes.stop();
      this.#commands.stop();
      this.#unwatch();
    }
    this.#listeners.emit("status", status);
  }

  // --- clock and latency --------------------------------------------------------------------------------

  #ping(pongWithinMs) {
    if (!this.#socket.send({ type: "ping", t: this.#time.now() })) return;
    this.#pings += 1;
    this.#socket.expectWithin(pongWithinMs);
  }

  #pingOnAndOn() {
    this.#stopPings();
    if (this.status !== "live") return; // a listener of the welcome left
    this.#ping(PONG_WITHIN_MS);
    // Chance in the interval: viewers who came back together must not ping together for ever.
    const ms = this.#pings < PINGS_AT_START ? PING_START_MS : PING_MS * (0.9 + 0.2 * this.#random());
    this.#pingTimer = this.#time.setTimeout(() => this.#pingOnAndOn(), ms);
  }

  #stopPings() {
    this.#time.clearTimeout(this.#pingTimer);
    this.#pingTimer = null;
  }

  #report(batch) {
    const at = this.#time.now();
    if (!this.#clock.measured || at - this.#reportedAt < SEEN_MS) return;
    this.#reportedAt = at;
    this.#socket.send({ type: "seen", offset: batch.offset, lag_ms: this.now() - batch.now });
  }
}

/** Build the address to join at; a token never stands in it, for addresses end up in logs. */
function roomUrl({ url, room, user, name, token }, resume) {
  const base = new URL(url);
  const scheme = base.protocol.replace("http", "ws");
  const path = `${base.pathname.replace(/\/$/, "")}/v1/rooms/${encodeURIComponent(room)}/ws`;
  const query = [];
  if (!token && user !== undefined) query.push(`user=${encodeURIComponent(user)}`);
  if (!token && name !== undefined) query.push(`name=${encodeURIComponent(name)}`);
  if (resume !== null) query.push(`resume=${resume}`);
  return `${scheme}//${base.host}${path}${query.length ? "?" : ""}${query.join("&")}`;
}

/** Call `back` when a browser's page is seen again or the network returns; returns how to stop. */
function watchPage(back) {
  if (typeof document === "undefined" || typeof addEventListener === "undefined") return () => {};
  const seen = () => document.visibilityState === "visible" && back();
  addEventListener("online", back);
  addEventListener("pageshow", seen);
  document.addEventListener("visibilitychange", seen);
  return () => {
    removeEventListener("online", back);
    removeEventListener("pageshow", seen);
    document.removeEventListener("visibilitychange", seen);
  };
}

export { LiveroomError, countdown };
