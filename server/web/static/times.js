// Spans of time as people read them. Pure.

/** Write a countdown's ms: "0:07", "12:00", "2:03:04", "3 d 04:05". Rounded up, so that 0 means now. */
export function showCountdown(ms) {
  const seconds = Math.ceil(ms / 1000);
  const s = String(seconds % 60).padStart(2, "0");
  const m = Math.floor(seconds / 60) % 60;
  const h = Math.floor(seconds / 3600);
  if (h >= 24) return `${Math.floor(h / 24)} d ${String(h % 24).padStart(2, "0")}:${String(m).padStart(2, "0")}`;
  return h > 0 ? `${h}:${String(m).padStart(2, "0")}:${s}` : `${m}:${s}`;
}

/** Write a large count shortly: 950, "12.3K", "1.2M". */
export function showCount(n) {
  return new Intl.NumberFormat(undefined, { notation: "compact", maximumFractionDigits: 1 }).format(n);
}

/** Write the time of day of a moment. */
export function showTimeOfDay(ms) {
  return new Date(ms).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
}
