// Commands that wait for their answer.
//
// Knows ids, answers and timers; never knows a socket (`send` returns false when there is none). Rules: ids are
// unique across reloads and tabs by a random prefix; a claim is idempotent by its id, so it is sent again, with
// that id, until it is answered: after a cut, after `unavailable`, after silence; nothing else is idempotent, so
// after a cut its outcome is unknown and the caller is told.

const ANSWER_MS = 10_000; // longer than any answer takes
const AGAIN_MS = 1_000; // after an `unavailable` that names no time; doubles
const ASK_AGAIN = new Set(["unavailable", "internal", "rate_limited"]);

/** Why a command failed. `code` is one of the protocol's errors, or `disconnected` or `unanswered`. */
export class LiveroomError extends Error {
  constructor(code, message, retryAfterMs = null) {
    super(message);
    this.name = "LiveroomError";
    this.code = code;
    this.retry_after_ms = retryAfterMs;
  }
}

/** Make a source of ids that no other client and no other page load makes. */
export function idSource() {
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  const prefix = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  let count = 0;
  return () => `${prefix}-${(count += 1).toString(36)}`;
}

export class Commands {
  /**
   * @param {(command: object) => boolean} send
   * @param {{ setTimeout: Function, clearTimeout: Function }} time
   */
  constructor(send, time) {
    this.send = send;
    this.time = time;
    this.nextId = idSource();
    this.pending = new Map(); // id -> { command, lasting, promise, resolve, reject, timer, refusals }
  }

  /** Send a command once. Rejects when there is no connection, when it is refused or cut, or in silence. */
  once(command) {
    return this.#begin({ id: this.nextId(), ...command }, false);
  }

  /** Send a command with its id until it is answered, over any number of connections. */
  lasting(command) {
    return this.#begin({ id: this.nextId(), ...command }, true);
  }

  /** Take an `ack`. */
  ack(message) {
    this.#end(message.id)?.resolve(message);
  }

  /** Take an `error`; one without an id belongs to no command that is known here. */
  error({ id, code, message, retry_after_ms: retryAfterMs = null }) {
    const entry = this.pending.get(id);
    if (!entry) return;
    if (entry.lasting && ASK_AGAIN.has(code)) {
      this.#arm(entry, retryAfterMs ?? Math.min(ANSWER_MS, AGAIN_MS * 2 ** entry.refusals));
      entry.refusals += 1;
    } else {
      this.#end(id).reject(new LiveroomError(code, message, retryAfterMs));
    }
  }

  /** A connection is live: send again what lasts. */
  live() {
    for (const entry of this.pending.values()) {
      if (entry.lasting) this.#post(entry);
    }
  }

  /** The connection is gone: what does not last has an unknown outcome. */
  cut() {
    for (const [id, entry] of [...this.pending]) {
      if (!entry.lasting) this.#end(id).reject(disconnected());
    }
  }

  /** Nothing will be answered any more. */
  stop() {
    for (const id of [...this.pending.keys()]) this.#end(id).reject(disconnected());
  }

  #begin(command, lasting) {
    const known = this.pending.get(command.id);
    if (known) return known.promise; // the same wish, asked for twice
    const entry = { command, lasting, timer: null, refusals: 0 };
    entry.promise = new Promise((resolve, reject) => Object.assign(entry, { resolve, reject }));
    this.pending.set(command.id, entry);
    if (!this.#post(entry) && !lasting) this.#end(command.id).reject(disconnected());
    return entry.promise;
  }

  #post(entry) {
    const sent = this.send(entry.command);
    this.#arm(entry, ANSWER_MS);
    return sent;
  }

  #arm(entry, ms) {
    this.time.clearTimeout(entry.timer);
    entry.timer = this.time.setTimeout(() => {
      if (entry.lasting) this.#post(entry);
      else this.#end(entry.command.id).reject(new LiveroomError("unanswered", "no answer came"));
    }, ms);
  }

  #end(id) {
    const entry = this.pending.get(id);
    if (!entry) return undefined;
    this.time.clearTimeout(entry.timer);
    this.pending.delete(id);
    return entry;
  }
}

function disconnected() {
  return new LiveroomError("disconnected", "there is no connection to the room");
}
