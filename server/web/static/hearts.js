// Hearts that float up. Decoration only: nothing waits for one, and who asks for less motion gets none.

import { icon } from "./dom.js";

const MOST = 24;
const HUES = [345, 12, 330, 290, 38];

export class Hearts {
  constructor(layer) {
    this.layer = layer;
    this.still = matchMedia("(prefers-reduced-motion: reduce)");
  }

  rise(count) {
    if (this.still.matches || document.hidden) return;
    for (let n = Math.min(count, MOST - this.layer.childElementCount); n > 0; n--) {
      const heart = icon("heart");
      heart.style.setProperty("--x", `${Math.random() * 60}px`);
      heart.style.setProperty("--sway", `${Math.random() * 50 - 25}px`);
      heart.style.setProperty("--hue", HUES[Math.floor(Math.random() * HUES.length)]);
      heart.style.setProperty("--late", `${Math.random() * 300}ms`);
      heart.addEventListener("animationend", () => heart.remove());
      this.layer.append(heart);
    }
  }
}
