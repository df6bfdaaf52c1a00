// One call: the microphone, the loudspeaker, and between them Twilio's Media Streams protocol.

const BUSY = 1013;
const WORDS = new Map([
  [1000, "The call is over."],
  [1001, "The server has stopped."],
  [1008, "The server did not let this call in"],
  [1011, "The call broke on the server"],
  [1012, "The server has stopped."],
  [BUSY, "The line is busy"],
]);

/** Something that the caller can mend; its message says how. */
export class CallTrouble extends Error {}

export class Call extends EventTarget {
  #socket;
  #audio;
  #stream;
  #microphone;
  #speaker;
  #sequence = 1;
  #chunk = 0;
  #sid = `MZ${randomHex(16)}`;
  #over = false;
  callSid = "";

  /** Ask for the microphone and the server's leave, then connect. */
  async start() {
    this.#stream = await openMicrophone();
    try {
      this.#audio = new AudioContext({ latencyHint: "interactive" });
      const modules = ["web/microphone.js", "web/speaker.js"];
      const [leave] = await Promise.all([
        askLeave(),
        this.#audio.resume(),
        ...modules.map((module) => this.#audio.audioWorklet.addModule(module)),
      ]);
      if (this.#over) return;
      this.callSid = leave.callSid;
      this.#connect(leave);
    } catch (error) {
      this.#release();
      throw error;
    }
  }

  /** Say goodbye as a telephone does. */
  hangUp() {
    if (this.#socket?.readyState === WebSocket.OPEN) {
      this.#send({ event: "stop", stop: { accountSid: "", callSid: this.callSid } });
      this.#socket.close(1000);
    }
    this.#finish("You hung up.", false);
  }

  set muted(muted) {
    this.#microphone?.port.postMessage({ muted });
  }

  #connect({ callSid, token }) {
    const url = new URL("stream", location.href);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    this.#socket = new WebSocket(url);
    this.#socket.onopen = () => {
      this.#socket.send(JSON.stringify({ event: "connected", protocol: "Call", version: "1.0.0" }));
      this.#send({
        event: "start",
        start: {
          accountSid: "",
          streamSid: this.#sid,
          callSid,
          tracks: ["inbound"],
          mediaFormat: { encoding: "audio/x-mulaw", sampleRate: 8000, channels: 1 },
          customParameters: token ? { token } : {},
        },
      });
      this.#openAudio();
    };
    this.#socket.onmessage = ({ data }) => this.#hear(JSON.parse(data));
    this.#socket.onclose = ({ code, reason }) => {
      const known = WORDS.get(code) ?? "The line went dead";
      const word = known.endsWith(".") ? known : `${known}${reason ? `: ${reason}` : "."}`;
      this.#finish(word, code !== 1000);
    };
  }

  #openAudio() {
    const source = this.#audio.createMediaStreamSource(this.#stream);
    this.#microphone = new AudioWorkletNode(this.#audio, "microphone", { numberOfOutputs: 0 });
    this.#speaker = new AudioWorkletNode(this.#audio, "speaker", { numberOfInputs: 0 });
    source.connect(this.#microphone);
    this.#speaker.connect(this.#audio.destination);
    this.#microphone.port.onmessage = ({ data }) => {
      this.#say(data.mulaw);
      this.#emit("level", { who: "you", peak: data.peak });
    };
    this.#speaker.port.onmessage = ({ data }) => {
      if (data.mark !== undefined) this.#send({ event: "mark", mark: { name: data.mark } });
      else this.#emit("heard", data);
    };
  }

  #say(mulaw) {
    const timestamp = String(this.#chunk * 20);
    this.#chunk += 1;
    const payload = btoa(String.fromCharCode(...mulaw));
    this.#send({ event: "media", media: { track: "inbound", chunk: String(this.#chunk), timestamp, payload } });
  }

  #hear(message) {
    if (message.event === "media") {
      const mulaw = Uint8Array.from(atob(message.media.payload), (letter) => letter.charCodeAt(0));
      this.#speaker?.port.postMessage({ mulaw }, [mulaw.buffer]);
      this.#emit("audio", {});
    } else if (message.event === "mark") {
      this.#speaker?.port.postMessage({ mark: message.mark.name });
    } else if (message.event === "clear") {
      this.#speaker?.port.postMessage({ clear: true });
    }
  }

  #send(message) {
    if (this.#socket.readyState !== WebSocket.OPEN) return;
    const numbered = { ...message, sequenceNumber: String(this.#sequence), streamSid: this.#sid };
    this.#sequence += 1;
    this.#socket.send(JSON.stringify(numbered));
  }

  #finish(word, trouble) {
    if (this.#over) return;
    this.#over = true;
    this.#release();
    this.#emit("over", { word, trouble });
  }

  #release() {
    this.#over = true;
    for (const track of this.#stream?.getTracks() ?? []) track.stop();
    this.#audio?.close();
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

async function openMicrophone() {
  if (!navigator.mediaDevices) {
    throw new CallTrouble("The microphone needs a secure page: open this one over https, or on localhost.");
  }
  try {
    return await navigator.mediaDevices.getUserMedia({
      audio: { channelCount: 1, echoCancellation: true, noiseSuppression: true, autoGainControl: true },
    });
  } catch (error) {
    if (error.name === "NotAllowedError") {
      throw new CallTrouble("The microphone is blocked. Allow it for this page, then call again.");
    }
    if (error.name === "NotFoundError") {
      throw new CallTrouble("There is no microphone. Connect one, then call again.");
    }
    throw new CallTrouble("The microphone cannot be used. Does another program hold it?");
  }
}

async function askLeave() {
  let answer;
  try {
    answer = await fetch("web/call", { method: "POST" });
  } catch {
    throw new CallTrouble("The server does not answer. Is it still running?");
  }
  if (!answer.ok) throw new CallTrouble(`The server did not let this call in (${answer.status}).`);
  return answer.json();
}

function randomHex(bytes) {
  return Array.from(crypto.getRandomValues(new Uint8Array(bytes)), (b) => b.toString(16).padStart(2, "0")).join("");
}
