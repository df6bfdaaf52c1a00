// Runs beside the loudspeaker: plays what comes in order, waits where nothing has come, and says when
// the audio before a mark has been played. This is what Twilio's playout buffer does.

import { decode } from "./mulaw.js";
import { Resampler } from "./resampler.js";

const PHONE_HZ = 8000;
const REPORTS_A_SECOND = 20;

class Speaker extends AudioWorkletProcessor {
  constructor() {
    super();
    this.resampler = new Resampler(PHONE_HZ, sampleRate);
    this.queue = []; // of samples (Float32Array at the device's rate) and marks (strings), in order
    this.read = 0; // samples of the first entry that have been played
    this.buffered = 0;
    this.playing = false;
    this.gaps = 0;
    this.peak = 0;
    this.lowest = Infinity; // samples buffered, since the last report
    this.untilReport = 0;
    this.port.onmessage = ({ data }) => this.#take(data);
  }

  #take({ mulaw, mark, clear }) {
    if (mulaw) {
      const samples = this.resampler.push(decode(mulaw));
      this.queue.push(samples);
      this.buffered += samples.length;
    } else if (mark !== undefined) {
      this.queue.push(mark);
      this.#echoMarks();
    } else if (clear) {
      const marks = this.queue.filter((entry) => typeof entry === "string");
      this.queue = [];
      this.read = this.buffered = 0;
      for (const name of marks) this.port.postMessage({ mark: name });
    }
  }

  #echoMarks() {
    while (typeof this.queue[0] === "string") this.port.postMessage({ mark: this.queue.shift() });
  }

  process(_, [output]) {
    const left = output[0];
    let filled = 0;
    while (filled < left.length && this.queue.length) {
      const samples = this.queue[0];
      const part = samples.subarray(this.read, this.read + left.length - filled);
      left.set(part, filled);
      filled += part.length;
      this.read += part.length;
      if (this.read >= samples.length) {
        this.queue.shift();
        this.read = 0;
        this.#echoMarks();
      }
    }
    this.buffered -= filled;
    this.lowest = Math.min(this.lowest, this.buffered);
    if (this.playing && filled < left.length) this.gaps += 1;
    this.playing = filled === left.length;
    for (const channel of output.slice(1)) channel.set(left);
    for (const sample of left) this.peak = Math.max(this.peak, Math.abs(sample));
    this.untilReport -= left.length;
    if (this.untilReport <= 0) {
      this.untilReport += sampleRate / REPORTS_A_SECOND;
      const leadMs = (this.lowest / sampleRate) * 1000;
      this.port.postMessage({ peak: this.peak, leadMs, gaps: this.gaps });
      this.peak = 0;
      this.lowest = Infinity;
    }
    return true;
  }
}

registerProcessor("speaker", Speaker);
