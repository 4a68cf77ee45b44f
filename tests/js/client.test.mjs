// The JS client against a fake server and a fake clock.
// Run with: node --test tests/js/

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";

import { connect } from "../../protocol/js/liveroom.js";
import { batch, comment, FakeTime, fakeWebSocket, sale, welcome } from "./fakes.mjs";

function joined(options = {}) {
  const time = new FakeTime();
  const { FakeWebSocket, sockets } = fakeWebSocket();
  const room = connect({
    url: "http://live.example:8080/",
    room: "demo",
    user: "alice",
    WebSocket: FakeWebSocket,
    time,
    random: () => 0.5,
    ...options,
  });
  return { room, sockets, time, last: () => sockets.at(-1) };
}

function live(options) {
  const all = joined(options);
  all.last().give(welcome());
  return all;
}

describe("joining", () => {
  test("without a token the user stands in the query", () => {
    const { last } = joined({ name: "Alice & co" });
    assert.equal(last().url, "ws://live.example:8080/v1/rooms/demo/ws?user=alice&name=Alice%20%26%20co");
    assert.deepEqual(last().protocols, ["liveroom.v1.json"]);
  });

  test("a token is offered as a subprotocol and never stands in the address", () => {
    const { last } = joined({ token: "abc.def.ghi", url: "https://live.example/shop" });
    assert.equal(last().url, "wss://live.example/shop/v1/rooms/demo/ws");
    assert.deepEqual(last().protocols, ["liveroom.v1.json", "liveroom.bearer.abc.def.ghi"]);
  });

  test("a function is asked for a token before every attempt", async () => {
    let asked = 0;
    const { sockets, last, time } = joined({ token: async () => `t${(asked += 1)}` });
    await new Promise(setImmediate);
    assert.deepEqual(last().protocols, ["liveroom.v1.json", "liveroom.bearer.t1"]);
    last().cut();
    time.advance(1_000);
    await new Promise(setImmediate);
    assert.equal(sockets.length, 2);
    assert.equal(last().protocols[1], "liveroom.bearer.t2");
  });

  test("a room that is closed while the token is asked for opens no socket", async () => {
    const { room, sockets } = joined({ token: async () => "late" });
    room.close();
    await new Promise(setImmediate);
    assert.equal(sockets.length, 0);
    assert.equal(room.status, "closed");
  });

  test("the welcome is what the room knows", () => {
    const { room, last } = joined();
    const seen = [];
    room.on("welcome", (message) => seen.push(message.room));
    room.on("state", (state) => seen.push(state.likes));
    last().give(welcome({ sales: [sale()], state: { likes: 7, viewers: 3, stock: { s1: 4 }, orders: {} } }));
    assert.deepEqual(seen, ["demo", 7]);
    assert.equal(room.status, "live");
    assert.equal(room.user, "alice");
    assert.equal(room.sales.get("s1").left, 4);
  });
});

