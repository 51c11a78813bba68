// The scrolling waveform: one bar every BAR_S of sound, coloured by whether the server has acknowledged it, with voice marked below.
import { eachFrame } from "./dom.js";

/** Seconds of a bar. */
const BAR_S = 0.06;
/** CSS pixels from bar to bar. */
const PITCH = 4;
/** Bars kept: more than any screen is wide. */
const BARS_MAX = 2_000;

/** A bar with round ends, square where the browser draws none. */
function bar(context: CanvasRenderingContext2D, x: number, y: number, width: number, height: number, radius: number): void {
  context.beginPath();
  if (context.roundRect) context.roundRect(x, y, width, height, radius);
  else context.rect(x, y, width, height);
  context.fill();
}

export class Waveform {
  readonly #canvas: HTMLCanvasElement;
  #peaks: number[] = [];
  /** Number of the first bar kept. */
  #first = 0;
  #acknowledged = 0;
  /** When voice began and ended, in seconds; open while it lasts. */
  #voice: { from: number; to: number | null }[] = [];
  #current = { peak: 0, frames: 0 };
  readonly #draw = eachFrame(() => this.#paint());

  constructor(canvas: HTMLCanvasElement) {
    this.#canvas = canvas;
    new ResizeObserver(this.#draw).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", this.#draw);
  }

  reset(): void {
    this.#peaks = [];
    this.#voice = [];
    this.#first = this.#acknowledged = 0;
    this.#current = { peak: 0, frames: 0 };
    this.#draw();
  }

  /** The next sound: its largest size (0 to 1) and length in seconds. */
  add(peak: number, length: number): void {
    const now = this.#current;
    now.peak = Math.max(now.peak, peak);
    now.frames += length;
    while (now.frames >= BAR_S - 1e-9) {
      this.#peaks.push(now.peak);
      now.frames -= BAR_S;
      if (now.frames < BAR_S) now.peak = 0;
    }
    if (this.#peaks.length > BARS_MAX) {
      const gone = this.#peaks.length - BARS_MAX / 2;
      this.#peaks.splice(0, gone);
      this.#first += gone;
    }
    this.#draw();
  }

  acknowledge(upToSeconds: number): void {
    this.#acknowledged = upToSeconds;
    this.#draw();
  }

  voiceStarted(at: number): void {
    this.#voice.push({ from: at, to: null });
    if (this.#voice.length > 200) this.#voice.shift();
    this.#draw();
  }

  voiceEnded(from: number, to: number): void {
    const open = this.#voice.findLast((v) => v.to === null);
    if (open) Object.assign(open, { from, to });
    this.#draw();
  }

  #paint(): void {
    const canvas = this.#canvas;
    const scale = devicePixelRatio || 1;
    const { clientWidth: width, clientHeight: height } = canvas;
    if (width === 0) return;
    if (canvas.width !== Math.round(width * scale)) canvas.width = Math.round(width * scale);
    if (canvas.height !== Math.round(height * scale)) canvas.height = Math.round(height * scale);
    const context = canvas.getContext("2d");
    if (!context) return;
    const style = getComputedStyle(canvas);
    const colour = (name: string) => style.getPropertyValue(name).trim();
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.clearRect(0, 0, width, height);

    const VOICE_PX = 12;
    const middle = (height - VOICE_PX) / 2;
    const shown = Math.min(this.#peaks.length, Math.ceil(width / PITCH));
    const begin = this.#peaks.length - shown;
    const x = (number: number) => width - (this.#peaks.length - (number - this.#first)) * PITCH;
    const acked = colour("--acked");
    const held = colour("--held");
    for (let i = begin; i < this.#peaks.length; i++) {
      const at = this.#first + i;
      // Between size and loudness: what is soft is seen too.
      const loud = Math.min(1, (this.#peaks[i] as number) ** 0.5);
      const half = Math.max(1, loud * (middle - 6));
      context.fillStyle = (at + 1) * BAR_S <= this.#acknowledged + BAR_S / 2 ? acked : held;
      bar(context, x(at), middle - half, PITCH - 1.5, 2 * half, 1.25);
    }
    context.fillStyle = colour("--voice");
    // While it lasts the server has told only of what it has.
    const end = this.#acknowledged;
    for (const { from, to } of this.#voice) {
      const left = Math.max(0, x(from / BAR_S));
      const right = x((to ?? end) / BAR_S) - 1.5;
      if (right <= 0 || right <= left) continue;
      bar(context, left, height - VOICE_PX + 3, right - left, 4, 2);
    }
  }
}
