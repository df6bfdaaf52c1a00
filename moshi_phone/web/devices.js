// Microphones and loudspeakers: listing and opening.

import { CallError } from "./call_error.js";

/** Whether another loudspeaker than the default can be selected (Chromium since 110). */
export const CAN_CHOOSE_SPEAKER = "setSinkId" in (globalThis.AudioContext?.prototype ?? {});

/** Open a microphone; an empty id means the default. The browser asks for permission the first time. */
export async function openMicrophone(deviceId = "") {
  if (!navigator.mediaDevices) {
    throw new CallError("The microphone needs a secure page: open it over https or on localhost.");
  }
  const device = deviceId ? { deviceId: { exact: deviceId } } : {};
  try {
    return await navigator.mediaDevices.getUserMedia({
      audio: { ...device, channelCount: 1, echoCancellation: true, noiseSuppression: true, autoGainControl: true },
    });
  } catch (error) {
    if (error.name === "NotAllowedError") {
      throw new CallError("The microphone is blocked. Allow it for this page, then call again.");
    }
    if (error.name === "NotFoundError" || error.name === "OverconstrainedError") {
      throw new CallError("No microphone was found. Connect one, then call again.");
    }
    throw new CallError("The microphone cannot be opened. Another program may be using it.");
  }
}

/** List the devices of a kind ("audioinput", "audiooutput"); they have names only after the microphone was allowed. */
async function listDevices(kind) {
  const devices = (await navigator.mediaDevices?.enumerateDevices()) ?? [];
  // Chromium lists the default a second time, as a separate device.
  return devices.filter((device) => device.kind === kind && device.deviceId && device.deviceId !== "default");
}

/** Keep a list of choices up to date with the connected devices. */
export class DevicePicker {
  #select;
  #kind;

  constructor(select, kind) {
    this.#select = select;
    this.#kind = kind;
    navigator.mediaDevices?.addEventListener("devicechange", () => this.refresh());
    this.refresh();
  }

  get deviceId() {
    return this.#select.value;
  }

  async refresh() {
    const chosen = this.#select.value;
    const options = [new Option("Default", "")];
    for (const { deviceId, label } of await listDevices(this.#kind)) {
      options.push(new Option(label || `Device ${options.length}`, deviceId));
    }
    this.#select.replaceChildren(...options);
    this.#select.value = options.some((option) => option.value === chosen) ? chosen : "";
  }
}
