// One call: requests a token, opens a stream, and transfers audio both ways.
// Events: "answered", "said" { peak }, "heard" { peak, bufferMs }, "notice" { word }, "over" { word, failed }.

import { CallAudio } from "./call_audio.js";
import { CallError } from "./call_error.js";
import { StreamMessages, parseMessage } from "./stream_messages.js";

// https://datatracker.ietf.org/doc/html/rfc6455#section-7.4, and 1013 of the IANA registry
const CLOSED = new Map([
  [1000, "The call is over."],
  [1001, "The server has stopped."],
  [1008, "The server refused the call"],
  [1011, "The call failed on the server"],
  [1012, "The server has stopped."],
  [1013, "All lines are busy"],
]);

export class Call extends EventTarget {
  #socket;
  #messages;
  #audio = new CallAudio();
  #answered = false;
  #over = false;
  callSid = "";

  get recording() {
    return this.#audio.recording;
  }

  /** Open the microphone, request a call from the server, and connect. `choices`: persona and voice, by name. */
  async start(devices, choices = {}) {
    try {
      await this.#audio.open(devices);
      const { callSid, token, stream } = this.#over ? {} : await askLeave(choices);
      if (this.#over) {
        this.#release(); // the caller had hung up before the devices were open
        return;
      }
      this.callSid = callSid;
      this.#messages = new StreamMessages(callSid);
      this.#connect(token ? { token } : {}, stream);
    } catch (error) {
      this.#release();
      throw error;
    }
  }

  /** Send Twilio's `stop` message, and close. */
  hangUp() {
    if (this.#socket?.readyState === WebSocket.OPEN) {
      this.#socket.send(this.#messages.stop());
      this.#socket.close(1000);
    }
    this.#finish("You hung up.", false);
  }

  /** Press a key of the phone: 0 to 9, * or #. */
  press(digit) {
    this.#send(() => this.#messages.dtmf(digit));
    this.#audio.tone(digit);
  }

  set muted(muted) {
    this.#audio.muted = muted;
  }

  set volume(volume) {
    this.#audio.volume = volume;
  }

  setMicrophone(deviceId) {
    return this.#audio.setMicrophone(deviceId);
  }

  setSpeaker(deviceId) {
    return this.#audio.setSpeaker(deviceId);
  }

  #connect(parameters, stream) {
    // In a cluster, the stream goes to the worker that has reserved a session.
    const url = new URL(stream || "stream", location.href);
    if (!stream) url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    this.#socket = new WebSocket(url);
    this.#socket.onopen = () => {
      this.#socket.send(this.#messages.connected());
      this.#socket.send(this.#messages.start(parameters));
      this.#carry();
    };
    this.#socket.onmessage = ({ data }) => this.#hear(parseMessage(data));
    this.#socket.onclose = ({ code, reason }) => {
      const known = CLOSED.get(code) ?? "The connection was lost";
      const word = known.endsWith(".") ? known : `${known}${reason ? `: ${reason}` : "."}`;
      this.#finish(word, code !== 1000);
    };
  }

  #carry() {
    this.#audio.addEventListener("said", ({ detail }) => {
      this.#send(() => this.#messages.media(detail.mulaw));
      this.#emit("said", detail);
    });
    this.#audio.addEventListener("heard", ({ detail }) => this.#emit("heard", detail));
    this.#audio.addEventListener("mark", ({ detail }) => this.#send(() => this.#messages.mark(detail.name)));
    this.#audio.addEventListener("lost", () => this.#emit("notice", { word: "The microphone was disconnected." }));
    this.#audio.begin();
  }

  #hear(message) {
    this.#audio.take(message);
    if (message.mulaw && !this.#answered) {
      this.#answered = true;
      this.#emit("answered", {});
    }
  }

  // Takes a function, because an unsent message must not use a sequence number.
  #send(message) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(message());
  }

  #finish(word, failed) {
    if (this.#over) return;
    this.#release();
    this.#emit("over", { word, failed });
  }

  #release() {
    this.#over = true;
    this.#audio.close();
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

async function askLeave(choices) {
  let answer;
  try {
    const headers = { "Content-Type": "application/json" };
    answer = await fetch("web/call", { method: "POST", headers, body: JSON.stringify(choices) });
  } catch {
    throw new CallError("The server does not answer. Is it still running?");
  }
  if (!answer.ok) throw new CallError(`The server refused the call (HTTP ${answer.status}).`);
  return answer.json();
}
