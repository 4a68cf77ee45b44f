// From what the host typed to what the API takes. Pure.

import { minorDigits, readMoney } from "./money.js";

/**
 * Return the body of a new sale.
 *
 * @param {FormData} data the sale form's fields
 * @param {number} now server time in ms: seconds from now become moments
 * @throws {Error} with a sentence for the host
 */
export function saleBody(data, now) {
  const text = (name) => String(data.get(name) ?? "").trim();
  const number = (name) => (text(name) === "" ? null : Number(text(name)));
  const currency = text("currency").toUpperCase();
  const price = readMoney(text("price"), currency);
  if (price === null) {
    const digits = minorDigits(currency);
    const form = digits === 0 ? "a whole number" : `a number with at most ${digits} digits behind the point`;
    throw new Error(`A price in ${currency} is ${form}.`);
  }
  const opensIn = number("opens_in");
  const runsFor = number("runs_for");
  const startsAt = opensIn === null ? null : Math.round(now + opensIn * 1000);
  return {
    sku: text("sku"),
    title: text("title"),
    price,
    currency,
    stock: number("stock"),
    per_user_limit: number("per_user_limit"),
    starts_at: startsAt,
    ends_at: runsFor === null ? null : Math.round((startsAt ?? now) + runsFor * 1000),
    hold_seconds: 0,
  };
}
