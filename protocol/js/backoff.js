// When to come back after a connection ended.
//
// Pure: knows close codes and delays; never knows a socket or a timer. Rules: the range of a close code says
// whether to come back; a delay always has chance in it, for a room's viewers are cut all at once and would
// otherwise come back all at once.

const FIRST_MS = 500;
export const CAP_MS = 30_000;
const SPREAD_MS = 500; // added to a time the server named

// RFC 6455 section 7.4.1: the client is at fault, or is not wanted any more; again would be the same.
const STAY_AWAY = new Set([1000, 1002, 1003, 1007, 1009]);

/** Tell whether a client comes back by itself after a close with `code` (1006: cut without a word). */
export function comesBack(code) {
  return !STAY_AWAY.has(code) && !(code >= 4100 && code < 4200);
}

/** Return the delay in ms before attempt `attempt` in a row, from 0: full jitter under a doubling cap. */
export function backoff(attempt, random) {
  return random() * Math.min(CAP_MS, FIRST_MS * 2 ** attempt);
}

/** Return the delay in ms where the server named one: never earlier, a little later by chance. */
export function namedDelay(ms, random) {
  return Math.max(0, ms) + random() * SPREAD_MS;
}
