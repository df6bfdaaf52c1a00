// The page: what the buttons do, and what is shown while a call goes on.

import { Call, CallTrouble } from "./call.js";

const $ = (id) => document.getElementById(id);
const HISTORY = 120; // points of a line, four a second: half a minute
const lines = { delay: [], lead: [], backlog: [] };

let call = null;
let events = null;
let lead = Infinity; // the lowest since it was last shown

$("call").addEventListener("click", () => (call ? call.hangUp() : dial()));
$("mute").addEventListener("click", toggleMute);
document.addEventListener("keydown", (event) => {
  const plain = !event.ctrlKey && !event.metaKey && !event.altKey && !event.repeat;
  if (plain && event.key.toLowerCase() === "m" && !$("mute").disabled) toggleMute();
});
watchCalls();

async function dial() {
  const own = new Call();
  call = own;
  reset();
  show("calling", "Asking for the microphone …");
  own.addEventListener("level", ({ detail }) => level("you", detail.peak));
  own.addEventListener("heard", ({ detail }) => {
    level("bot", detail.peak);
    lead = Math.min(lead, detail.leadMs);
  });
  own.addEventListener("audio", () => talking(own), { once: true });
  own.addEventListener("over", ({ detail }) => over(own, detail.word, detail.trouble));
  try {
    await own.start();
    if (call === own) show("calling", "Connecting …");
  } catch (error) {
    if (!(error instanceof CallTrouble)) console.error(error);
    over(own, error instanceof CallTrouble ? error.message : "The call could not be made.", true);
  }
}

function talking(own) {
  if (call !== own) return;
  show("talking", "Talk away: it listens while it speaks.");
  $("mute").disabled = false;
  follow(own.callSid);
}

function over(own, word, trouble) {
  if (call !== own) return;
  call = null;
  show("idle", word, trouble);
  $("mute").disabled = true;
  $("mute").setAttribute("aria-pressed", "false");
  level("you", 0);
  level("bot", 0);
  // The last words may still be on their way.
  const last = events;
  setTimeout(() => last?.close(), 1000);
  events = null;
}

function toggleMute() {
  const muted = $("mute").getAttribute("aria-pressed") !== "true";
  $("mute").setAttribute("aria-pressed", String(muted));
  call.muted = muted;
  $("status").textContent = muted ? "Muted: it hears silence." : "It hears you again.";
}

function show(state, word, trouble = false) {
  document.body.dataset.state = state;
  document.body.toggleAttribute("data-trouble", trouble);
  $("status").textContent = word;
  $("call-word").textContent = state === "idle" ? "Call" : "Hang up";
}

function reset() {
  $("transcript").replaceChildren();
  for (const name of Object.keys(lines)) {
    lines[name].length = 0;
    $(name).textContent = "–";
    draw(name);
  }
}

/** Show a level: the peak in decibels, from -50 to 0. */
function level(who, peak) {
  const share = peak > 0 ? Math.max(0, Math.min(1, 1 + (20 * Math.log10(peak)) / 50)) : 0;
  $(who).firstElementChild.style.transform = `scaleX(${share.toFixed(3)})`;
  $(who).setAttribute("aria-valuenow", String(Math.round(share * 100)));
}

/** Follow the server's figures of this call, and what the bot puts into words. */
function follow(callSid) {
  events = new EventSource(`calls/${callSid}/events`);
  events.addEventListener("metrics", ({ data }) => {
    const figures = JSON.parse(data);
    figure("delay", Math.round(figures.delay_ms));
    figure("backlog", figures.backlog_frames);
    if (lead < Infinity) figure("lead", Math.round(lead));
    lead = Infinity;
    $("backlog-unit").textContent = figures.backlog_frames === 1 ? "frame" : "frames";
  });
  events.addEventListener("words", ({ data }) => showWords(JSON.parse(data)));
  const own = events;
  events.addEventListener("end", ({ data }) => {
    showWords(JSON.parse(data)?.words ?? []);
    own.close();
  });
}

function figure(name, value) {
  $(name).textContent = value;
  lines[name].push(value);
  if (lines[name].length > HISTORY) lines[name].shift();
  draw(name);
}

function draw(name) {
  const points = lines[name];
  const top = Math.max(1, ...points) * 1.1;
  const place = (value, i) => `${(i * 120) / (HISTORY - 1)},${31 - (30 * value) / top}`;
  $(`${name}-line`).firstElementChild.setAttribute("points", points.map(place).join(" "));
}

function showWords(words) {
  const list = $("transcript");
  const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
  words.forEach(({ at_s, text }, i) => {
    const item = list.children[i] ?? list.appendChild(line());
    item.firstElementChild.textContent = clock(at_s);
    if (item.lastElementChild.textContent !== text) item.lastElementChild.textContent = text;
  });
  if (atEnd) list.scrollTop = list.scrollHeight;
}

function line() {
  const item = document.createElement("li");
  item.append(document.createElement("time"), document.createElement("span"));
  return item;
}

function clock(secs) {
  return `${Math.floor(secs / 60)}:${String(Math.floor(secs % 60)).padStart(2, "0")}`;
}

/** Keep the list of running calls up to date. */
function watchCalls() {
  const stream = new EventSource("calls/events");
  stream.addEventListener("calls", ({ data }) => showCalls(JSON.parse(data)));
}

function showCalls({ running, engine, capacity }) {
  $("engine").textContent = `${engine} · ${running.length} of ${capacity} lines taken`;
  $("bot-name").textContent = engine === "moshi" ? "Moshi" : "Bot";
  document.querySelector(".others").classList.toggle("busy", running.length > 0);
  $("calls").replaceChildren(
    ...running.map((one) => {
      const row = document.createElement("tr");
      row.classList.toggle("own", Boolean(call?.callSid) && call.callSid.startsWith(one.name));
      const delay = `${Math.round(one.delay.p50)} / ${Math.round(one.delay.p95)} ms`;
      const lead = `${Math.round(one.playout_lead_ms)} ms`;
      for (const text of [one.name, clock(one.secs), delay, lead, one.backlog_frames, one.dropped_frames, one.underruns]) {
        row.insertCell().textContent = text;
      }
      return row;
    }),
  );
}
