// The server's event streams about itself and its calls, with detection of a lost connection.

const SILENT_MS = 10_000; // the server sends an event each second
const AGAIN_MS = 2_000;

/** Follows the server for as long as the page is open. Events: "told" { ...overview }, "gone". */
export class ServerEvents extends EventTarget {
  #url;
  #name;
  #source;
  #silence;

  /** `url` of an event stream with one event a second, `name` of its events. */
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

  // An EventSource reconnects by itself, but not after a response such as 401 or 503, nor if the server is silent.
  #lose() {
    clearTimeout(this.#silence);
    this.#source.close();
    this.dispatchEvent(new Event("gone"));
    setTimeout(() => this.#connect(), AGAIN_MS);
  }
}

/** Follow one call: its metrics four times a second, its words and turns. Returns a function that stops it. */
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
