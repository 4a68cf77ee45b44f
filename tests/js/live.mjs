// The JS client in Node against a real server; what it saw is written to stdout as JSON.
// Run with: node --experimental-websocket tests/js/live.mjs URL ROOM SALE LAST
//
// LAST is the `n` of the last custom event: when it has been seen, this ends. Every CUT_EVERY events the socket
// is cut under the client, so what is seen after shows whether coming back loses or repeats anything.

import { connect } from "../../protocol/js/liveroom.js";

const CUT_EVERY = 20;

const [url, roomId, sale, last] = process.argv.slice(2);
let newest = null;

class CutWebSocket extends WebSocket {
  constructor(...args) {
    super(...args);
    newest = this;
  }
}

const random = () => 0.05; // back soon, so that there are many cuts
const room = connect({ url, room: roomId, user: "node", name: "Node", WebSocket: CutWebSocket, random });
const seen = [];
const resumed = [];
const ended = new Promise((resolve) => {
  room.on("custom", ({ data }) => {
    seen.push(data.n);
    if (data.n === Number(last)) resolve();
    else if (seen.length % CUT_EVERY === 0) newest.close();
  });
});

room.on("welcome", (welcome) => resumed.push(welcome.resumed));
await new Promise((resolve) => room.on("welcome", resolve));
const { shown } = await room.comment("hello from node");
process.stdout.write("ready\n");

const claim = room.claim(sale, 1, { id: "wish" });
newest.close(); // before the answer can have come
const { status, order } = await claim;
const again = await room.claim(sale, 1, { id: "wish" });
await ended;
const clockOff = Math.abs(room.now() - Date.now());
room.close();
process.stdout.write(
  JSON.stringify({ seen, resumed, shown, status, same: order === again.order, gaps: room.gaps, clockOff }),
);
