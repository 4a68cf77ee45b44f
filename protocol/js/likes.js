// Likes, counted here and sent as sums.
//
// Knows how many wait; never knows a socket (`send` returns false when there is none). Rules: at most one
// message every WINDOW_MS, of at most `most` likes; the rest waits for the next; what waits is bounded, so that
// a finger held down without a network is no flood later.

export const WINDOW_MS = 250;
const MOST_WAITING = 500;

export class Likes {
  /**
   * @param {(n: number) => boolean} send
   * @param {{ setTimeout: Function, clearTimeout: Function }} time
   */
  constructor(send, time) {
    this.send = send;
    this.time = time;
    this.most = 50; // limits.likes_per_message
    this.waiting = 0;
    this.timer = null;
  }

  add(n) {
    if (!(n >= 1)) return;
    this.waiting = Math.min(MOST_WAITING, this.waiting + Math.floor(n));
    if (this.timer === null) this.flush();
  }

  /** Send what waits, as much as one message holds, and open the next window. */
  flush() {
    if (this.timer !== null || this.waiting === 0) return;
    const n = Math.min(this.waiting, this.most);
    if (!this.send(n)) return; // flushed again by the next welcome
    this.waiting -= n;
    this.timer = this.time.setTimeout(() => {
      this.timer = null;
      this.flush();
    }, WINDOW_MS);
  }

  stop() {
    if (this.timer !== null) this.time.clearTimeout(this.timer);
    this.timer = null;
    this.waiting = 0;
  }
}
