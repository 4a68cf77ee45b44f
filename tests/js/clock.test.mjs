// The clock, the countdown and the delays: pure, with time as a number.

import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { backoff, CAP_MS, namedDelay } from "../../protocol/js/backoff.js";
import { Clock, countdown } from "../../protocol/js/clock.js";
import { sale } from "./fakes.mjs";

describe("clock", () => {
  function clockAt(start) {
    const local = { at: start };
    const clock = new Clock(() => local.at);
    const ping = (roundTrip, serverNow) => {
      const t = local.at;
      local.at += roundTrip;
      clock.sample(t, serverNow);
    };
    return { clock, local, ping };
  }

  test("of several pings the one with the smallest round trip is believed", () => {
    const { clock, local, ping } = clockAt(0);
    ping(200, 10_110); // the answer was slow on the way back: wrong by 90
    ping(20, 10_310); // true: server = local + 10_100
    ping(400, 10_600);
    assert.equal(clock.now(), local.at + 10_100);
  });

  test("an old sample is forgotten, however good", () => {
    const { clock, local, ping } = clockAt(0);
    ping(2, 1_001);
    local.at += 5 * 60_000 + 1;
    ping(100, local.at + 50 + 1_040);
    assert.equal(clock.now(), local.at + 1_040);
  });

  test("when the local clock jumped, the newer sample wins over the better one", () => {
    const { clock, local, ping } = clockAt(0);
    ping(2, 1_001);
    ping(100, local.at + 50 + 600_000); // asleep for ten minutes while the local clock stood still
    assert.equal(clock.now(), local.at + 600_000);
  });

  test("before any pong the welcome will do, and before that the wall clock", () => {
    const { clock } = clockAt(500);
    assert.ok(Math.abs(clock.now() - Date.now()) < 60_000);
    clock.seed(9_000);
    assert.equal(clock.now(), 9_000);
    assert.equal(clock.measured, false);
  });

  test("a pong from before the clock's start counts for nothing", () => {
    const { clock } = clockAt(500);
    clock.sample(501, 1);
    clock.sample(undefined, 1);
    assert.equal(clock.measured, false);
  });
});

describe("countdown", () => {
  const cases = [
    ["before the start", { state: "scheduled", starts_at: 5_000 }, 2_000, { until: "opens", ms: 3_000 }],
    ["late to open", { state: "scheduled", starts_at: 5_000 }, 9_000, { until: "opens", ms: 0 }],
    ["opened by hand", { state: "scheduled", starts_at: null, ends_at: 9_000 }, 2_000, null],
    ["open", { state: "open", starts_at: 1, ends_at: 5_000 }, 2_000, { until: "ends", ms: 3_000 }],
    ["past the end", { state: "open", starts_at: 1, ends_at: 5_000 }, 5_001, { until: "ends", ms: 0 }],
    ["paused", { state: "paused", starts_at: 1, ends_at: 5_000 }, 2_000, { until: "ends", ms: 3_000 }],
    ["sold out", { state: "sold_out", starts_at: 1, ends_at: 5_000 }, 2_000, { until: "ends", ms: 3_000 }],
    ["without an end", { state: "open", starts_at: 1, ends_at: null }, 2_000, null],
    ["closed", { state: "closed", starts_at: 1, ends_at: 5_000 }, 2_000, null],
    ["a state of the future", { state: "dormant", starts_at: 1, ends_at: 5_000 }, 2_000, null],
  ];
  for (const [name, fields, now, expected] of cases) {
    test(name, () => assert.deepEqual(countdown(sale(fields), now), expected));
  }
});

describe("backoff", () => {
  test("doubles under full jitter and is capped", () => {
    const most = [0, 1, 2, 3, 4, 5, 50].map((attempt) => backoff(attempt, () => 1));
    assert.deepEqual(most, [500, 1000, 2000, 4000, 8000, 16_000, CAP_MS]);
    assert.equal(backoff(3, () => 0), 0);
    assert.equal(CAP_MS, 30_000);
  });

  test("a named time is never undercut", () => {
    assert.equal(namedDelay(2_000, () => 0), 2_000);
    assert.equal(namedDelay(2_000, () => 1), 2_500);
  });
});
