// Audio of one call: microphone, loudspeaker, and a recording of both.
// Events: "said" { mulaw, peak } for each packet, "heard" { peak, bufferMs }, "mark" { name }, "lost" { error }.

import { CAN_CHOOSE_SPEAKER, openMicrophone } from "./devices.js";
import { playTone } from "./dtmf_tone.js";
import { Recording } from "./recording.js";

const MODULES = ["web/microphone.js", "web/speaker.js"];

export class CallAudio extends EventTarget {
  recording = new Recording();
  #context;
  #stream;
  #source;
  #microphone;
  #speaker;
  #volume;
  #closed = false;

  /** Open the devices (an empty id means the default) and load the audio worklets. */
  async open({ microphoneId, speakerId, volume }) {
    this.#stream = await openMicrophone(microphoneId);
    this.#context = new AudioContext({ latencyHint: "interactive" });
    this.#volume = new GainNode(this.#context, { gain: volume });
    this.#volume.connect(this.#context.destination);
    await Promise.all([
      this.#context.resume(),
      this.setSpeaker(speakerId),
      ...MODULES.map((module) => this.#context.audioWorklet.addModule(module)),
    ]);
  }

  /** Start sending and playing. */
  begin() {
    this.#microphone = new AudioWorkletNode(this.#context, "microphone", { numberOfOutputs: 0 });
    this.#speaker = new AudioWorkletNode(this.#context, "speaker", { numberOfInputs: 0 });
    this.#speaker.connect(this.#volume);
    this.#microphone.port.onmessage = ({ data }) => {
      this.recording.say(data.mulaw, data.atS);
      this.#emit("said", data);
    };
    this.#speaker.port.onmessage = ({ data }) => {
      if (data.played) this.recording.hear(data.played, data.atS);
      else if (data.mark !== undefined) this.#emit("mark", { name: data.mark });
      else this.#emit("heard", data);
    };
    this.#listenTo(this.#stream);
  }

  /** Handle a message: `{ mulaw }` is played, `{ mark }` is returned when played, `{ clear }` stops playback. */
  take(message) {
    this.#speaker?.port.postMessage(message, message.mulaw ? [message.mulaw.buffer] : []);
  }

  set muted(muted) {
    this.#microphone?.port.postMessage({ muted });
  }

  /** 0 is silence, 1 is full volume. */
  set volume(volume) {
    if (this.#volume) this.#volume.gain.value = volume;
  }

  async setMicrophone(deviceId) {
    const stream = await openMicrophone(deviceId);
    if (this.#closed) {
      stopTracks(stream);
      return;
    }
    this.#source?.disconnect();
    stopTracks(this.#stream);
    this.#listenTo(stream);
  }

  async setSpeaker(deviceId) {
    if (CAN_CHOOSE_SPEAKER && this.#context && deviceId !== this.#context.sinkId) {
      await this.#context.setSinkId(deviceId);
    }
  }

  /** Play the tone of a pressed key to the caller. */
  tone(digit) {
    if (this.#context) playTone(this.#context, this.#volume, digit);
  }

  close() {
    this.#closed = true;
    stopTracks(this.#stream);
    if (this.#context?.state !== "closed") this.#context?.close();
  }

  #listenTo(stream) {
    this.#stream = stream;
    this.#source = this.#context.createMediaStreamSource(stream);
    this.#source.connect(this.#microphone);
    // The device was unplugged: continue with the current default device.
    stream.getTracks()[0].onended = () => this.setMicrophone("").catch((error) => this.#emit("lost", { error }));
  }

  #emit(type, detail) {
    if (!this.#closed) this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

function stopTracks(stream) {
  for (const track of stream?.getTracks() ?? []) track.stop();
}
