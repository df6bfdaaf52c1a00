// The metrics of this page's call, each with a sparkline.

import { Sparkline } from "./sparkline.js";

const NAMES = ["delay", "buffer", "backlog"];

export class MetricsView {
  #numbers = new Map();
  #lines = new Map();
  #unit;
  #parts;
  #echo;
  #bufferMs = Infinity; // the minimum since the last update of the display

  /** The element contains `#delay`, `#buffer`, `#backlog`, an SVG `…-line` for each, `#delay-parts` and `#echo`. */
  constructor(element) {
    for (const name of NAMES) {
      this.#numbers.set(name, element.querySelector(`#${name}`));
      this.#lines.set(name, new Sparkline(element.querySelector(`#${name}-line`)));
    }
    this.#unit = element.querySelector("#backlog-unit");
    this.#parts = element.querySelector("#delay-parts");
    this.#echo = element.querySelector("#echo");
  }

  clear() {
    this.#bufferMs = Infinity;
    this.#parts.textContent = this.#echo.textContent = "";
    for (const name of NAMES) {
      this.#numbers.get(name).textContent = "–";
      this.#lines.get(name).clear();
    }
  }

  /** Record how much audio the page's loudspeaker had left to play, in ms. */
  noteBuffer(bufferMs) {
    this.#bufferMs = Math.min(this.#bufferMs, bufferMs);
  }

  /** Show the server's measurements. */
  show({ delay_ms, delay_parts_ms: parts, backlog_frames, echo }) {
    this.#show("delay", Math.round(delay_ms));
    this.#parts.textContent = ` (${["frame", "filters", "processing", "playout"].map((part) => Math.round(parts[part])).join(" + ")} ms)`;
    this.#echo.textContent = echo ? echoText(echo) : "";
    this.#show("backlog", backlog_frames);
    if (this.#bufferMs < Infinity) this.#show("buffer", Math.round(this.#bufferMs));
    this.#bufferMs = Infinity;
    this.#unit.textContent = backlog_frames === 1 ? "frame" : "frames";
  }

  #show(name, value) {
    this.#numbers.get(name).textContent = value;
    this.#lines.get(name).push(value);
  }
}

function echoText({ delay_ms, loss_db, removed_db, found_s }) {
  const outcome = removed_db ? `It is cancelled: ${Math.round(removed_db)} dB weaker.` : "It is not cancelled.";
  return `After ${Math.round(found_s)} s, your loudspeaker's echo was found: ${delay_ms} ms late, ${Math.round(loss_db)} dB down. ${outcome}`;
}
