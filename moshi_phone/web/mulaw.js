// G.711 µ-law (ITU-T G.711, table 2): one byte a sample, 8 kHz.

const BIAS = 132;
const LARGEST = 32635;

export const SAMPLE_RATE_HZ = 8000;
export const SILENCE = 0xff;

const DECODED = Float32Array.from({ length: 256 }, (_, byte) => {
  const code = ~byte & 0xff;
  const magnitude = ((((code & 15) << 3) + BIAS) << ((code >> 4) & 7)) - BIAS;
  return (code & 0x80 ? -magnitude : magnitude) / 32768;
});

/** Decode µ-law bytes to samples, -1 to 1. */
export function decode(bytes) {
  return Float32Array.from(bytes, (byte) => DECODED[byte]);
}

/** Encode samples, -1 to 1, as µ-law bytes. */
export function encode(samples) {
  return Uint8Array.from(samples, (sample) => {
    const magnitude = Math.min(Math.round(Math.abs(sample) * 32768), LARGEST) + BIAS;
    const segment = 24 - Math.clz32(magnitude);
    const step = (magnitude >> (segment + 3)) & 15;
    return ~((sample < 0 ? 0x80 : 0) | (segment << 4) | step) & 0xff;
  });
}