describe("the log", () => {
  test("events are given in order, then the numbers, then what was skipped", () => {
    const { room, last } = live();
    const seen = [];
    for (const type of ["comment", "notice", "state", "skipped"]) room.on(type, () => seen.push(type));
    const notice = { type: "notice", text: "hi", level: "info", at: 1 };
    last().give(
      batch(15, [notice, comment("c1")], { state: { likes: 9 }, skipped: { comments: 3 } }),
    );
    assert.deepEqual(seen, ["notice", "comment", "state", "skipped"]);
    assert.equal(room.offset, 15);
    assert.equal(room.gaps, 0);
    assert.deepEqual(room.state, { likes: 9, viewers: 2, stock: {}, orders: {} });
  });

  test("a batch that does not follow is not shown; the client comes back with the cursor it has", () => {
    const { room, sockets, last, time } = live();
    last().give(batch(11, [comment("c1")]));
    const seen = [];
    room.on("comment", (event) => seen.push(event.comment));
    last().give(batch(13, [comment("c3")]));
    assert.deepEqual(seen, []);
    assert.equal(room.gaps, 1);
    assert.equal(room.status, "waiting");
    assert.equal(sockets[0].closedWith, 1000);
    time.advance(2_000);
    assert.equal(sockets.length, 2);
    assert.match(last().url, /[?&]resume=e1:11$/);
    last().give(welcome({ resumed: true, offset: 11 }));
    last().give(batch(13, [comment("c2"), comment("c3")]));
    assert.deepEqual(seen, ["c2", "c3"]);
  });

  test("a gap that comes back every time is asked for slower and slower", () => {
    const { room, sockets, last, time } = live();
    const waits = [];
    room.on("status", ({ status, retry_in_ms: ms }) => status === "waiting" && waits.push(ms));
    for (let n = 0; n < 6; n++) {
      last().give(batch(99, [comment("c")]));
      time.advance(20_000);
      last().give(welcome({ resumed: true }));
    }
    assert.equal(sockets.length, 7);
    assert.deepEqual(waits, [500, 1000, 2000, 4000, 8000, 15_000]);
  });

  test("an unknown event counts for the offset, is given as unknown, and nothing breaks", () => {
    const { room, last } = live();
    const seen = [];
    room.on("unknown", (value) => seen.push(value.type));
    last().give(batch(12, [{ type: "raffle_drawn", at: 1 }, comment("c1")]));
    last().give({ type: "weather", sky: "clear" });
    assert.deepEqual(seen, ["raffle_drawn", "weather"]);
    assert.equal(room.unknown, 2);
    assert.equal(room.offset, 12);
  });

  test("a second welcome on a live connection starts afresh", () => {
    const { room, last, sockets } = live();
    last().give(batch(11, [{ type: "sale", ...sale() }]));
    assert.equal(room.sales.size, 1);
    const pings = last().sentOf("ping").length;
    last().give(welcome({ offset: 500, epoch: "e2" }));
    assert.equal(room.sales.size, 0);
    assert.equal(room.epoch, "e2");
    last().give(batch(501, [comment("c")]));
    assert.equal(room.gaps, 0);
    assert.equal(sockets.length, 1);
    assert.equal(last().sentOf("ping").length, pings);
  });

  test("an older version of a sale or an order is not shown", () => {
    const { room, last } = joined();
    const seen = [];
    room.on("sale", (event) => seen.push(event.version));
    room.on("order", (order) => seen.push(order.order));
    const order = { order: "o1", sale: "s1", version: 2, quantity: 1 };
    last().give(welcome({ sales: [sale({ version: 5, state: "sold_out" })], orders: [order] }));
    last().give(batch(11, [{ type: "sale", ...sale({ version: 4 }) }]));
    last().give({ type: "order", ...order, version: 1 });
    assert.deepEqual(seen, []);
    last().give(batch(12, [{ type: "sale", ...sale({ version: 6, state: "closed" }) }]));
    last().give({ type: "order", ...order, version: 3 });
    assert.deepEqual(seen, [6, "o1"]);
    assert.equal(room.sales.get("s1").state, "closed");
  });

  test("of the units left the newest number stands, told with the sale or beside it", () => {
    const { room, last } = live();
    const at = 1_790_000_000_100;
    last().give(batch(11, [{ type: "sale", ...sale({ left: 10, at: at - 50 }) }], { state: { stock: { s1: 8 } } }));
    assert.equal(room.sales.get("s1").left, 8);
    last().give(batch(12, [{ type: "sale", ...sale({ version: 3, left: 9, at: at - 20 }) }]));
    assert.equal(room.sales.get("s1").left, 8);
    last().give(batch(13, [{ type: "sale", ...sale({ version: 4, left: 50, at: at + 20 }) }]));
    assert.equal(room.sales.get("s1").left, 50);
    assert.equal(room.state.stock.s1, 50);
    last().give(batch(13, [], { state: { orders: { s1: 7 } } }));
    assert.deepEqual([room.sales.get("s1").left, room.sales.get("s1").orders], [50, 7]);
  });

  test("the golden vectors are taken: each welcome, then each batch, as one room", () => {
    const { messages } = JSON.parse(readFileSync(new URL("../../protocol/vectors.json", import.meta.url)));
    for (const vector of messages.filter(({ direction }) => direction === "to_viewer")) {
      const { room, last } = joined();
      const message = JSON.parse(vector.json);
      const seen = [];
      room.on(message.type, (value) => seen.push(value.type));
      if (message.type !== "welcome") {
        const before = message.offset - (message.events?.length ?? 0) - (message.skipped?.comments ?? 0);
        last().give(welcome({ offset: message.type === "batch" ? before : 10 }));
      }
      last().give(message);
      assert.deepEqual(seen, [message.type], vector.name);
      assert.equal(room.gaps, 0);
      room.close();
    }
  });
});

