// What the claim button says, and what came of a claim. Pure, so that every state can be tested.

import { showMoney } from "./money.js";

const MOST_AT_ONCE = 10;

/** How many units of a sale a user may claim now, from its orders; never more than a list of choices holds. */
export function mostUnits(sale, ownedUnits) {
  const allowed = sale.per_user_limit === null ? Infinity : sale.per_user_limit - ownedUnits;
  return Math.max(0, Math.min(allowed, sale.left, MOST_AT_ONCE));
}

/**
 * Return `{ text, disabled, kind }` of the button.
 *
 * @param {object} sale as it stands
 * @param {{ ownedUnits: number, quantity: number, claiming: boolean, won: boolean, over: boolean }} mine
 */
export function claimButton(sale, { ownedUnits, quantity, claiming, won, over }) {
  if (claiming) return { text: "Claiming…", disabled: true, kind: "busy" };
  if (won) return { text: "It’s yours", disabled: true, kind: "won" };
  switch (sale.state) {
    case "scheduled":
      return { text: "Not open yet", disabled: true, kind: "wait" };
    case "paused":
      return { text: "Paused", disabled: true, kind: "wait" };
    case "sold_out":
      return { text: "Sold out", disabled: true, kind: "gone" };
    case "open":
      break;
    default:
      return { text: "Closed", disabled: true, kind: "gone" };
  }
  if (over) return { text: "Closed", disabled: true, kind: "gone" };
  if (sale.left <= 0) return { text: "Sold out", disabled: true, kind: "gone" };
  if (mostUnits(sale, ownedUnits) === 0) return { text: "Limit reached", disabled: true, kind: "gone" };
  const amount = showMoney(sale.price * quantity, sale.currency);
  return { text: `${ownedUnits > 0 ? "Buy again" : "Buy"} · ${amount}`, disabled: false, kind: "open" };
}

/** Say what came of a claim. */
export function claimOutcome(ack, sale) {
  switch (ack.status) {
    case "reserved":
      return "Order placed: it’s yours.";
    case "sold_out":
      return ack.left > 0 ? `Only ${ack.left} left: choose fewer.` : "Sold out: others were faster.";
    case "limit_reached":
      return sale.per_user_limit === null
        ? "You have as many as you may."
        : `You may have ${sale.per_user_limit} of these in all.`;
    case "not_open":
      return "Not open just now. Nothing was taken; try again in a moment.";
    case "closed":
      return "This sale is over.";
    case "waitlisted":
      return "None left now; you are next in line if one comes back.";
    default:
      return ack.status;
  }
}

/** Say why a claim could not be decided. */
export function claimFailure(fault) {
  if (fault.code === "disconnected") return "The connection is gone. If your claim went through, it is in your orders.";
  if (fault.code === "unknown_sale") return "This sale is no longer here.";
  return "That did not work. Nothing was taken; try again.";
}
