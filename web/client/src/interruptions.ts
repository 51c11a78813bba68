// A microphone that is there and gives nothing: a call comes in, the screen is locked, another page has the device, somebody pressed its switch.

import { isSeen } from "./surroundings.js";

/** `muted`: the device gives silence. `interrupted`: it gives nothing, and time stands still in what is captured. */
export type CaptureState = "live" | "muted" | "interrupted";

/**
 * Tells each change of the state, which is `live` at the beginning, and has a context go on as soon as it may: browsers want that asked, some
 * only by who looks at the page or touches it. Answers with what ends it.
 */
export function watchInterruptions(track: MediaStreamTrack, context: AudioContext | null, tell: (state: CaptureState) => void): () => void {
  const gone = new AbortController();
  const { signal } = gone;
  let last: CaptureState = "live";
  const look = () => {
    // Safari has a state of its own, `interrupted`, besides `suspended`.
    const stands = context !== null && context.state !== "running";
    const now = stands ? "interrupted" : track.muted ? "muted" : "live";
    if (now !== last) tell((last = now));
  };
  const wake = () => {
    if (context && context.state !== "running" && isSeen()) context.resume().catch(() => {}); // not yet, then: it is asked again
  };
  const both = () => (look(), wake());
  context?.addEventListener("statechange", both, { signal });
  for (const event of ["mute", "unmute"]) track.addEventListener(event, both, { signal });
  for (const event of ["visibilitychange", "resume", "pointerup", "keydown"]) document.addEventListener(event, wake, { signal });
  globalThis.addEventListener("pageshow", wake, { signal });
  both();
  return () => gone.abort();
}
