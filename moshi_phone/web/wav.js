// WAV files: 16-bit PCM behind a RIFF header of 44 bytes.

const HEADER_BYTES = 44;
const SAMPLE_BYTES = 2;

/** Write channels of equal length (Float32Array, -1 to 1) as one WAV file. */
export function encodeWav(channels, rateHz) {
  const frames = channels[0].length;
  const frameBytes = SAMPLE_BYTES * channels.length;
  const dataBytes = frames * frameBytes;
  const file = new DataView(new ArrayBuffer(HEADER_BYTES + dataBytes));
  const text = (at, letters) => [...letters].forEach((letter, i) => file.setUint8(at + i, letter.charCodeAt(0)));
  text(0, "RIFF");
  file.setUint32(4, HEADER_BYTES - 8 + dataBytes, true);
  text(8, "WAVEfmt ");
  file.setUint32(16, 16, true); // the length of what follows, up to "data"
  file.setUint16(20, 1, true); // PCM
  file.setUint16(22, channels.length, true);
  file.setUint32(24, rateHz, true);
  file.setUint32(28, rateHz * frameBytes, true);
  file.setUint16(32, frameBytes, true);
  file.setUint16(34, SAMPLE_BYTES * 8, true);
  text(36, "data");
  file.setUint32(40, dataBytes, true);
  channels.forEach((samples, channel) => {
    for (let i = 0; i < frames; i++) {
      const sample = Math.max(-32768, Math.min(32767, Math.round(samples[i] * 32768)));
      file.setInt16(HEADER_BYTES + i * frameBytes + channel * SAMPLE_BYTES, sample, true);
    }
  });
  return new Blob([file], { type: "audio/wav" });
}
