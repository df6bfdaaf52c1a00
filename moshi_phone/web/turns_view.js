// Both voices over the last half minute as a strip, with each response time in milliseconds.

const SHOWN_S = 30;
const WIDTH = 600;
const [YOU_Y, BOT_Y, BAR] = [6, 30, 18];
const IN_TIME_MS = 400;
const SVG = "http://www.w3.org/2000/svg";

export class TurnsView {
  #svg;
  #words;
  #marks;

  /** The element contains an SVG `#turns`, a `#turns-marks` above it, and `#turns-words` with the same as text. */
  constructor(element) {
    this.#svg = element.querySelector("#turns");
    this.#marks = element.querySelector("#turns-marks");
    this.#words = element.querySelector("#turns-words");
  }

  clear() {
    this.#svg.replaceChildren();
    this.#marks.replaceChildren();
    this.#words.textContent = "who speaks, and response times";
  }

  /** Show what the server has measured: spans in seconds, answers as [end of your turn, milliseconds]. */
  show({ until_s: untilS, caller, bot, responses, interruptions }) {
    const fromS = Math.max(0, untilS - SHOWN_S);
    const share = (atS) => Math.max(0, Math.min(1, (atS - fromS) / SHOWN_S));
    const bars = (spans, name, y) =>
      spans.filter(([, endS]) => endS > fromS).map(([beginS, endS]) => bar(share(beginS), share(endS), name, y));
    this.#svg.replaceChildren(...bars(caller, "you", YOU_Y), ...bars(bot, "bot", BOT_Y));
    const recent = responses.filter(([atS]) => atS > fromS);
    const stops = interruptions.filter(([atS]) => atS > fromS);
    this.#marks.replaceChildren(
      ...recent.map(([atS, gapMs]) => mark(share(atS), `${gapMs} ms`, gapMs <= IN_TIME_MS, "answer")),
      ...stops.map(([atS, stopMs, yielded]) => mark(share(atS), yielded ? `stopped after ${stopMs} ms` : "kept talking", yielded, "stop")),
    );
    this.#words.textContent = describe(responses, interruptions);
  }
}

function describe(responses, interruptions) {
  const parts = [];
  if (responses.length) parts.push(`last response after ${responses.at(-1)[1]} ms`);
  const stop = interruptions.at(-1);
  if (stop) parts.push(stop[2] ? `last interruption: it stopped after ${stop[1]} ms` : "last interruption: it kept talking");
  return parts.join("; ") || "who speaks, and response times";
}

function bar(begin, end, name, y) {
  const rect = document.createElementNS(SVG, "rect");
  const width = Math.max(1, (end - begin) * WIDTH);
  for (const [key, value] of Object.entries({ x: begin * WIDTH, y, width, height: BAR, rx: 2 })) rect.setAttribute(key, value);
  rect.classList.add(name);
  return rect;
}

function mark(at, text, good, kind) {
  const span = document.createElement("span");
  span.textContent = text;
  span.className = `${kind} ${good ? "good" : "bad"}`;
  span.style.insetInlineStart = `${at * 100}%`;
  if (at > 0.85) span.classList.add("end"); // otherwise it would be cut
  return span;
}
