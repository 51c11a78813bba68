// Audio that the server has not acknowledged yet: bounded, in the pieces it came in, addressed by its position in the stream.

interface Piece {
  /** Position of its first byte. */
  at: number;
  bytes: Uint8Array;
}

export class AudioRing {
  readonly capacity: number;
  #pieces: Piece[] = [];
  #start = 0;
  #end = 0;

  /** `capacity` in bytes. */
  constructor(capacity: number) {
    this.capacity = capacity;
  }

  /** Position of the oldest byte kept. */
  get start(): number {
    return this.#start;
  }

  /** Position behind the newest byte. */
  get end(): number {
    return this.#end;
  }

  get bytes(): number {
    return this.#end - this.#start;
  }

  fits(bytes: number): boolean {
    return this.bytes + bytes <= this.capacity;
  }

  /** Takes a piece over (it must not be changed afterwards), or refuses all of it. An empty ring takes any. */
  push(piece: Uint8Array): boolean {
    if (this.bytes > 0 && !this.fits(piece.length)) return false;
    if (piece.length > 0) this.#pieces.push({ at: this.#end, bytes: piece });
    this.#end += piece.length;
    return true;
  }

  /** The next bytes from `position` on, at most the rest of the piece it lies in; null at the end. */
  at(position: number): Uint8Array | null {
    if (position < this.#start || position >= this.#end) return null;
    let low = 0;
    let high = this.#pieces.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if ((this.#pieces[middle] as Piece).at <= position) low = middle;
      else high = middle - 1;
    }
    const { at, bytes } = this.#pieces[low] as Piece;
    return bytes.subarray(position - at);
  }

  /** Forgets what lies before `position`. */
  release(position: number): void {
    const upTo = Math.min(position, this.#end);
    if (upTo <= this.#start) return;
    let whole = 0;
    for (const { at, bytes } of this.#pieces) {
      if (at + bytes.length > upTo) break;
      whole += 1;
    }
    this.#pieces.splice(0, whole);
    const first = this.#pieces[0];
    if (first && first.at < upTo) {
      first.bytes = first.bytes.subarray(upTo - first.at);
      first.at = upTo;
    }
    this.#start = upTo;
  }
}
