// The level: a bar with the peak held for a moment, the halo around the button, and words for a screen reader once a second.
import { dbfs } from "./dom.js";

const HOLD_MS = 1_200;

export class Meter {
  #peak = 0;
  #peakAt = 0;
  #level = 0;
  #toldAt = 0;

  constructor(
    private readonly bar: HTMLElement,
    private readonly halo: HTMLElement,
  ) {}

  show(peak: number, rms: number): void {
    const now = performance.now();
    const part = (x: number) => 1 + dbfs(x) / 60;
    // Up at once, down gently.
    this.#level = Math.max(part(rms), this.#level - 0.02);
    if (part(peak) >= this.#peak || now - this.#peakAt > HOLD_MS) {
      this.#peak = part(peak);
      this.#peakAt = now;
    }
    this.bar.style.setProperty("--at", this.#level.toFixed(3));
    this.bar.style.setProperty("--peak", this.#peak.toFixed(3));
    this.halo.style.setProperty("--level", this.#level.toFixed(3));
    if (now - this.#toldAt < 1_000) return;
    this.#toldAt = now;
    const decibels = Math.round(dbfs(peak));
    this.bar.setAttribute("aria-valuenow", String(decibels));
    this.bar.setAttribute("aria-valuetext", decibels <= -60 ? "silent" : decibels > -1 ? "too loud" : `${decibels} decibels`);
  }

  clear(): void {
    this.#level = this.#peak = this.#toldAt = 0;
    this.show(0, 0);
  }
}
