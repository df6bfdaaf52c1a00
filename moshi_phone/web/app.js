// The page: connects its parts.

import { Call } from "./call.js";
import { CallError } from "./call_error.js";
import { showCalls } from "./calls_table.js";
import { Choices } from "./choices.js";
import { CAN_CHOOSE_SPEAKER, DevicePicker } from "./devices.js";
import { callFileName, download } from "./download.js";
import { Keypad } from "./keypad.js";
import { MetricsView } from "./metrics_view.js";
import { CALLING, IDLE, PhoneView, TALKING } from "./phone_view.js";
import { ServerEvents, followCall } from "./server_events.js";
import { CONNECTING, botName, describe, gone } from "./server_status.js";
import { Transcript } from "./transcript.js";
import { TurnsView } from "./turns_view.js";

const $ = (id) => document.getElementById(id);
const LAST_WORDS_MS = 20_000; // a call's event stream ends within this time, even if the call ends slowly

const names = () => ({ caller: $("you-name").textContent, bot: $("bot-name").textContent });
const phone = new PhoneView();
const metrics = new MetricsView($("metrics"));
const turns = new TurnsView($("talk"));
const transcript = new Transcript($("log"), $("transcript"), names);
const keypad = new Keypad($("keypad-toggle"), $("keypad"));
const choices = new Choices($("choices"));
const microphones = new DevicePicker($("microphone"), "audioinput");
const speakers = new DevicePicker($("speaker"), "audiooutput");
const server = new ServerEvents();

let status = CONNECTING;
let call = null; // the running call
let answered = null; // the last answered call: { recording, began }
let unfollow = () => {};

$("call").addEventListener("click", () => (call ? call.hangUp() : dial()));
$("mute").addEventListener("click", toggleMute);
document.addEventListener("keydown", (event) => {
  const plain = !event.ctrlKey && !event.metaKey && !event.altKey && !event.repeat;
  const typing = event.target.matches("select, input");
  if (plain && !typing && event.key.toLowerCase() === "m" && !$("mute").disabled) toggleMute();
});
keypad.addEventListener("press", ({ detail }) => call?.press(detail.digit));

$("speaker").closest("label").hidden = !CAN_CHOOSE_SPEAKER;
$("microphone").addEventListener("change", () => change(call?.setMicrophone(microphones.deviceId)));
$("speaker").addEventListener("change", () => change(call?.setSpeaker(speakers.deviceId)));
$("volume").addEventListener("input", () => {
  if (call) call.volume = volume();
});

$("save-transcript").addEventListener("click", () => {
  const text = new Blob([transcript.toText()], { type: "text/plain;charset=utf-8" });
  download(text, callFileName(answered.began, "transcript.txt"));
});
$("save-recording").addEventListener("click", () => {
  download(answered.recording.toWav(), callFileName(answered.began, "call.wav"));
});

server.addEventListener("told", ({ detail }) => {
  showServer(describe(detail));
  $("bot-name").textContent = botName(detail.engine);
  listCalls(detail.running);
  $("pages").hidden = !detail.has_history;
});
server.addEventListener("gone", () => {
  showServer(gone(status));
  listCalls([]);
});

function showServer(now) {
  const news = now.state !== status.state;
  if (!call && (news || now.word !== status.word)) {
    // The last call's result remains visible until there is a new message.
    const first = status.state === CONNECTING.state;
    if (news || first || now.state !== "ready") phone.say(now.word, now.state === "gone" || now.state === "error");
  }
  if (news && now.state === "ready") choices.refresh();
  status = now;
  document.body.dataset.server = now.state;
  $("wait-word").textContent = now.label;
  $("engine").textContent = now.header;
}

function listCalls(running) {
  showCalls($("calls"), running, call?.callSid);
  document.querySelector(".others").classList.toggle("busy", running.length > 0);
}

async function dial() {
  const own = new Call();
  call = own;
  phone.show(CALLING, "Waiting for the microphone …");
  $("choices").disabled = true;
  own.addEventListener("said", ({ detail }) => phone.level("you", detail.peak));
  own.addEventListener("heard", ({ detail }) => {
    phone.level("bot", detail.peak);
    metrics.noteBuffer(detail.bufferMs);
  });
  own.addEventListener("answered", () => talk(own), { once: true });
  own.addEventListener("notice", ({ detail }) => phone.say(detail.word, true));
  own.addEventListener("over", ({ detail }) => finish(own, detail.word, detail.failed));
  try {
    const devices = { microphoneId: microphones.deviceId, speakerId: speakers.deviceId, volume: volume() };
    await own.start(devices, choices.chosen);
    if (call !== own) return;
    // Devices have names only after the user has allowed the microphone.
    await Promise.all([microphones.refresh(), speakers.refresh()]);
    if (call === own && document.body.dataset.state === CALLING) phone.say("Connecting …");
  } catch (error) {
    if (!(error instanceof CallError)) console.error(error);
    finish(own, error instanceof CallError ? error.message : "The call could not be made.", true);
  }
}

function talk(own) {
  if (call !== own) return;
  answered = { recording: own.recording, began: new Date() };
  transcript.clear();
  metrics.clear();
  turns.clear();
  phone.show(TALKING, "Connected. You can interrupt at any time.");
  phone.startTimer();
  keypad.enabled = true;
  $("save-recording").hidden = false;
  $("save-transcript").hidden = true;
  unfollow = followCall(own.callSid, {
    onMetrics: (now) => isShown(own) && metrics.show(now),
    onWords: (lines) => isShown(own) && showWords(lines),
    onTurns: (now) => isShown(own) && turns.show(now),
  });
}

/** Returns false once another call was answered: an ended call's events continue for a while. */
function isShown(own) {
  return answered?.recording === own.recording;
}

function showWords(lines) {
  transcript.show(lines);
  $("save-transcript").hidden = transcript.empty;
}

function finish(own, word, failed) {
  if (call !== own) return;
  call = null;
  keypad.enabled = false;
  $("choices").disabled = false;
  phone.show(IDLE, status.state === "ready" ? word : `${word} ${status.word}`, failed);
  setTimeout(unfollow, LAST_WORDS_MS);
  unfollow = () => {};
}

function toggleMute() {
  const muted = $("mute").getAttribute("aria-pressed") !== "true";
  phone.showMuted(muted);
  call.muted = muted;
  phone.say(muted ? "Microphone muted." : "Microphone on.");
}

async function change(changing) {
  try {
    await changing;
  } catch (error) {
    phone.say(error instanceof CallError ? error.message : "This device cannot be used.", true);
  }
}

function volume() {
  return Number($("volume").value) / 100;
}
