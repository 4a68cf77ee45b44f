// A viewer in Node for tests/test_whole.py: joins, comments, claims, and prints what it saw as one JSON line.
// Arguments: base URL, room, sale, how many custom events to wait for.

import { connect } from "../../protocol/js/liveroom.js";

const [url, room, sale, wanted] = process.argv.slice(2);
const joined = connect({ url, room, user: "node", name: "Node" });
const seen = { custom: [], comments: [], placed: 0 };
const enough = new Promise((resolve) => {
  joined.on("custom", ({ data }) => {
    seen.custom.push(data);
    if (seen.custom.length === Number(wanted)) resolve();
  });
});
joined.on("comment", ({ text }) => seen.comments.push(text));
joined.on("order_placed", ({ others }) => (seen.placed += 1 + others));
joined.on("welcome", async () => {
  const shown = (await joined.comment("hello from node")).shown;
  const claim = await joined.claim(sale, 1);
  console.log(JSON.stringify({ ready: true, shown, claim: claim.status }));
});
await enough;
console.log(JSON.stringify({ ...seen, gaps: joined.gaps }));
joined.close();
