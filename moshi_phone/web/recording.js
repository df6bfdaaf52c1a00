// Records both sides of a call on one time line, like --record: the caller left, what the caller heard right.

import { SAMPLE_RATE_HZ, decode } from "./mulaw.js";
import { encodeWav } from "./wav.js";

const LIMIT_S = 3600; // 58 MB of µ-law; later audio is not recorded

export class Recording {
  #beganS; // the audio clock's time of the first sample of the microphone
  #said = [];
  #saidSamples = 0;
  #heard = []; // { at: sample on the microphone's time line, mulaw }
  #endSamples = 0;

  get secs() {
    return this.#endSamples / SAMPLE_RATE_HZ;
  }

  /** Add the microphone's audio: µ-law bytes of consecutive packets, the first at `atS`. */
  say(mulaw, atS) {
    this.#beganS ??= atS;
    if (this.#saidSamples >= LIMIT_S * SAMPLE_RATE_HZ) return;
    this.#said.push(mulaw);
    this.#saidSamples += mulaw.length;
    this.#endSamples = Math.max(this.#endSamples, this.#saidSamples);
  }

  /** Add the loudspeaker's audio: µ-law bytes, the first of them at `atS` of the audio clock. */
  hear(mulaw, atS) {
    const at = Math.round((atS - (this.#beganS ?? atS)) * SAMPLE_RATE_HZ);
    if (at < 0 || at >= LIMIT_S * SAMPLE_RATE_HZ) return;
    this.#heard.push({ at, mulaw });
    this.#endSamples = Math.max(this.#endSamples, at + mulaw.length);
  }

  /** Return a stereo WAV of 8 kHz. */
  toWav() {
    const left = new Float32Array(this.#endSamples);
    const right = new Float32Array(this.#endSamples);
    let at = 0;
    for (const mulaw of this.#said) {
      left.set(decode(mulaw), at);
      at += mulaw.length;
    }
    for (const piece of this.#heard) right.set(decode(piece.mulaw), piece.at);
    return encodeWav([left, right], SAMPLE_RATE_HZ);
  }
}
