// The host's page: sees the room as a viewer does, changes it through the HTTP API alone.

import { connect } from "../js/liveroom.js";
import { api } from "./api.js";
import { ask } from "./ask.js";
import { CommentList } from "./comment_list.js";
import { byId, make, setText } from "./dom.js";
import { HostCard } from "./host_card.js";
import { OrderTable } from "./order_table.js";
import { showPin } from "./pin_card.js";
import { base, roomId, token, userOr } from "./place.js";
import { saleBody } from "./sale_form.js";
import { SaleList } from "./sale_list.js";
import { showCount } from "./times.js";
import { Toasts } from "./toasts.js";

const TICK_MS = 200;
const STATS_MS = 5_000;

const toasts = new Toasts(byId("toasts"));
let room = null; // joined once the room is known to exist
let record = null;

/** Do something over the API; say what came of it. Returns the answer, or null when it failed. */
async function does(action, done) {
  try {
    const answer = (await action()) ?? true;
    byId("trouble").hidden = true;
    if (done) toasts.show(done);
    return answer;
  } catch (fault) {
    complain(fault);
    return null;
  }
}

function complain(fault) {
  setText(byId("trouble"), fault.message);
  byId("trouble").hidden = false;
}

/** Run `act` with a form's data when it is sent; the form is emptied when that went well. */
function onSubmit(id, act) {
  const form = byId(id);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = form.querySelector("button:not([type])");
    button.disabled = true; // one press, one deed
    if ((await act(new FormData(form))) !== null) form.reset();
    button.disabled = false;
  });
}

// --- the room ---------------------------------------------------------------------------------------------

async function start() {
  setText(byId("room-title"), roomId);
  setText(byId("missing-name"), roomId);
  byId("viewer-link").href = `${base}?room=${encodeURIComponent(roomId)}`;
  try {
    show(await api.get());
  } catch (fault) {
    if (fault.status !== 404) return complain(fault);
    byId("missing").hidden = false;
    setText(byId("room-state"), "Not made yet");
  }
  return undefined;
}

onSubmit("create-form", async (data) => {
  const title = String(data.get("title")).trim();
  const made = await does(() => api.put("", title ? { title } : {}), "The room is made.");
  if (made !== null) show(made);
  return made;
});

function show(made) {
  record = made;
  const closed = isClosed(made);
  byId("missing").hidden = true;
  byId("console").hidden = false;
  setText(byId("room-title"), made.title || made.room);
  document.title = `${made.title || made.room} · host`;
  setText(byId("room-state"), closed ? "Closed" : "Open");
  byId("room-state").parentElement.dataset.state = closed ? "closed" : "open";
  byId("close-room").hidden = closed;
  for (const form of ["sale-form", "notice-form", "pin-form"]) {
    for (const control of byId(form).elements) control.disabled = closed;
  }
  if (room !== null) return;
  if (closed) showClosed();
  else join();
}

function isClosed({ state, closed_at: closedAt }) {
  return state === "closed" || (closedAt ?? null) !== null;
}

byId("close-room").addEventListener("click", async () => {
  if (!(await ask("Close the room for good? Everyone is sent home, and nothing can be added.", "Close the room"))) return;
  const closed = await does(() => api.post("/close"), "The room is closed.");
  if (closed !== null) show(closed);
});

// --- numbers ----------------------------------------------------------------------------------------------

function showNumbers({ viewers, likes, orders, left }) {
  const figures = { Viewers: viewers, Likes: likes, Orders: orders, "Units left": left };
  byId("numbers").replaceChildren(
    ...Object.entries(figures).map(([name, n]) =>
      make("div", {}, make("dt", { text: name }), make("dd", { text: showCount(n), title: String(n) })),
    ),
  );
}

const sum = (numbers) => numbers.reduce((total, n) => total + n, 0);

async function readStats() {
  if (document.hidden) return;
  const stats = await does(() => api.get("/stats"));
  if (stats === null) return;
  const ended = (sale) => sale.state === "closed" || sale.state === "cancelled";
  showNumbers({
    viewers: stats.viewers,
    likes: stats.likes,
    orders: sum(stats.sales.map((sale) => sale.orders)),
    left: sum(stats.sales.map((sale) => (ended(sale) ? 0 : sale.left))),
  });
}

// --- the room live ----------------------------------------------------------------------------------------

const orders = new OrderTable(complain);

const comments = new CommentList(byId("comments"), {
  jump: byId("jump"),
  actions: (event) => [
    make("button", {
      type: "button",
      class: "quiet danger",
      text: "Delete",
      "aria-label": `Delete the comment of ${event.name}`,
      on: { click: () => deleteComment(event) },
    }),
  ],
});

