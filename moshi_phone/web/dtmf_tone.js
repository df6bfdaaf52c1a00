// The tone of a phone's key: one low and one high frequency (ITU-T Q.23).

const KEYS = ["123A", "456B", "789C", "*0#D"];
const LOW_HZ = [697, 770, 852, 941];
const HIGH_HZ = [1209, 1336, 1477, 1633];
const TONE_S = 0.12;
const LOUDNESS = 0.08;

/** Play a key's tone to the user; the server receives the key in a separate message. */
export function playTone(context, output, digit) {
  const row = KEYS.findIndex((keys) => keys.includes(digit));
  const column = KEYS[row].indexOf(digit);
  const gain = new GainNode(context, { gain: LOUDNESS });
  gain.connect(output);
  for (const frequency of [LOW_HZ[row], HIGH_HZ[column]]) {
    const tone = new OscillatorNode(context, { frequency });
    tone.connect(gain);
    tone.start();
    tone.stop(context.currentTime + TONE_S);
  }
}
