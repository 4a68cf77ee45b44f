// A viewer's cursor in the room's log: epoch and offset.
//
// Pure. Rule: offsets are contiguous, so every batch can be checked; one that does not fit means that
// something was lost, and the cursor stays where it is, so that coming back with it gives what was lost.

export class Cursor {
  constructor() {
    this.epoch = null; // which log the offsets belong to; null before the first welcome
    this.offset = 0;
    this.gaps = 0; // batches that did not fit
  }

  /** Stand where a `welcome` says. */
  start(welcome) {
    this.epoch = welcome.epoch;
    this.offset = welcome.offset;
  }

  /** Move over a `batch`; false, and a gap counted, when it does not follow. Unknown events count too. */
  move(batch) {
    const skipped = batch.skipped?.comments ?? 0;
    if (batch.offset !== this.offset + batch.events.length + skipped) {
      this.gaps += 1;
      return false;
    }
    this.offset = batch.offset;
    return true;
  }

  /** Return the value of `?resume=`, or null when there is no place to come back to. */
  get resume() {
    return this.epoch === null ? null : `${encodeURIComponent(this.epoch)}:${this.offset}`;
  }
}
