// The phone: the call button, the status line, the timer, the mute button and the levels.

import { clock } from "./clock.js";
import { showLevel } from "./level.js";

const $ = (id) => document.getElementById(id);

/** Values of `data-state` of the page's body: before the answer, and during a call. */
export const IDLE = "idle";
export const CALLING = "calling";
export const TALKING = "talking";

export class PhoneView {
  #ticking;

  /** Show the state of the call. */
  show(state, word, failed = false) {
    document.body.dataset.state = state;
    $("call-word").textContent = state === IDLE ? "Call" : "Hang up";
    $("mute").disabled = state !== TALKING;
    if (state === IDLE) {
      this.#stopTimer();
      this.showMuted(false);
      this.level("you", 0);
      this.level("bot", 0);
    }
    this.say(word, failed);
  }

  say(word, failed = false) {
    document.body.toggleAttribute("data-failed", failed);
    if ($("status").textContent !== word) $("status").textContent = word;
  }

  startTimer() {
    const beganMs = performance.now();
    const tick = () => {
      $("timer").textContent = clock((performance.now() - beganMs) / 1000);
    };
    tick();
    this.#ticking = setInterval(tick, 250);
  }

  #stopTimer() {
    clearInterval(this.#ticking);
    $("timer").textContent = "";
  }

  showMuted(muted) {
    $("mute").setAttribute("aria-pressed", String(muted));
  }

  level(who, peak) {
    showLevel($(who), peak);
  }
}
