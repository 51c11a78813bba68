// What a phone wants of a page that speaks: that its screen stays on, and that its ringer's switch does not silence whom one listens to.

/** Keeps the screen on while it is wanted: most phones take the microphone from a page when they lock themselves. */
export class Awake {
  #wanted = false;
  #lock: WakeLockSentinel | null = null;

  constructor() {
    // A page that is not seen loses it.
    document.addEventListener("visibilitychange", () => void this.#ask());
  }

  set wanted(wanted: boolean) {
    this.#wanted = wanted;
    if (wanted) void this.#ask();
    else this.#lock?.release().catch(() => {});
  }

  async #ask(): Promise<void> {
    if (!this.#wanted || document.visibilityState !== "visible" || (this.#lock && !this.#lock.released)) return;
    try {
      const lock = await navigator.wakeLock?.request("screen");
      if (!this.#wanted) return void lock?.release();
      this.#lock = lock ?? null;
    } catch {
      // a battery that is low, or a person who said no: it goes on without
    }
  }
}

const uses = { speaking: false, listening: false };

/**
 * Tells Safari what its sound is for. What a page plays with Web Audio counts as a ringing tone there, and the switch at the phone's side mutes
 * it, unless it is called playback; and playback may use no microphone.
 */
export function useSound(change: Partial<typeof uses>): void {
  Object.assign(uses, change);
  const { audioSession } = navigator as Navigator & { audioSession?: { type: string } };
  if (audioSession) audioSession.type = uses.listening && !uses.speaking ? "playback" : "auto";
}