describe("coming back", () => {
  test("it resumes with the cursor, later each time, never over the cap, and at once anew after a welcome", () => {
    const { room, last, time, sockets } = live();
    last().give(batch(12, [comment("a"), comment("b")]));
    const waits = [];
    room.on("status", ({ status, retry_in_ms: ms }) => status === "waiting" && waits.push(ms));
    for (let n = 0; n < 8; n++) {
      last().cut();
      time.advance(30_000);
    }
    assert.deepEqual(waits, [250, 500, 1000, 2000, 4000, 8000, 15_000, 15_000]);
    assert.equal(sockets.length, 9);
    assert.match(last().url, /\?user=alice&resume=e1:12$/);
    last().give(welcome({ resumed: true, offset: 12 }));
    last().cut();
    assert.equal(waits.at(-1), 250);
  });

  test("a resumed welcome keeps what is held", () => {
    const { room, last, time } = live();
    last().give(batch(11, [{ type: "sale", ...sale() }]));
    last().cut();
    time.advance(1_000);
    last().give(welcome({ resumed: true, offset: 11 }));
    assert.equal(room.sales.size, 1);
  });

  for (const [code, back] of [
    [1000, false],
    [1002, false],
    [1003, false],
    [1007, false],
    [1009, false],
    [4100, false],
    [4101, false],
    [4199, false],
    [1001, true],
    [1005, true],
    [1006, true],
    [1011, true],
    [1012, true],
    [1013, true],
    [4000, true],
    [4001, true],
    [4099, true],
  ]) {
    test(`after close code ${code} it ${back ? "comes back" : "stays away"}`, () => {
      const { room, last, time, sockets } = live();
      last().cut(code);
      time.advance(60_000);
      assert.equal(sockets.length, back ? 2 : 1);
      assert.equal(room.status, back ? "connecting" : "closed");
    });
  }

  test("bye names the time, and a little more by chance", () => {
    const { room, last, time, sockets } = live();
    const byes = [];
    room.on("bye", ({ code }) => byes.push(code));
    last().give({ type: "bye", code: "restarting", message: "", reconnect_after_ms: 2_500 });
    assert.deepEqual(byes, ["restarting"]);
    room.wake(); // the page is looked at: no reason to come before the named time
    time.advance(2_749);
    assert.equal(sockets.length, 1);
    time.advance(1);
    assert.equal(sockets.length, 2);
  });

  test("bye without a time means to stay away", () => {
    const { room, last, time, sockets } = live();
    last().give({ type: "bye", code: "room_closed", message: "", reconnect_after_ms: null });
    last().cut(4100);
    time.advance(60_000);
    assert.equal(room.status, "closed");
    assert.equal(sockets.length, 1);
  });

  test("a peer that answers no ping is given up, and a late close of its socket changes nothing", () => {
    const { room, time, sockets } = live();
    time.advance(10_000);
    assert.equal(room.status, "waiting");
    time.advance(1_000);
    assert.equal(sockets.length, 2);
    sockets[0].cut();
    assert.equal(room.status, "connecting");
    assert.equal(sockets.length, 2);
  });

  test("waking hurries a waiting client", () => {
    const { room, last, sockets } = live();
    last().cut();
    room.wake();
    assert.equal(sockets.length, 2);
  });

  test("close ends it for good, with no timer left", async () => {
    const { room, last, time, sockets } = live();
    const claim = room.claim("s1");
    room.like();
    room.close();
    assert.equal(last().closedWith, 1000);
    await assert.rejects(claim, { code: "disconnected" });
    assert.equal(time.timers.size, 0);
    time.advance(60_000);
    assert.equal(sockets.length, 1);
  });
});

