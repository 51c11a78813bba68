// Whether two recordings are the same sound.

/** Correlation of a window of `a` with the same length of `b`, -1 to 1. */
function alike(a: Int16Array, from: number, b: Int16Array, at: number, length: number): number {
  let ab = 0;
  let aa = 0;
  let bb = 0;
  for (let i = 0; i < length; i++) {
    const x = a[from + i] ?? 0;
    const y = b[at + i] ?? 0;
    ab += x * y;
    aa += x * x;
    bb += y * y;
  }
  return aa === 0 || bb === 0 ? 0 : ab / Math.sqrt(aa * bb);
}

/** Where, within `near` and `far`, the window is found best. */
function find(a: Int16Array, from: number, b: Int16Array, near: number, far: number, length: number): { at: number; score: number } {
  let best = { at: near, score: -1 };
  for (let at = Math.max(0, near); at <= Math.min(far, b.length - length); at++) {
    const score = alike(a, from, b, at, length);
    if (score > best.score) best = { at, score };
  }
  return best;
}

export interface Comparison {
  /** Windows of the recording that were compared. */
  windows: number;
  /** The least likeness of a window. */
  worst: number;
  /** The largest step, in samples, by which a window is not where the one before leads to expect it. */
  largestStep: number;
}

/** Holds a recording to its source, window by window: a gap or a repetition moves what follows. */
export function compare(recorded: Int16Array, source: Int16Array, from: number, to: number, window = 800): Comparison {
  let { at } = find(recorded, from, source, 0, source.length - window, window);
  const result: Comparison = { windows: 0, worst: 1, largestStep: 0 };
  for (let w = from; w + window <= to; w += window) {
    const expected = at + (w === from ? 0 : window);
    const found = find(recorded, w, source, expected - 2_000, expected + 2_000, window);
    result.windows += 1;
    result.worst = Math.min(result.worst, found.score);
    result.largestStep = Math.max(result.largestStep, Math.abs(found.at - expected));
    at = found.at;
  }
  return result;
}
