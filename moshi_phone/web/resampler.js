// Converts the rate of a stream of samples, with a windowed sinc whose cutoff is below half of the lower rate.

const ZERO_CROSSINGS = 12; // on each side; at 8 kHz that is a delay of 1.5 ms
const ROLLOFF = 0.92; // end of the passband; the transition band is from here to 1
const PHASES = 256; // entries of the sinc's table between two zero crossings

const TABLE = Float32Array.from({ length: ZERO_CROSSINGS * PHASES + 2 }, (_, i) => {
  const x = i / PHASES;
  if (x >= ZERO_CROSSINGS) return 0;
  const sinc = x === 0 ? 1 : Math.sin(Math.PI * x * ROLLOFF) / (Math.PI * x * ROLLOFF);
  const window = 0.5 + 0.5 * Math.cos((Math.PI * x) / ZERO_CROSSINGS);
  return ROLLOFF * sinc * window;
});

export class Resampler {
  constructor(fromHz, toHz) {
    this.step = fromHz / toHz; // input samples per output sample
    this.scale = Math.min(1, toHz / fromHz); // of the sinc, which is wider if the rate is reduced
    this.reach = Math.ceil(ZERO_CROSSINGS / this.scale);
    this.input = new Float32Array(this.reach);
    this.at = this.reach; // position of the next output sample in `input`
  }

  /** Add input samples; return the output samples that can be computed. */
  push(samples) {
    const input = new Float32Array(this.input.length + samples.length);
    input.set(this.input);
    input.set(samples, this.input.length);
    const count = Math.max(0, Math.ceil((input.length - this.reach - this.at) / this.step));
    const output = new Float32Array(count);
    for (let i = 0; i < count; i++) output[i] = this.#read(input, this.at + i * this.step);
    const next = this.at + count * this.step;
    const used = Math.max(0, Math.floor(next) - this.reach);
    this.input = input.slice(used);
    this.at = next - used;
    return output;
  }

  #read(input, at) {
    const first = Math.ceil(at - this.reach);
    const last = Math.floor(at + this.reach);
    let sum = 0;
    for (let i = Math.max(0, first); i <= Math.min(last, input.length - 1); i++) {
      const place = Math.abs(i - at) * this.scale * PHASES;
      const entry = place | 0;
      if (entry >= TABLE.length - 1) continue;
      sum += input[i] * (TABLE[entry] + (TABLE[entry + 1] - TABLE[entry]) * (place - entry));
    }
    return sum * this.scale;
  }
}
