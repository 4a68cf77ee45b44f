// The viewer's page: ties the room to the elements. Knows no rule of the room; what it shows is what the client
// (`/js/liveroom.js`) holds.

import { connect } from "../js/liveroom.js";
import { api } from "./api.js";
import { CommentList } from "./comment_list.js";
import { byId, icon, make, setText } from "./dom.js";
import { Hearts } from "./hearts.js";
import { showMoney } from "./money.js";
import { showPin } from "./pin_card.js";
import { base, guest, name, roomId, token, userOr } from "./place.js";
import { SaleCard } from "./sale_card.js";
import { SaleList } from "./sale_list.js";
import { showCount } from "./times.js";
import { boughtText, Toasts } from "./toasts.js";

const TICK_MS = 200;
const NOTICE_MS = 15_000;
const HEARTS_A_STATE = 5; // others' likes come as a sum; a few hearts stand for it
const TRIES_BEFORE_WORRY = 3;

const room = connect({ url: base, room: roomId, token, user: token ? undefined : userOr(guest), name });
let over = false;

// --- the room's numbers -----------------------------------------------------------------------------------

const hearts = new Hearts(byId("hearts"));
let likesShown = 0;

function showLikes(likes) {
  likesShown = likes;
  setText(byId("likes"), showCount(likes));
}

room.on("state", ({ likes, viewers }) => {
  setText(byId("viewers"), showCount(viewers));
  if (likesShown > 0 && likes > likesShown) hearts.rise(Math.min(HEARTS_A_STATE, likes - likesShown));
  showLikes(Math.max(likes, likesShown)); // own likes are shown before the server has counted them
  showSales();
});

byId("like").prepend(icon("heart"));
byId("like").addEventListener("click", () => {
  room.like();
  showLikes(likesShown + 1);
  hearts.rise(1);
});

// --- sales and orders -------------------------------------------------------------------------------------

const sales = new SaleList(byId("sales"), (sale) => new SaleCard(sale, room, () => over));

function showSales() {
  sales.show(room.sales.values());
  sales.tick(room.now());
}

room.on("sale", () => {
  showSales();
  showPinned();
});
setInterval(() => sales.tick(room.now()), TICK_MS);

const ordersButton = byId("orders-button");
ordersButton.addEventListener("click", () => openOrders(byId("orders").hidden));

function openOrders(open) {
  byId("orders").hidden = !open;
  ordersButton.setAttribute("aria-expanded", String(open));
}

function showOrders() {
  const newestFirst = [...room.orders.values()].sort((a, b) => b.at - a.at);
  byId("order-list").replaceChildren(
    ...newestFirst.map(({ order, quantity, title, amount, currency, status }) =>
      make(
        "li",
        { "data-order": order },
        make("span", { text: `${quantity} × ${title}`, dir: "auto" }),
        make("b", { text: showMoney(amount, currency) }),
        make("span", { class: "badge", text: status }),
      ),
    ),
  );
  setText(byId("orders-count"), String(newestFirst.length));
  ordersButton.hidden = newestFirst.length === 0;
  if (newestFirst.length === 0) openOrders(false);
  for (const card of sales.cards.values()) card.refresh();
}

room.on("order", showOrders);

const toasts = new Toasts(byId("toasts"));
room.on("order_placed", (event) => {
  toasts.show(boughtText(event, room.sales.get(event.sale)?.title ?? "it"), "order");
});

// --- pinned card and notices ------------------------------------------------------------------------------

function showPinned() {
  showPin(byId("pin"), room.pinned, room.sales, (sale) => {
    const card = sales.cards.get(sale);
    card?.element.scrollIntoView({ behavior: "smooth", block: "nearest", inline: "center" });
    card?.button.focus({ preventScroll: true });
  });
}

room.on("pinned", showPinned);

const notice = byId("notice");
let noticeTimer = null;

room.on("notice", ({ text, level }) => {
  clearTimeout(noticeTimer);
  notice.dataset.level = level;
  notice.hidden = false;
  setText(byId("notice-text"), text);
  if (level !== "warning") noticeTimer = setTimeout(() => (notice.hidden = true), NOTICE_MS);
});
byId("notice-close").addEventListener("click", () => (notice.hidden = true));

// --- comments ---------------------------------------------------------------------------------------------

const comments = new CommentList(byId("comments"), { me: () => room.user, jump: byId("jump") });
const commentText = byId("comment-text");
const problem = byId("comment-problem");

room.on("comment", (event) => comments.add(event));
room.on("comment_removed", (event) => comments.remove(event.comment));
room.on("skipped", ({ comments: count }) => comments.note(`${count} comments passed by too fast to show`));

byId("comment-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const text = commentText.value.trim();
  if (text === "") return;
  const most = room.limits?.comment_chars ?? Infinity;
  if ([...text].length > most) {
    setText(problem, `A comment has at most ${most} characters.`);
    return;
  }
  setText(problem, "");
  commentText.value = "";
  try {
    const { shown } = await room.comment(text);
    if (!shown) comments.note("Your comment was not shown: the room is too busy right now.");
  } catch (fault) {
    setText(problem, commentFailure(fault));
    if (commentText.value === "" && fault.code !== "unanswered") commentText.value = text;
  }
});
commentText.addEventListener("input", () => setText(problem, ""));

function commentFailure({ code, retry_after_ms: ms }) {
  if (code === "rate_limited") return `Slow down: again in ${Math.max(1, Math.ceil((ms ?? 1000) / 1000))} s.`;
  if (code === "room_closed") return "This live has ended.";
  if (code === "disconnected" || code === "unanswered") return "The connection is gone; your comment may be lost.";
  if (code === "invalid") return "This comment has a character that cannot be shown.";
  return "Your comment could not be sent.";
}

// --- the connection and the end ---------------------------------------------------------------------------

const connection = byId("connection");
let joined = false;

room.on("welcome", (message) => {
  joined = true;
  if (!message.resumed) {
    comments.reset(message.recent);
    likesShown = 0;
  }
  showLikes(Math.max(message.state.likes ?? 0, likesShown));
  showSales();
  showOrders();
  showPinned();
});

function showStatus({ status, attempt }) {
  document.body.dataset.status = status;
  if (over) return;
  connection.hidden = status === "live";
  setText(byId("live"), status === "live" ? "Live" : "Offline");
  if (status === "closed") setText(connection, "You were disconnected. Reload the page to join again.");
  else if (status === "waiting" && attempt >= TRIES_BEFORE_WORRY) askWhy();
  else if (status !== "live" && attempt < TRIES_BEFORE_WORRY) {
    setText(connection, joined ? "Reconnecting…" : "Joining…");
  }
}

const REASONS = {
  401: "This link has expired, or lacks its token.",
  403: "You may not enter this room.",
  404: "There is no such room.",
};

/** A browser does not tell why a websocket was refused; the API does. */
async function askWhy() {
  try {
    const { closed_at: closedAt } = await api.get();
    if ((closedAt ?? null) !== null) {
      end();
      room.close();
      return;
    }
    setText(connection, "The room is busy. Trying again…");
  } catch (fault) {
    setText(connection, REASONS[fault.status] ?? "The room cannot be reached. Trying again…");
  }
}

room.on("status", showStatus);
showStatus({ status: room.status, attempt: 0 });

room.on("room_closed", end);
room.on("bye", ({ code }) => code === "room_closed" && end());

function end() {
  over = true;
  byId("over").hidden = false;
  connection.hidden = true;
  for (const control of byId("comment-form").elements) control.disabled = true;
  setText(byId("live"), "Ended");
  showSales();
}

setText(byId("title"), roomId);
document.title = `${roomId} · live`;