describe("commands", () => {
  test("a comment resolves to its ack", async () => {
    const { room, last } = live();
    const said = room.comment("hello");
    const [{ id, text }] = last().sentOf("comment");
    assert.equal(text, "hello");
    last().give({ type: "ack", id, shown: false });
    assert.equal((await said).shown, false);
  });

  test("a refused comment rejects with the code, and the error is heard too", async () => {
    const { room, last } = live();
    const heard = [];
    room.on("error", ({ code }) => heard.push(code));
    const said = room.comment("hello");
    const [{ id }] = last().sentOf("comment");
    last().give({ type: "error", id, code: "rate_limited", message: "too many", retry_after_ms: 700 });
    await assert.rejects(said, { name: "LiveroomError", code: "rate_limited", retry_after_ms: 700 });
    assert.deepEqual(heard, ["rate_limited"]);
  });

  test("a comment that is cut, or said while away, is not sent again: the caller is told", async () => {
    const { room, last, time } = live();
    const said = room.comment("hello");
    last().cut();
    await assert.rejects(said, { code: "disconnected" });
    await assert.rejects(room.comment("while away"), { code: "disconnected" });
    time.advance(1_000);
    last().give(welcome({ resumed: true }));
    assert.deepEqual(last().sentOf("comment"), []);
  });

  test("a comment without an answer rejects", async () => {
    const { room, last, time } = live();
    const said = room.comment("hello");
    for (let n = 0; n < 10; n++) {
      time.advance(1_000);
      last().give({ type: "pong", t: time.at, now: 1 });
    }
    await assert.rejects(said, { code: "unanswered" });
  });

  test("a claim survives cuts with the same id, and is answered once", async () => {
    const { room, last, time } = live();
    const claim = room.claim("s1", 2);
    const [first] = last().sentOf("claim");
    assert.deepEqual(first, { type: "claim", id: first.id, sale: "s1", quantity: 2 });
    last().cut();
    time.advance(1_000);
    assert.deepEqual(last().sent, []);
    last().give(welcome({ resumed: true }));
    assert.deepEqual(last().sentOf("claim"), [first]);
    const ack = { type: "ack", id: first.id, status: "reserved", order: "o1", expires_at: null, left: 3 };
    last().give(ack);
    last().give(ack);
    assert.deepEqual(await claim, ack);
    last().cut();
    time.advance(1_000);
    last().give(welcome({ resumed: true }));
    assert.deepEqual(last().sentOf("claim"), []);
  });

  test("a claim made while away is sent when the room is live", async () => {
    const { room, last } = joined();
    room.claim("s1");
    assert.deepEqual(last().sent, []);
    last().give(welcome());
    assert.equal(last().sentOf("claim").length, 1);
    assert.equal(last().sentOf("claim")[0].quantity, 1);
  });

  test("a claim is asked again after unavailable, later each time, with the same id", async () => {
    const { room, last, time } = live();
    const claim = room.claim("s1");
    const [{ id }] = last().sentOf("claim");
    const error = { type: "error", id, code: "unavailable", message: "later" };
    last().give({ ...error, retry_after_ms: 300 });
    time.advance(299);
    assert.equal(last().sentOf("claim").length, 1);
    time.advance(1);
    assert.equal(last().sentOf("claim").length, 2);
    last().give(error);
    time.advance(2_000);
    assert.equal(last().sentOf("claim").length, 3);
    assert.ok(last().sentOf("claim").every((sent) => sent.id === id));
    last().give({ type: "error", id, code: "unknown_sale", message: "no such sale" });
    await assert.rejects(claim, { code: "unknown_sale" });
  });

  test("the caller's own claim id is used, and asking twice is one wish", () => {
    const { room, last } = live();
    const one = room.claim("s1", 1, { id: "wish-1" });
    assert.equal(room.claim("s1", 1, { id: "wish-1" }), one);
    assert.deepEqual(last().sentOf("claim").map(({ id }) => id), ["wish-1"]);
  });

  test("ids differ between clients and fit the protocol", () => {
    const ids = new Set();
    for (let n = 0; n < 50; n++) {
      const { room, last } = live();
      room.claim("s1");
      room.claim("s1");
      for (const { id } of last().sentOf("claim")) ids.add(id);
    }
    assert.equal(ids.size, 100);
    for (const id of ids) assert.match(id, /^[a-z0-9-]{10,64}$/);
  });

  test("a listener's fault reaches neither the others nor the cursor", async (t) => {
    const { room, last } = live();
    const faults = [];
    const own = process.listeners("uncaughtException");
    process.removeAllListeners("uncaughtException");
    process.once("uncaughtException", (fault) => faults.push(fault.message));
    t.after(() => own.forEach((listener) => process.on("uncaughtException", listener)));
    const seen = [];
    room.on("comment", () => {
      throw new Error("of the page");
    });
    const off = room.on("comment", () => seen.push("heard"));
    last().give(batch(11, [comment("c1")]));
    off();
    assert.deepEqual(seen, ["heard"]);
    assert.equal(room.offset, 11);
    await new Promise(setImmediate);
    assert.deepEqual(faults, ["of the page"]);
  });
});

