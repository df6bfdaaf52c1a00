// A recording: a picture of both voices over time, and the browser's player.

import { textElement } from "./call_words.js";
import { clock } from "./clock.js";

const WIDTH = 600;
const HALF = 50;
const SVG = "http://www.w3.org/2000/svg";

export class CallPlayer {
  #audio = document.createElement("audio");
  #strip = document.createElement("div");
  #head = document.createElement("i");
  #secs = 0;

  constructor(url, name) {
    this.url = url;
    this.element = document.createElement("div");
    this.element.className = "player";
    this.#strip.className = "strip";
    this.#strip.setAttribute("aria-hidden", "true"); // the player below has the same information
    this.#audio.controls = true;
    this.#audio.preload = "none";
    this.#audio.src = url;
    this.#audio.setAttribute("aria-label", name);
    this.key = document.createElement("p");
    this.key.className = "key";
    this.element.append(this.#strip, this.key, this.#audio);
    this.#strip.addEventListener("click", (event) => this.#seek(event));
    this.#audio.addEventListener("timeupdate", () => this.#follow());
    this.#draw();
  }

  playFrom(atS) {
    this.#audio.currentTime = atS;
    this.#audio.play().catch(() => {}); // the browser's player shows an error itself
  }

  stop() {
    this.#audio.pause();
    this.#audio.removeAttribute("src");
    this.#audio.load(); // cancels a running download
  }

  async #draw() {
    const answer = await fetch(`${this.url}/levels`).catch(() => null);
    if (!answer?.ok) {
      this.#strip.remove();
      this.key.textContent = "The waveform cannot be shown.";
      return;
    }
    const { secs, caller, bot } = await answer.json();
    this.#secs = secs;
    const svg = document.createElementNS(SVG, "svg");
    svg.setAttribute("viewBox", `0 0 ${WIDTH} ${2 * HALF}`);
    svg.setAttribute("preserveAspectRatio", "none");
    svg.append(voice(caller, -1, "you"), voice(bot, 1, "bot"));
    this.#strip.replaceChildren(svg, this.#head);
    if (bot.length) this.key.append(textElement("span", "above: caller", "you"), textElement("span", "below: bot", "bot"));
    this.key.append(textElement("span", clock(secs)));
  }

  #seek({ clientX }) {
    const { left, width } = this.#strip.getBoundingClientRect();
    if (this.#secs) this.playFrom(Math.max(0, Math.min(1, (clientX - left) / width)) * this.#secs);
  }

  #follow() {
    if (this.#secs) this.#head.style.insetInlineStart = `${(100 * this.#audio.currentTime) / this.#secs}%`;
  }
}

/** Draw one voice as lines from the middle, up (-1) or down (1), with the loudness as their length. */
function voice(levels, way, name) {
  const path = document.createElementNS(SVG, "path");
  const step = WIDTH / Math.max(1, levels.length);
  const lines = levels.map((level, at) => (level ? `M${((at + 0.5) * step).toFixed(1)} ${HALF}v${(way * level * HALF * 0.95) / 100}` : ""));
  path.setAttribute("d", lines.join(""));
  path.setAttribute("class", name);
  path.style.strokeWidth = String(step * 0.8);
  return path;
}
