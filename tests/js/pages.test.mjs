// The pure parts of the pages: what a button says, how money and time read, what a form sends.

import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { claimButton, claimOutcome, mostUnits } from "../../server/web/static/claim_button.js";
import { minorDigits, readMoney, showMoney } from "../../server/web/static/money.js";
import { saleBody } from "../../server/web/static/sale_form.js";
import { pick } from "../../server/web/static/sale_list.js";
import { showCountdown } from "../../server/web/static/times.js";
import { boughtText } from "../../server/web/static/toasts.js";
import { sale } from "./fakes.mjs";

describe("claim button", () => {
  const idle = { ownedUnits: 0, quantity: 1, claiming: false, won: false, over: false };
  const cases = [
    ["not open", { state: "scheduled" }, {}, "Not open yet", true],
    ["open", {}, {}, "Buy · €1.00", false],
    ["two of it", {}, { quantity: 2 }, "Buy · €2.00", false],
    ["claiming", {}, { claiming: true }, "Claiming…", true],
    ["placed", {}, { won: true, ownedUnits: 1 }, "It’s yours", true],
    ["one more", { per_user_limit: 2 }, { ownedUnits: 1 }, "Buy again · €1.00", false],
    ["limit reached", { per_user_limit: 2 }, { ownedUnits: 2 }, "Limit reached", true],
    ["sold out by state", { state: "sold_out", left: 0 }, {}, "Sold out", true],
    ["sold out by number", { left: 0 }, {}, "Sold out", true],
    ["paused", { state: "paused" }, {}, "Paused", true],
    ["closed", { state: "closed" }, {}, "Closed", true],
    ["cancelled", { state: "cancelled" }, {}, "Closed", true],
    ["a state of the future", { state: "dormant" }, {}, "Closed", true],
    ["the room is over", {}, { over: true }, "Closed", true],
  ];
  for (const [name, fields, mine, text, disabled] of cases) {
    test(name, () => {
      const shown = claimButton(sale(fields), { ...idle, ...mine });
      assert.equal(shown.text, text);
      assert.equal(shown.disabled, disabled);
    });
  }

  test("a choice of quantities keeps to the limit, to what is left, and to a list's length", () => {
    assert.equal(mostUnits(sale({ per_user_limit: 3 }), 1), 2);
    assert.equal(mostUnits(sale({ left: 2 }), 0), 2);
    assert.equal(mostUnits(sale({ left: 500 }), 0), 10);
    assert.equal(mostUnits(sale({ per_user_limit: 1 }), 4), 0);
  });

  test("every outcome has a sentence, also one that is not known yet", () => {
    const outcomes = ["reserved", "sold_out", "waitlisted", "limit_reached", "not_open", "closed", "later"];
    for (const status of outcomes) assert.ok(claimOutcome({ status, left: 0 }, sale()).length > 3);
    assert.match(claimOutcome({ status: "sold_out", left: 2 }, sale()), /Only 2 left/);
    assert.match(claimOutcome({ status: "limit_reached" }, sale({ per_user_limit: 2 })), /2/);
  });
});

describe("money", () => {
  test("minor units are the currency's own", () => {
    assert.deepEqual(["EUR", "JPY", "KWD"].map(minorDigits), [2, 0, 3]);
    assert.equal(showMoney(129_900, "JPY"), "¥129,900");
    assert.equal(showMoney(1_299, "EUR"), "€12.99");
    assert.equal(showMoney(5, "no code"), "5 no code");
  });

  const reads = [
    ["19.90", "EUR", 1990],
    ["19,9", "EUR", 1990],
    ["19", "EUR", 1900],
    ["0.07", "EUR", 7],
    ["1.005", "EUR", null],
    ["500", "JPY", 500],
    ["500.5", "JPY", null],
    ["", "EUR", null],
    ["-1", "EUR", null],
    ["1e3", "EUR", null],
    ["4.35", "USD", 435], // 4.35 * 100 is 434.99999999999994
  ];
  for (const [text, currency, minor] of reads) {
    test(`"${text}" ${currency} is ${minor}`, () => assert.equal(readMoney(text, currency), minor));
  }
});

test("a countdown reads as a clock, rounded up", () => {
  const shown = [0, 1, 1_000, 59_001, 60_000, 3_599_999, 3_723_000, 273_900_000].map(showCountdown);
  assert.deepEqual(shown, ["0:00", "0:01", "0:01", "1:00", "1:00", "1:00:00", "1:02:03", "3 d 04:05"]);
});

test("a toast names one buyer and counts the others", () => {
  assert.equal(boughtText({ name: "alice", others: 31, quantity: 40 }, "Bag"), "alice and 31 others bought Bag");
  assert.equal(boughtText({ name: "alice", others: 1, quantity: 2 }, "Bag"), "alice and 1 other bought Bag");
  assert.equal(boughtText({ name: "alice", others: 0, quantity: 1 }, "Bag"), "alice bought Bag");
  assert.equal(boughtText({ name: "alice", others: 0, quantity: 3 }, "Bag"), "alice bought 3 × Bag");
});

describe("which sales are shown", () => {
  const ids = (sales) => pick(sales).map(({ sale: id }) => id);

  test("open before paused before coming up before sold out; ended ones not", () => {
    const sales = [
      sale({ sale: "gone", state: "closed" }),
      sale({ sale: "out", state: "sold_out" }),
      sale({ sale: "later", state: "scheduled", starts_at: 20 }),
      sale({ sale: "by-hand", state: "scheduled", starts_at: null }),
      sale({ sale: "soon", state: "scheduled", starts_at: 10 }),
      sale({ sale: "held", state: "paused" }),
      sale({ sale: "now", state: "open" }),
    ];
    assert.deepEqual(ids(sales), ["now", "held", "soon", "later", "by-hand", "out"]);
  });

  test("with none to hope for, the one that ended last", () => {
    const sales = [sale({ sale: "a", state: "closed", at: 5 }), sale({ sale: "b", state: "cancelled", at: 9 })];
    assert.deepEqual(ids(sales), ["b"]);
    assert.deepEqual(ids([]), []);
  });
});

describe("the sale form", () => {
  function form(fields) {
    const data = new FormData();
    const all = { title: " Bag ", sku: "B1", stock: "5", price: "19.90", currency: "eur", ...fields };
    for (const [key, value] of Object.entries(all)) data.set(key, value);
    return data;
  }

  test("empty fields are null, text is trimmed, money is minor units", () => {
    assert.deepEqual(saleBody(form({ per_user_limit: "", opens_in: "", runs_for: "" }), 1_000), {
      sku: "B1",
      title: "Bag",
      price: 1990,
      currency: "EUR",
      stock: 5,
      per_user_limit: null,
      starts_at: null,
      ends_at: null,
      hold_seconds: 0,
    });
  });

  test("seconds from now become whole moments of the server's clock", () => {
    const body = saleBody(form({ opens_in: "30", runs_for: "60" }), 1_000.4);
    assert.equal(body.starts_at, 31_000);
    assert.equal(body.ends_at, 91_000);
    assert.equal(saleBody(form({ runs_for: "60" }), 1_000).ends_at, 61_000);
  });

  test("a price that the currency does not have is refused with a sentence", () => {
    assert.throws(() => saleBody(form({ currency: "JPY" }), 0), /whole number/);
    assert.throws(() => saleBody(form({ price: "free" }), 0), /at most 2 digits/);
  });
});
