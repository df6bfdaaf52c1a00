// Audio worklet of the microphone: converts its samples to µ-law packets of 20 ms.

import { SAMPLE_RATE_HZ, SILENCE, encode } from "./mulaw.js";
import { Resampler } from "./resampler.js";

const PACKET_SAMPLES = 160;
const PACKET_S = PACKET_SAMPLES / SAMPLE_RATE_HZ;

class Microphone extends AudioWorkletProcessor {
  constructor() {
    super();
    this.resampler = new Resampler(sampleRate, SAMPLE_RATE_HZ);
    this.waiting = [];
    this.muted = false;
    this.port.onmessage = ({ data }) => {
      this.muted = data.muted;
    };
  }

  process([input]) {
    // Without a channel, the microphone is disconnected; packets continue, because they are the call's clock.
    const heard = input[0] ?? new Float32Array(128);
    for (const sample of this.resampler.push(heard)) this.waiting.push(sample);
    while (this.waiting.length >= PACKET_SAMPLES) {
      const packet = this.waiting.splice(0, PACKET_SAMPLES);
      const mulaw = this.muted ? new Uint8Array(PACKET_SAMPLES).fill(SILENCE) : encode(packet);
      const peak = this.muted ? 0 : packet.reduce((most, sample) => Math.max(most, Math.abs(sample)), 0);
      const atS = currentTime - PACKET_S - this.waiting.length / SAMPLE_RATE_HZ;
      this.port.postMessage({ mulaw, peak, atS }, [mulaw.buffer]);
    }
    return true;
  }
}

registerProcessor("microphone", Microphone);
