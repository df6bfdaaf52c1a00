// Texts about calls: parties, times, outcomes. Data of callers is always inserted as text, never as HTML.

export const OUTCOMES = {
  connecting: ["Connecting", "runs"],
  running: ["Running", "runs"],
  answered: ["Answered", "good"],
  transferred: ["Transferred", "good"],
  message: ["Message", "good"],
  fallback: ["Fallback", ""],
  busy: ["Busy", "bad"],
  closed: ["Closed", ""],
  refused: ["Refused", ""],
  denied: ["Denied", ""],
  "no stream": ["No audio", "bad"],
  failed: ["Failed", "bad"],
  interrupted: ["Interrupted", "bad"],
};
const DIALLED = "outbound";
const TRANSFERS = { completed: "answered", answered: "answered", "no-answer": "no answer", busy: "busy", failed: "failed", canceled: "the caller hung up" };

/** Return the other party's name. */
export function party(call) {
  const dialled = call.direction.startsWith(DIALLED);
  const number = dialled ? call.to : call.from;
  if (number === "anonymous") return "Hidden number";
  if (number) return dialled ? `→ ${number}` : number;
  return call.direction === "browser" ? "Browser phone" : "Unknown";
}

/** Return our own number in the call, or an empty text. */
export function own(call) {
  return call.direction.startsWith(DIALLED) ? call.from : call.to;
}

export function outcomeOf(call) {
  const [word, tone] = OUTCOMES[call.outcome] ?? [call.outcome, ""];
  const unanswered = call.transfer?.outcome && TRANSFERS[call.transfer.outcome] !== "answered";
  return { word, tone: call.outcome === "transferred" && unanswered ? "bad" : tone };
}

/** Describe the result of a transfer. */
export function transferOf({ to, outcome, secs }, clock) {
  const how = outcome ? (TRANSFERS[outcome] ?? outcome) : "no result yet";
  return `to ${to}: ${how}${secs ? `, ${clock(secs)}` : ""}`;
}

const TIME = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const DAY = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const DAY_OF_YEAR = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", year: "numeric" });
const WHOLE = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "medium" });

/** Format a time: without the date if it is today. */
export function shortTime(text, now = new Date()) {
  const when = new Date(text);
  if (when.toDateString() === now.toDateString()) return TIME.format(when);
  const day = when.getFullYear() === now.getFullYear() ? DAY : DAY_OF_YEAR;
  return `${day.format(when)}, ${TIME.format(when)}`;
}

export const wholeTime = (text) => WHOLE.format(new Date(text));

/** Create an element with a text. */
export function textElement(name, text, className = "") {
  const element = document.createElement(name);
  element.textContent = text;
  if (className) element.className = className;
  return element;
}
