// What a close code asks of a client (protocol section 7), and how long to wait before coming back.

export type Return = "never" | "at_once" | "back_off";

/** Whether and how to come back after a close. 1006 is what a dropped network looks like. */
export function afterClose(code: number): Return {
  if (code >= 4000 && code <= 4099) return "never";
  if (code >= 4100 && code <= 4199) return "back_off";
  if (code >= 4200 && code <= 4299) return "at_once";
  switch (code) {
    case 1000: // done
    case 1002: // what follows would be as wrong as what was sent
    case 1003:
    case 1007:
    case 1009:
    case 1010:
      return "never";
    case 1001: // going away: at once, and the jitter spreads everybody out
    case 1005:
    case 1006:
    case 1012:
      return "at_once";
    default:
      return "back_off";
  }
}

/** `retry after 2000 ms` in a close reason, as the server writes it. */
export function retryAfter(reason: string): number {
  return Number(/retry after (\d{1,6}) ms/.exec(reason)?.[1] ?? 0);
}

export interface BackoffOptions {
  /** The first wait, in milliseconds. */
  firstMs?: number;
  /** The longest wait, in milliseconds. */
  maxMs?: number;
  /** For tests. */
  random?: () => number;
}

/** Waits that double, each with jitter between half and all of it, so that a thousand clients do not come back in one second. */
export class Backoff {
  #attempt = 0;
  readonly #firstMs: number;
  readonly #maxMs: number;
  readonly #random: () => number;

  constructor({ firstMs = 500, maxMs = 15_000, random = Math.random }: BackoffOptions = {}) {
    this.#firstMs = firstMs;
    this.#maxMs = maxMs;
    this.#random = random;
  }

  /** Milliseconds to wait now. The first `at_once` of a row waits only for its jitter. */
  next(how: Exclude<Return, "never">, atLeastMs = 0): number {
    const attempt = this.#attempt++;
    if (how === "at_once" && attempt === 0) return Math.max(atLeastMs, (this.#random() * this.#firstMs) / 2);
    const full = Math.min(this.#maxMs, this.#firstMs * 2 ** Math.min(attempt, 16));
    return Math.max(atLeastMs, full / 2 + (this.#random() * full) / 2);
  }

  reset(): void {
    this.#attempt = 0;
  }
}
