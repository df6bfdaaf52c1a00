// One call: data, recordings with a picture of both voices, transcript, report, and deletion.

import { CallPlayer } from "./call_player.js";
import { outcomeOf, own, party, textElement, transferOf, wholeTime } from "./call_words.js";
import { clock } from "./clock.js";
import { confirm } from "./confirm.js";

const AGAIN_MS = 2000; // interval of updates while the call runs
const NAMES = { caller: "Caller", bot: "Bot" };
const CONSENT = { told: "informed of the recording", refused: "refused the recording; it was deleted" };

/** Events: "closed", "erased". */
export class CallDetails extends EventTarget {
  #element;
  #id = null;
  #shown = null; // the displayed data, as JSON
  #players = [];
  #again;

  constructor(element) {
    super();
    this.#element = element;
    this.#find("close").addEventListener("click", () => this.dispatchEvent(new Event("closed")));
    this.#find("erase").addEventListener("click", () => this.#erase(false));
    this.#find("erase-all").addEventListener("click", () => this.#erase(true));
    element.addEventListener("keydown", ({ key }) => {
      if (key === "Escape") this.dispatchEvent(new Event("closed"));
    });
  }

  async open(id, takesFocus) {
    this.#id = id;
    this.#shown = null;
    await this.#load();
    if (takesFocus && this.#id === id) {
      this.#find("details-title").focus();
    }
  }

  hide() {
    clearTimeout(this.#again);
    this.#id = null;
    this.#element.hidden = true;
    for (const player of this.#players) player.stop();
  }

  refresh() {
    if (this.#id) this.#load();
  }

  async #load() {
    clearTimeout(this.#again);
    const id = this.#id;
    let call;
    try {
      const answer = await fetch(`history/calls/${id}`);
      call = await answer.json();
      if (!answer.ok) throw new Error(call.detail);
    } catch (error) {
      if (this.#id === id) this.#complain(error instanceof TypeError ? "The server does not answer." : error.message);
      return;
    }
    if (this.#id !== id) return;
    const text = JSON.stringify(call);
    if (text !== this.#shown) this.#show(call);
    this.#shown = text;
    if (!call.ended_at) this.#again = setTimeout(() => this.#load(), AGAIN_MS);
  }

  #complain(text) {
    this.#element.hidden = false;
    this.#find("details-title").textContent = "This call cannot be shown";
    this.#find("details-line").textContent = text;
    for (const id of ["players", "facts", "said-lines", "criteria"]) this.#find(id).replaceChildren();
    for (const id of ["said", "report", "erase", "erase-all", "details-text", "unsaid"]) this.#find(id).hidden = true;
  }

  #show(call) {
    this.#element.hidden = false;
    this.#find("details-title").textContent = party(call);
    this.#find("details-line").textContent = wholeTime(call.began_at);
    this.#find("details-text").hidden = !call.text;
    this.#find("details-text").textContent = call.text ?? "";
    this.#showPlayers(call);
    this.#find("facts").replaceChildren(...facts(call).flatMap(([name, text]) => [textElement("dt", name), textElement("dd", text)]));
    this.#showWords(call);
    this.#showReport(call);
    this.#find("erase").hidden = !call.ended_at;
    this.#find("erase-all").hidden = !call.whole_caller;
  }

  #showPlayers({ id, recordings, ended_at: endedAt }) {
    // A playing recording is not replaced.
    const wanted = endedAt ? recordings.map((_, number) => `history/calls/${id}/recordings/${number}`) : [];
    if (wanted.join() === this.#players.map((player) => player.url).join()) return;
    for (const player of this.#players) player.stop();
    this.#players = wanted.map((url, number) => new CallPlayer(url, wanted.length > 1 ? `Recording ${number + 1}` : "Recording"));
    this.#find("players").replaceChildren(...this.#players.map((player) => player.element));
  }

  #showWords({ words }) {
    const lines = words ?? [];
    this.#find("said").hidden = lines.length === 0;
    this.#find("unsaid").hidden = lines.length > 0;
    this.#find("said-lines").replaceChildren(...lines.map((line) => this.#line(line)));
  }

  #line({ at_s: atS, speaker, text }) {
    const item = document.createElement("li");
    const when = textElement(this.#players.length === 1 ? "button" : "time", clock(atS));
    if (this.#players.length === 1) {
      when.type = "button";
      when.setAttribute("aria-label", `Play from ${clock(atS)}`);
      when.addEventListener("click", () => this.#players[0].playFrom(atS));
    }
    item.append(when, textElement("b", NAMES[speaker] ?? speaker, speaker === "caller" ? "caller" : "bot"), textElement("span", text));
    return item;
  }

  #showReport({ id, report, has_picture: hasPicture }) {
    this.#find("report").hidden = !report;
    if (!report) return;
    this.#find("criteria").replaceChildren(...(report.criteria ?? []).map(criterion));
    const picture = this.#find("picture");
    picture.hidden = !hasPicture;
    if (hasPicture) picture.src = `history/calls/${id}/picture`;
  }

  async #erase(wholeCaller) {
    const id = this.#id;
    const who = this.#find("details-title").textContent;
    const text = wholeCaller
      ? `Delete all calls with ${who}, their recordings, transcripts and reports? This cannot be undone.`
      : "Delete this call, its recording, transcript and report? This cannot be undone.";
    if (!(await confirm(text, "Delete"))) return;
    const answer = await fetch(`history/calls/${id}/delete`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ whole_caller: wholeCaller }),
    }).catch(() => null);
    if (answer?.ok) this.dispatchEvent(new Event("erased"));
    else this.#find("details-line").textContent = answer ? ((await answer.json()).detail ?? "The call could not be deleted.") : "The server does not answer.";
  }

  #find(id) {
    return this.#element.querySelector(`#${id}`);
  }
}

function facts(call) {
  const { word } = outcomeOf(call);
  const { conversation: talk, echo } = call.metrics;
  const ms = (spread) => (spread?.count ? `${Math.round(spread.p50)} ms (median of ${spread.count})` : "");
  return [
    ["Outcome", call.reason ? `${word}: ${call.reason}` : word],
    ["Length", call.secs ? clock(call.secs) : ""],
    ["Your number", own(call)],
    ["Persona", call.section],
    ["Engine", call.engine],
    ["Transfer", call.transfer && transferOf(call.transfer, clock)],
    ["Consent", CONSENT[call.consent]],
    ["Response time", ms(talk?.response)],
    ["Stops if interrupted", ms(talk?.stop)],
    ["Longest silence", talk?.turns ? `${talk.longest_silence_s} s` : ""],
    ["Delay", call.metrics.delay?.count ? `${Math.round(call.metrics.delay.p50)} ms, p95 ${Math.round(call.metrics.delay.p95)} ms` : ""],
    ["Echo", echo && `${echo.delay_ms} ms late, ${Math.round(echo.loss_db)} dB down; then cancelled by ${Math.round(echo.removed_db)} dB`],
    ["Call SID", call.call_sid],
  ].filter(([, text]) => text);
}

function criterion({ title, figure, passed }) {
  const item = document.createElement("li");
  const [mark, word, tone] = passed === null ? ["–", "not judged", ""] : passed ? ["✓", "holds", "good"] : ["✗", "fails", "bad"];
  const sign = textElement("span", mark, tone);
  sign.setAttribute("role", "img");
  sign.setAttribute("aria-label", word);
  item.append(sign, textElement("span", `${title}: ${figure}`));
  return item;
}
