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
  /** The likeness of a window: half are better. */
  median: number;
  /** The largest step, in samples, by which a window is not where the one before leads to expect it. */
  largestStep: number;
}

/** Holds a recording to its source, window by window: a gap or a repetition moves what follows. */
export function compare(recorded: Int16Array, source: Int16Array, from: number, to: number, window = 800): Comparison {
  let { at } = find(recorded, from, source, 0, source.length - window, window);
  const result: Comparison = { windows: 0, median: 0, largestStep: 0 };
  const scores: number[] = [];
  for (let w = from; w + window <= to; w += window) {
    const expected = at + (w === from ? 0 : window);
    const found = find(recorded, w, source, expected - 2_000, expected + 2_000, window);
    result.windows += 1;
    scores.push(found.score);
    result.largestStep = Math.max(result.largestStep, Math.abs(found.at - expected));
    at = found.at;
  }
  result.median = scores.sort((a, b) => a - b)[scores.length >> 1] ?? 0;
  return result;
}

/**
 * Follows a tone through a recording: a gap or a repetition is a step in its phase. Steps are in samples, against the median advance: `hz` need
 * be right within half a wave a window; what it is in truth is told.
 */
export function follow(recorded: Int16Array, rate: number, hz: number, from: number, to: number, window = rate / 10): { windows: number; largestStep: number; hz: number } {
  const omega = (2 * Math.PI * hz) / rate;
  const phases: number[] = [];
  for (let at = from; at + window <= to; at += window) phases.push(phaseOf(recorded, at, window, omega));
  const turn = (x: number) => x - 2 * Math.PI * Math.round(x / (2 * Math.PI));
  const advances = phases.slice(1).map((phase, i) => turn(phase - (phases[i] as number)));
  const median = [...advances].sort((a, b) => a - b)[advances.length >> 1] ?? 0;
  const largestStep = Math.max(...advances.map((a) => Math.abs(turn(a - median)))) / omega;
  return { windows: phases.length, largestStep, hz: hz - (median * rate) / (2 * Math.PI * window) };
}

/** The phase, on the recording's own time, of the tone in a window: the sine and cosine that fit it best. */
function phaseOf(samples: Int16Array, at: number, length: number, omega: number): number {
  let cc = 0;
  let ss = 0;
  let cs = 0;
  let xc = 0;
  let xs = 0;
  for (let i = at; i < at + length; i++) {
    const c = Math.cos(omega * i);
    const s = Math.sin(omega * i);
    const x = samples[i] ?? 0;
    cc += c * c;
    ss += s * s;
    cs += c * s;
    xc += x * c;
    xs += x * s;
  }
  const determinant = cc * ss - cs * cs;
  return Math.atan2((xs * cc - xc * cs) / determinant, (xc * ss - xs * cs) / determinant);
}
