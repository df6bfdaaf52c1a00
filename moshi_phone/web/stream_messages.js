// Messages of Twilio's side in its Media Streams protocol, as text. No I/O.
// https://www.twilio.com/docs/voice/media-streams/websocket-messages

import { SAMPLE_RATE_HZ } from "./mulaw.js";

const PACKET_MS = 20;

export class StreamMessages {
  #streamSid = `MZ${randomHex(16)}`;
  #callSid;
  #sequence = 0;
  #packets = 0;

  constructor(callSid) {
    this.#callSid = callSid;
  }

  connected() {
    return JSON.stringify({ event: "connected", protocol: "Call", version: "1.0.0" });
  }

  /** The parameters are those of the TwiML's `<Parameter>` elements. */
  start(customParameters) {
    return this.#numbered("start", {
      accountSid: "",
      streamSid: this.#streamSid,
      callSid: this.#callSid,
      tracks: ["inbound"],
      mediaFormat: { encoding: "audio/x-mulaw", sampleRate: SAMPLE_RATE_HZ, channels: 1 },
      customParameters,
    });
  }

  /** One packet of 20 ms: 160 bytes of µ-law. */
  media(mulaw) {
    const timestamp = String(this.#packets * PACKET_MS);
    this.#packets += 1;
    const payload = btoa(String.fromCharCode(...mulaw));
    return this.#numbered("media", { track: "inbound", chunk: String(this.#packets), timestamp, payload });
  }

  mark(name) {
    return this.#numbered("mark", { name });
  }

  /** A key of the phone: 0 to 9, * or #. */
  dtmf(digit) {
    return this.#numbered("dtmf", { track: "inbound_track", digit });
  }

  stop() {
    return this.#numbered("stop", { accountSid: "", callSid: this.#callSid });
  }

  #numbered(event, body) {
    this.#sequence += 1;
    const sequenceNumber = String(this.#sequence);
    return JSON.stringify({ event, sequenceNumber, streamSid: this.#streamSid, [event]: body });
  }
}

/** Parse a message from the server: `{ mulaw }`, `{ mark }`, `{ clear }`, or an empty object. */
export function parseMessage(text) {
  const message = JSON.parse(text);
  if (message.event === "media") {
    return { mulaw: Uint8Array.from(atob(message.media.payload), (letter) => letter.charCodeAt(0)) };
  }
  if (message.event === "mark") return { mark: message.mark.name };
  if (message.event === "clear") return { clear: true };
  return {};
}

function randomHex(bytes) {
  const random = crypto.getRandomValues(new Uint8Array(bytes));
  return Array.from(random, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
