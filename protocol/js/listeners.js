// Who listens to what.
//
// Rule: a fault of one listener is reported as uncaught, and reaches neither the others nor the cursor.

export class Listeners {
  constructor() {
    this.byType = new Map();
  }

  /** Call `listener` with every value of `type`; returns a function that ends it. */
  on(type, listener) {
    if (typeof listener !== "function") throw new TypeError("a listener is a function");
    const listeners = this.byType.get(type) ?? new Set();
    this.byType.set(type, listeners.add(listener));
    return () => listeners.delete(listener);
  }

  emit(type, value) {
    for (const listener of [...(this.byType.get(type) ?? [])]) {
      try {
        listener(value);
      } catch (fault) {
        queueMicrotask(() => {
          throw fault;
        });
      }
    }
  }
}
