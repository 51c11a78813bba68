// What runs in the audio thread: collects samples, measures them, posts them. In plain JavaScript, for it is loaded as text: from a Blob,
// or from a file of its own (`voxgate-client/worklet.js`) where a Content-Security-Policy forbids that.

export const WORKLET_NAME = "voxgate-capture";

export const WORKLET_SOURCE = `// Posts { pcm: ArrayBuffer (interleaved), peak, square } every chunk of frames; "stop" posts what is left, then { stopped: true }.
class VoxgateCapture extends AudioWorkletProcessor {
  constructor({ processorOptions: { channels, frames, float } }) {
    super();
    Object.assign(this, { channels, frames, float, at: 0, peak: 0, square: 0, running: true });
    this.buffer = this.fresh();
    this.port.onmessage = () => {
      this.post();
      this.running = false;
      this.port.postMessage({ stopped: true });
    };
  }
  fresh() {
    const count = this.frames * this.channels;
    return this.float ? new Float32Array(count) : new Int16Array(count);
  }
  post() {
    if (this.at === 0) return;
    const part = this.at === this.buffer.length ? this.buffer : this.buffer.slice(0, this.at);
    this.port.postMessage({ pcm: part.buffer, peak: this.peak, square: this.square / this.at }, [part.buffer]);
    this.buffer = this.fresh();
    this.at = this.peak = this.square = 0;
  }
  process([input]) {
    if (!this.running) return false;
    const length = input.length > 0 ? input[0].length : 128; // a source that is not there yet is silence: time goes on
    for (let i = 0; i < length; i++) {
      for (let c = 0; c < this.channels; c++) {
        const source = input[Math.min(c, input.length - 1)];
        const x = source ? source[i] : 0;
        const size = Math.abs(x);
        if (size > this.peak) this.peak = size;
        this.square += x * x;
        this.buffer[this.at++] = this.float ? x : Math.max(-32768, Math.min(32767, Math.round(x * 32768)));
      }
      if (this.at === this.buffer.length) this.post();
    }
    return true;
  }
}
registerProcessor("${WORKLET_NAME}", VoxgateCapture);
`;
