// What the server tells of itself and its calls, as event streams; it notices when the server goes away.

const SILENT_MS = 10_000; // it speaks once a second
const AGAIN_MS = 2_000;

/** Follows the server for as long as the page is open. Events: "told" { ...overview }, "gone". */
export class ServerEvents extends EventTarget {
  #url;
  #name;
  #source;
  #silence;

  /** `url` of an event stream that speaks once a second, `name` of its events. */
  constructor(url = "calls/events", name = "calls") {
    super();
    this.#url = url;
    this.#name = name;
    this.#connect();
  }

  #connect() {
    this.#source = new EventSource(this.#url);
    this.#source.addEventListener(this.#name, ({ data }) => {
      this.#expectMore();
      this.dispatchEvent(new CustomEvent("told", { detail: JSON.parse(data) }));
    });
    this.#source.onerror = () => this.#lose();
    this.#expectMore();
  }

  #expectMore() {
    clearTimeout(this.#silence);
    this.#silence = setTimeout(() => this.#lose(), SILENT_MS);
  }

  // An EventSource tries again by itself, but not after an answer like 401 or 503, and not when nothing comes.
  #lose() {
    clearTimeout(this.#silence);
    this.#source.close();
    this.dispatchEvent(new Event("gone"));
    setTimeout(() => this.#connect(), AGAIN_MS);
  }
}

/** Follow one call: its metrics four times a second, what is said in it, and who speaks when. Gives what stops it. */
export function followCall(callSid, { onMetrics, onWords, onTurns }) {
  const source = new EventSource(`calls/${callSid}/events`);
  source.addEventListener("metrics", ({ data }) => onMetrics(JSON.parse(data)));
  source.addEventListener("words", ({ data }) => onWords(JSON.parse(data)));
  source.addEventListener("turns", ({ data }) => onTurns(JSON.parse(data)));
  source.addEventListener("end", ({ data }) => {
    onWords(JSON.parse(data)?.words ?? []);
    source.close();
  });
  return () => source.close();
}
