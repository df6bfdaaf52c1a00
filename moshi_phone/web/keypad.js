// The twelve keys. While one has the focus, the keyboard's digits, * and # work as well.

const KEYS = "123456789*0#";

export class Keypad extends EventTarget {
  #toggle;
  #panel;
  #pressed;

  /** Events: "press" { digit }. The toggle shows and hides the panel, which contains an `<output>`. */
  constructor(toggle, panel) {
    super();
    this.#toggle = toggle;
    this.#panel = panel;
    this.#pressed = panel.querySelector("output");
    for (const digit of KEYS) panel.append(this.#key(digit));
    toggle.addEventListener("click", () => this.#open(panel.hidden));
    for (const element of [toggle, panel]) element.addEventListener("keydown", (event) => this.#type(event));
  }

  set enabled(enabled) {
    this.#toggle.disabled = !enabled;
    if (!enabled) this.#open(false);
  }

  #open(open) {
    this.#panel.hidden = !open;
    this.#toggle.setAttribute("aria-expanded", String(open));
    this.#pressed.textContent = "";
  }

  #key(digit) {
    const key = document.createElement("button");
    key.type = "button";
    key.textContent = digit;
    key.addEventListener("click", () => this.#press(digit));
    return key;
  }

  #type(event) {
    if (event.key === "Escape") {
      this.#open(false);
      this.#toggle.focus();
    } else if (!this.#panel.hidden && KEYS.includes(event.key) && !event.ctrlKey && !event.metaKey && !event.altKey) {
      this.#press(event.key);
    }
  }

  #press(digit) {
    this.#pressed.textContent = `${this.#pressed.textContent}${digit}`.slice(-12);
    this.dispatchEvent(new CustomEvent("press", { detail: { digit } }));
  }
}
