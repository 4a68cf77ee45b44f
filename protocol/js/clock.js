// The server's clock, as far as it can be known from here.
//
// Pure: takes the local clock as a function; never sends a ping itself. Rules: a ping with round trip r is
// wrong by r / 2 at the most, so the sample with the smallest one is believed; what is older than some minutes
// is forgotten, for clocks drift; a sample that the believed one cannot explain means that the local clock
// jumped (a laptop that slept), and the newer one wins.

const KEEP_MS = 5 * 60_000;
const DRIFT_MS = 50; // what two clocks may part in KEEP_MS, and some

export class Clock {
  /** @param {() => number} local a monotonic clock in ms; any start. */
  constructor(local) {
    this.local = local;
    this.samples = []; // { roundTrip, offset, at }
    this.seeded = null; // offset by `welcome.now`; the way here counts as nothing
  }

  /** Take `welcome.now`: good enough until the first pong. */
  seed(serverNow) {
    this.seeded = serverNow - this.local();
  }

  /** Take a pong: `t` is what the ping carried, `serverNow` the server's clock in between. */
  sample(t, serverNow) {
    const at = this.local();
    const roundTrip = at - t;
    if (!(roundTrip >= 0)) return;
    const made = { roundTrip, offset: serverNow - (t + at) / 2, at };
    const fits = (old) =>
      at - old.at <= KEEP_MS &&
      Math.abs(old.offset - made.offset) <= (old.roundTrip + roundTrip) / 2 + DRIFT_MS;
    this.samples = this.samples.filter(fits);
    this.samples.push(made);
    if (this.samples.length > 16) this.samples.splice(0, this.samples.length - 16);
  }

  /** Whether a round trip has been measured. */
  get measured() {
    return this.samples.length > 0;
  }

  /** Return the server's time, ms since the Unix epoch; the local wall clock while nothing is known. */
  now() {
    let offset = this.seeded;
    let smallest = Infinity;
    for (const sample of this.samples) {
      if (sample.roundTrip < smallest) ({ roundTrip: smallest, offset } = sample);
    }
    return offset === null ? Date.now() : this.local() + offset;
  }
}

/**
 * Return what a sale's countdown shows at server time `now`: `{ until: "opens" | "ends", ms }`, or null when
 * there is nothing to count down to. Never below zero: at zero the server's `sale` event decides.
 */
export function countdown(sale, now) {
  const { state, starts_at, ends_at } = sale;
  if (state === "scheduled") {
    return starts_at == null ? null : { until: "opens", ms: Math.max(0, starts_at - now) };
  }
  const live = state === "open" || state === "paused" || state === "sold_out";
  return live && ends_at != null ? { until: "ends", ms: Math.max(0, ends_at - now) } : null;
}
