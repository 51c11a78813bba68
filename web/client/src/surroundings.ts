// What a phone does to a page: networks change under it, it goes to the background, sleeps, and comes back. Found by asking for each event.

/** Where events come from; every one may be missing: Node has none, Safari no `connection` and no `resume`. */
interface Surroundings {
  addEventListener?: EventTarget["addEventListener"];
  document?: Document;
  navigator?: { connection?: EventTarget & { type?: string } };
}

/** Calls `hint` where the line may be dead without a word, or may be had again. Answers with what ends it. */
export function watchSurroundings(hint: () => void): () => void {
  const here = globalThis as unknown as Surroundings;
  const { document: page } = here;
  const connection = here.navigator?.connection;
  const gone = new AbortController();
  const on = (target: EventTarget | undefined, event: string, then: () => void) => target?.addEventListener?.(event, then, { signal: gone.signal });

  for (const event of ["online", "offline", "pageshow"]) on(here as EventTarget, event, hint);
  on(page, "visibilitychange", () => page?.visibilityState === "visible" && hint());
  on(page, "resume", hint); // after a freeze
  // Its estimates of speed change all the time; from Wi-Fi to the mobile network is another matter.
  let type = connection?.type;
  on(connection, "change", () => {
    if (connection?.type === type) return;
    type = connection?.type;
    hint();
  });
  return () => gone.abort();
}

/** Whether a page is looked at: what has no pages counts as such. */
export const isSeen = () => (globalThis as { document?: Document }).document?.visibilityState !== "hidden";
