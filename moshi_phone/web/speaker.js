// Audio worklet of the loudspeaker, a playout buffer like Twilio's: plays audio in order, waits if there is none,
// and reports when the audio before a mark has been played.

import { SAMPLE_RATE_HZ, decode } from "./mulaw.js";
import { Resampler } from "./resampler.js";

const REPORTS_A_SECOND = 20;

class Speaker extends AudioWorkletProcessor {
  constructor() {
    super();
    this.resampler = new Resampler(SAMPLE_RATE_HZ, sampleRate);
    this.queue = []; // in order: { mulaw, samples (at the device's rate), atS (start of playback) } and { mark }
    this.read = 0; // samples of the first entry that have been played
    this.buffered = 0;
    this.playing = false;
    this.peak = 0;
    this.lowest = Infinity; // samples buffered, since the last report
    this.untilReport = 0;
    this.port.onmessage = ({ data }) => this.#take(data);
  }

  #take({ mulaw, mark, clear }) {
    if (mulaw) {
      const samples = this.resampler.push(decode(mulaw));
      this.queue.push({ mulaw, samples });
      this.buffered += samples.length;
    } else if (mark !== undefined) {
      this.queue.push({ mark });
      this.#echoMarks();
    } else if (clear) {
      this.#clear();
    }
  }

  #clear() {
    if (this.read) this.#report(this.queue[0], this.read / this.queue[0].samples.length);
    for (const { mark } of this.queue) {
      if (mark !== undefined) this.port.postMessage({ mark });
    }
    this.queue = [];
    this.read = this.buffered = 0;
  }

  #echoMarks() {
    while (this.queue[0]?.mark !== undefined) this.port.postMessage({ mark: this.queue.shift().mark });
  }

  /** Report the played part of a piece, and its time, for the recording. */
  #report({ mulaw, atS }, share) {
    this.port.postMessage({ played: mulaw.subarray(0, Math.round(mulaw.length * share)), atS });
  }

  process(_, [output]) {
    const left = output[0];
    let filled = 0;
    while (filled < left.length && this.queue.length) {
      const piece = this.queue[0];
      piece.atS ??= currentTime + filled / sampleRate;
      const part = piece.samples.subarray(this.read, this.read + left.length - filled);
      left.set(part, filled);
      filled += part.length;
      this.read += part.length;
      if (this.read >= piece.samples.length) {
        this.queue.shift();
        this.read = 0;
        this.#report(piece, 1);
        this.#echoMarks();
      }
    }
    this.buffered -= filled;
    this.lowest = Math.min(this.lowest, this.buffered);
    for (const channel of output.slice(1)) channel.set(left);
    for (const sample of left) this.peak = Math.max(this.peak, Math.abs(sample));
    this.untilReport -= left.length;
    if (this.untilReport <= 0) {
      this.untilReport += sampleRate / REPORTS_A_SECOND;
      this.port.postMessage({ peak: this.peak, bufferMs: (this.lowest / sampleRate) * 1000 });
      this.peak = 0;
      this.lowest = Infinity;
    }
    return true;
  }
}

registerProcessor("speaker", Speaker);
