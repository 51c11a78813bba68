// What a phone does to a page, done to it by a test.

export interface Phone {
  contexts: AudioContext[];
  tracks: MediaStreamTrack[];
  /** Screens kept on: true while it is. */
  locks: WakeLockSentinel[];
  /** As long as it is true no context may go on, as in a call. */
  call: boolean;
}
export type PhonePage = typeof globalThis & { phone: Phone };

/** Runs in the page: lets a test be the phone. */
export function bePhone(): void {
  const here: Phone = { contexts: [], tracks: [], locks: [], call: false };
  Object.assign(globalThis, { phone: here });
  globalThis.AudioContext = class extends AudioContext {
    constructor(options?: AudioContextOptions) {
      super(options);
      here.contexts.push(this);
    }
    override resume(): Promise<void> {
      return here.call ? Promise.reject(new DOMException("a call", "InvalidStateError")) : super.resume();
    }
  };
  const open = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
  navigator.mediaDevices.getUserMedia = async (what) => {
    const media = await open(what);
    here.tracks.push(...media.getTracks());
    return media;
  };
  if (!navigator.wakeLock) return;
  const lock = navigator.wakeLock.request.bind(navigator.wakeLock);
  navigator.wakeLock.request = async (type) => {
    const made = await lock(type);
    here.locks.push(made);
    return made;
  };
}
