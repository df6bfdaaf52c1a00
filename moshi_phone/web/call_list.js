// The list of ended calls: search, rows, and loading of further pages.

import { OUTCOMES, outcomeOf, own, party, shortTime, textElement } from "./call_words.js";
import { clock } from "./clock.js";

const TYPING_MS = 250;
const PAGE = 50;

/** Events: "chosen" { id }. */
export class CallList extends EventTarget {
  #form;
  #rows;
  #calls = new Map(); // by id
  #more;
  #selected = null;
  #asked = 0; // number of the last request: late answers to earlier ones are dropped
  #typing;
  #loading = null;

  constructor(element) {
    super();
    const find = (selector) => element.querySelector(selector);
    this.#form = find("form");
    this.#rows = find("tbody");
    this.#more = find("#more");
    this.trouble = find("#trouble");
    this.count = find("#count");
    this.none = find("#no-rows");
    for (const [value, [word]] of Object.entries(OUTCOMES)) {
      const option = textElement("option", word);
      option.value = value;
      this.#form.elements.outcome.append(option);
    }
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.reload();
    });
    this.#form.addEventListener("input", () => {
      clearTimeout(this.#typing);
      this.#typing = setTimeout(() => this.reload(), TYPING_MS);
    });
    this.#more.addEventListener("click", () => this.#load(this.#last()));
    this.#rows.addEventListener("click", ({ target }) => this.#choose(target.closest("tr")));
    this.#rows.addEventListener("keydown", (event) => this.#move(event));
  }

  /** Discard the rows, and load the first page. */
  reload() {
    this.#calls.clear();
    return this.#load();
  }

  /** Add new calls to the rows. */
  refresh() {
    if (!this.#loading) return this.#load();
    return this.#loading;
  }

  /** Show that the connection is lost, until the next response. */
  lose() {
    this.#complain("No connection to the server. Reconnecting …");
  }

  select(id) {
    this.#selected = id;
    for (const row of this.#rows.rows) this.#mark(row);
  }

  /** Clear the selection, and return the focus to its row. */
  unselect() {
    const id = this.#selected;
    this.select(null);
    this.#rows.querySelector(`tr[data-id="${CSS.escape(id ?? "")}"] button`)?.focus();
  }

  async #load(last = null) {
    const asked = ++this.#asked;
    this.#loading = this.#fetch(last);
    const told = await this.#loading;
    if (asked !== this.#asked) return;
    this.#loading = null;
    if (told === null) return;
    const isFirst = !last && this.#calls.size <= told.calls.length;
    for (const call of told.calls) this.#calls.set(call.id, call);
    if (last || isFirst) this.#more.hidden = !told.more;
    this.#draw(told);
  }

  async #fetch(last) {
    const { number, day, outcome } = this.#form.elements;
    const query = new URLSearchParams({ number: number.value.trim(), limit: PAGE });
    if (outcome.value) query.set("outcome", outcome.value);
    if (day.value) {
      const [year, month, date] = day.value.split("-").map(Number);
      query.set("since", new Date(year, month - 1, date).toISOString());
      query.set("until", new Date(year, month - 1, date + 1).toISOString());
    }
    if (last) {
      query.set("before_at", last.began_at);
      query.set("before_id", last.id);
    }
    try {
      const answer = await fetch(`history/calls?${query}`);
      if (!answer.ok) throw new Error(`The server responded with HTTP ${answer.status}.`);
      return await answer.json();
    } catch (error) {
      this.#complain(error instanceof TypeError ? "The server does not answer." : error.message);
      return null;
    }
  }

  #draw({ total, is_stored: isStored, error }) {
    const calls = this.#inOrder();
    const focused = document.activeElement?.closest?.("#rows tr")?.dataset.id;
    this.#rows.replaceChildren(...calls.map((call) => this.#row(call)));
    if (focused) this.#rows.querySelector(`tr[data-id="${CSS.escape(focused)}"] button`)?.focus();
    this.none.hidden = calls.length > 0;
    this.#complain(error);
    const shown = Math.max(calls.length, total).toLocaleString();
    this.count.textContent = isStored ? `${shown} found` : `${shown} found in the last 200 calls; --calls-db keeps more`;
  }

  #complain(text) {
    this.trouble.hidden = !text;
    this.trouble.textContent = text ?? "";
  }

  #row(call) {
    const row = document.createElement("tr");
    row.setAttribute("role", "row"); // explicit, because narrow pages display rows as blocks
    row.dataset.id = call.id;
    const { word, tone } = outcomeOf(call);
    const when = document.createElement("td");
    const button = textElement("button", shortTime(call.began_at));
    button.type = "button";
    when.append(button);
    row.append(
      when,
      textElement("td", party(call)),
      textElement("td", own(call), "spare"),
      textElement("td", call.section ?? "", "spare"),
      textElement("td", call.secs ? clock(call.secs) : "–", "number"),
    );
    row.insertCell().append(textElement("span", word, `outcome ${tone}`));
    for (const cell of row.cells) cell.setAttribute("role", "cell");
    this.#mark(row);
    return row;
  }

  #mark(row) {
    const selected = row.dataset.id === this.#selected;
    row.classList.toggle("selected", selected);
    if (selected) row.querySelector("button").setAttribute("aria-current", "true");
    else row.querySelector("button").removeAttribute("aria-current");
  }

  #choose(row) {
    if (row) this.dispatchEvent(new CustomEvent("chosen", { detail: { id: row.dataset.id } }));
  }

  #move(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const row = event.target.closest("tr");
    if (!step || !row) return;
    const next = this.#rows.rows[row.sectionRowIndex + step];
    if (!next) return;
    event.preventDefault();
    next.querySelector("button").focus();
  }

  #last() {
    return this.#inOrder().at(-1);
  }

  #inOrder() {
    return [...this.#calls.values()].sort((one, other) => compare(other.began_at, one.began_at) || compare(other.id, one.id));
  }
}

function compare(one, other) {
  return one < other ? -1 : one > other ? 1 : 0;
}