async function deleteComment({ comment, name, text }) {
  if (!(await ask(`Delete this comment of ${name}? “${text}”`, "Delete"))) return;
  await does(() => api.delete(`/comments/${encodeURIComponent(comment)}`), "The comment is deleted.");
}

const sales = new SaleList(
  byId("sales"),
  (sale) => new HostCard(sale, { act, restock, pin: pinSale }),
  (all) => [...all].reverse(), // the newest first
);

async function act(sale, action) {
  const sentence = {
    close: `Close “${sale.title}” for good? Orders stay as they are.`,
    cancel: `Cancel “${sale.title}”? It ends at once and cannot be opened again.`,
  }[action];
  if (sentence && !(await ask(sentence, action === "close" ? "Close the sale" : "Cancel the sale"))) return;
  await does(() => api.post(`${salePath(sale)}/${action}`));
}

function restock(sale, add) {
  return does(() => api.post(`${salePath(sale)}/restock`, { add }), `${add} more of ${sale.title}.`);
}

function salePath({ sale }) {
  return `/sales/${encodeURIComponent(sale)}`;
}

function join() {
  room = connect({ url: base, room: roomId, token, user: token ? undefined : userOr(() => "host") });
  room.on("welcome", (message) => {
    if (!message.resumed) {
      comments.reset(message.recent);
      byId("new-sale").open = message.sales.length === 0;
    }
    showSales();
    showPinned();
    orders.refresh();
  });
  room.on("state", ({ viewers, likes, stock, orders: counts }) => {
    const live = [...room.sales.values()].filter(({ state }) => state !== "closed" && state !== "cancelled");
    showNumbers({
      viewers,
      likes,
      orders: sum(Object.values(counts)),
      left: sum(live.map(({ sale, left }) => stock[sale] ?? left)),
    });
    showSales();
  });
  room.on("sale", showSales);
  room.on("pinned", showPinned);
  room.on("order_placed", () => orders.refresh());
  room.on("comment", (event) => comments.add(event));
  room.on("comment_removed", ({ comment }) => comments.remove(comment));
  room.on("notice", ({ text }) => toasts.show(`Notice: ${text}`));
  room.on("room_closed", () => show({ ...record, state: "closed" }));
  room.on("status", showStatus);
  showStatus({ status: room.status });
  setInterval(() => sales.tick(room.now()), TICK_MS);
  setInterval(readStats, STATS_MS);
}

/** A closed room cannot be joined, but what it was can be read. */
async function showClosed() {
  const page = await does(() => api.get("/sales"));
  if (page !== null) {
    sales.show(page.sales);
    byId("no-sales").hidden = page.sales.length > 0;
  }
  await readStats();
  await orders.refresh();
}

function showStatus({ status }) {
  document.body.dataset.status = status;
  const strip = byId("connection");
  strip.hidden = status === "live" || isClosed(record);
  setText(strip, status === "closed" ? "Not connected to the room: reload to follow it again." : "Connecting to the room…");
}

function showSales() {
  sales.show(room.sales.values());
  sales.tick(room.now());
  byId("no-sales").hidden = room.sales.size > 0;
  const choices = byId("pin-form").elements.sale;
  const known = new Set([...choices.options].map(({ value }) => value));
  for (const { sale, title } of room.sales.values()) if (!known.has(sale)) choices.add(new Option(title, sale));
}

function showPinned() {
  showPin(byId("pinned"), room.pinned, room.sales, () => {});
  byId("pinned").querySelector("button")?.remove();
  byId("no-pin").hidden = room.pinned !== null;
  byId("unpin").hidden = room.pinned === null;
}

// --- what the host does -----------------------------------------------------------------------------------

onSubmit("sale-form", (data) => does(() => api.post("/sales", saleBody(data, room.now())), "The sale is made."));

onSubmit("notice-form", (data) => {
  const notice = { type: "notice", text: data.get("text"), level: data.get("level") };
  return does(() => api.post("/events", notice));
});

onSubmit("pin-form", (data) => {
  const filled = [...data].map(([key, value]) => [key, value.trim()]).filter(([, value]) => value !== "");
  return does(() => api.put("/pinned", Object.fromEntries(filled)), "Pinned.");
});

function pinSale({ sale, title }) {
  return does(() => api.put("/pinned", { title, sale }), "Pinned.");
}

byId("unpin").addEventListener("click", () => does(() => api.put("/pinned", null)));

start();
