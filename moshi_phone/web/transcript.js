// The transcript: the lines of both sides, in order of time.

import { clock } from "./clock.js";

const NEAR_THE_END_PX = 40;

export class Transcript {
  #scroller;
  #list;
  #names;
  #lines = new Map(); // { at_s, speaker, text, item }, by speaker, time, and number among lines of the same time

  /**
   * @param scroller the element that scrolls.
   * @param list the `<ol>` in it.
   * @param names the current names of the speakers: `{ caller, bot }`.
   */
  constructor(scroller, list, names) {
    this.#scroller = scroller;
    this.#list = list;
    this.#names = names;
  }

  get empty() {
    return this.#lines.size === 0;
  }

  clear() {
    this.#lines.clear();
    this.#list.replaceChildren();
  }

  /** Show lines `{ at_s, text, speaker? }`; the server sends the latest ones again after an addition. */
  show(lines) {
    const { scrollHeight, scrollTop, clientHeight } = this.#scroller;
    const atEnd = scrollHeight - scrollTop - clientHeight < NEAR_THE_END_PX;
    const begun = new Map(); // two lines of one speaker may have the same time: words from before the call are at 0
    for (const line of lines) {
      const when = `${line.speaker ?? ""} ${line.at_s}`;
      begun.set(when, (begun.get(when) ?? 0) + 1);
      this.#put(line, `${when} ${begun.get(when)}`);
    }
    if (atEnd) this.#scroller.scrollTop = this.#scroller.scrollHeight;
  }

  /** Return the whole transcript as plain text. */
  toText() {
    return this.#inOrder()
      .map(({ at_s, speaker, text }) => `${clock(at_s).padStart(7)}  ${speaker ? `${this.#name(speaker)}: ` : ""}${text}\n`)
      .join("");
  }

  #put({ at_s, text, speaker }, key) {
    let line = this.#lines.get(key);
    if (!line) {
      line = { at_s, speaker, text: "", item: this.#item(at_s, speaker) };
      const next = this.#inOrder().find((other) => other.at_s > at_s);
      this.#lines.set(key, line);
      this.#list.insertBefore(line.item, next?.item ?? null);
    }
    if (line.text !== text) line.item.lastElementChild.textContent = line.text = text;
  }

  #item(at_s, speaker) {
    const item = document.createElement("li");
    const time = document.createElement("time");
    time.textContent = clock(at_s);
    item.append(time);
    if (speaker) {
      const name = document.createElement("b");
      name.className = speaker;
      name.textContent = this.#name(speaker);
      item.append(name);
    }
    item.append(document.createElement("span"));
    return item;
  }

  #name(speaker) {
    return this.#names()[speaker] ?? speaker;
  }

  #inOrder() {
    return [...this.#lines.values()].sort((one, other) => one.at_s - other.at_s);
  }
}