describe("likes", () => {
  test("the first goes at once, what follows as one sum a window, the rest in the next", () => {
    const { room, last, time } = live();
    room.like();
    assert.deepEqual(last().sentOf("like").map(({ n }) => n), [1]);
    for (let n = 0; n < 70; n++) room.like();
    assert.equal(last().sentOf("like").length, 1);
    time.advance(249);
    assert.equal(last().sentOf("like").length, 1);
    time.advance(1);
    assert.deepEqual(last().sentOf("like").map(({ n }) => n), [1, 50]);
    time.advance(250);
    assert.deepEqual(last().sentOf("like").map(({ n }) => n), [1, 50, 20]);
    time.advance(1_000);
    assert.equal(last().sentOf("like").length, 3);
  });

  test("the server's limit is the size of a message", () => {
    const { room, last } = joined();
    last().give(welcome({ limits: { ...welcome().limits, likes_per_message: 5 } }));
    room.like(8);
    assert.deepEqual(last().sentOf("like").map(({ n }) => n), [5]);
  });

  test("likes given while away are sent on return, and are bounded", () => {
    const { room, last, time } = joined();
    for (let n = 0; n < 10_000; n++) room.like();
    last().give(welcome());
    let total = 0;
    for (let n = 0; n < 40; n++) {
      time.advance(250);
      last().give({ type: "pong", t: time.at, now: 1 });
    }
    for (const { n } of last().sentOf("like")) total += n;
    assert.equal(total, 500);
  });
});

describe("the clock in a room", () => {
  test("it pings a few times at the start, then every half minute or so", () => {
    const { last, time } = live();
    const answered = () => last().give({ type: "pong", t: last().sentOf("ping").at(-1).t, now: 1 });
    for (let n = 0; n < 4; n++) {
      answered();
      time.advance(250);
    }
    assert.equal(last().sentOf("ping").length, 4);
    answered();
    time.advance(30_000);
    assert.equal(last().sentOf("ping").length, 5);
  });

  test("server time is the welcome's at first, then the best ping's", () => {
    const { room, last, time } = live();
    assert.equal(room.now(), 1_790_000_000_000);
    const [{ t }] = last().sentOf("ping");
    time.advance(40);
    last().give({ type: "pong", t, now: 1_790_000_001_020 });
    assert.equal(room.now(), 1_790_000_001_040);
  });

  test("one viewer in a hundred reports how late it sees a batch, every ten seconds at most", () => {
    const { last, time } = live({ random: () => 0.001 });
    last().give({ type: "pong", t: time.at, now: 1_790_000_000_000 });
    last().give(batch(11, [comment("a")], { now: 1_789_999_999_958 }));
    last().give(batch(12, [comment("b")]));
    assert.deepEqual(last().sentOf("seen"), [{ type: "seen", offset: 11, lag_ms: 42 }]);
  });
});
