// The running calls, with their actions.

import { own, party, textElement } from "./call_words.js";
import { clock } from "./clock.js";

/** Events: "chosen" { id }. */
export class RunningCalls extends EventTarget {
  #list;
  #confirm;
  #items = new Map(); // by id; reused, so that text which the user is typing is not lost

  constructor(list, confirm) {
    super();
    this.#list = list;
    this.#confirm = confirm;
  }

  show(calls) {
    const ids = new Set(calls.map((call) => call.id));
    for (const [id, item] of this.#items) {
      if (!ids.has(id)) {
        item.remove();
        this.#items.delete(id);
      }
    }
    for (const call of calls) {
      if (!this.#items.has(call.id)) {
        this.#items.set(call.id, this.#item(call));
        this.#list.append(this.#items.get(call.id));
      }
      this.#items.get(call.id).querySelector(".secs").textContent = clock(call.secs);
    }
  }

  lose() {
    this.show([]);
  }

  #item(call) {
    const item = document.createElement("li");
    const who = textElement("div", "", "who");
    const more = [own(call) && `your number ${own(call)}`, call.section, call.engine].filter(Boolean).join(" · ");
    who.append(textElement("b", party(call)), " ", textElement("span", "", "secs"), document.createElement("br"), textElement("small", more));
    const answer = textElement("p", "", "answer");
    answer.setAttribute("role", "status");
    const buttons = textElement("div", "", "saves");
    const button = (text, act, isShown = true) => {
      if (!isShown) return;
      const made = textElement("button", text, "save");
      made.type = "button";
      made.setAttribute("aria-label", `${text}: ${party(call)}`);
      made.addEventListener("click", act);
      buttons.append(made);
    };
    const form = this.#sayForm(call, answer);
    button("Show", () => this.dispatchEvent(new CustomEvent("chosen", { detail: { id: call.id } })));
    button(
      "Say",
      () => {
        form.hidden = !form.hidden;
        if (!form.hidden) form.elements.text.focus();
      },
      call.can_say,
    );
    button("Transfer", () => this.#ask(call, `Transfer ${party(call)}?`, "Transfer", "transfer", answer), call.can_transfer);
    button("Hang up", () => this.#ask(call, `Hang up on ${party(call)}?`, "Hang up", "hang-up", answer));
    item.append(who, buttons, form, answer);
    return item;
  }

  #sayForm(call, answer) {
    const form = document.createElement("form");
    form.hidden = true;
    const input = document.createElement("input");
    input.name = "text";
    input.maxLength = 100;
    input.required = true;
    input.setAttribute("aria-label", `Words for the bot to say to ${party(call)}`);
    const send = textElement("button", "Say it", "save");
    form.append(input, send);
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      answer.textContent = (await act(call, "say", { text: input.value })) ?? "The bot says it at its next pause.";
      input.value = "";
    });
    return form;
  }

  async #ask(call, question, yes, what, answer) {
    if (await this.#confirm(question, yes)) answer.textContent = (await act(call, what, {})) ?? "Done.";
  }
}

/** Run an action of a call; returns a sentence if it failed. */
async function act(call, what, body) {
  try {
    const answer = await fetch(`history/calls/${call.id}/${what}`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
    });
    if (answer.ok) return null;
    const { detail } = await answer.json();
    return typeof detail === "string" ? detail : "The action failed.";
  } catch {
    return "The server does not answer.";
  }
}
