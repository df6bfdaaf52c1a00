// What the page says of the server. No I/O.

const WHO = new Map([
  ["moshi", "Moshi"],
  ["parrot", "The parrot"],
  ["remote", "A server elsewhere"],
]);
const SPEAKERS = new Map([
  ["moshi", "Moshi"],
  ["parrot", "Parrot"],
]);

export const CONNECTING = { state: "connecting", label: "…", word: "Looking for the server …", header: "" };
export const GONE = {
  state: "gone",
  label: "No server",
  word: "The server does not answer. This page keeps trying.",
  header: "No connection to the server",
};

/** What to say when the server is gone: why, where it said so before. */
export function gone(before) {
  const why = before.state === "error" ? before.word : before.why;
  return why ? { ...GONE, word: why, why } : GONE;
}

/** How the other side is called in the meters and the transcript. */
export function botName(engine) {
  return SPEAKERS.get(engine) ?? "Bot";
}

/**
 * Say what state the server is in: `state`, a `label` for where the button would be, a `word` for who wants to
 * call, and a `header` on who answers.
 */
export function describe({ state = "ready", progress, error, engine, engine_reason, sessions, capacity }) {
  const who = WHO.get(engine) ?? engine;
  switch (state) {
    case "loading":
      return { state, label: "Loading…", word: progress || "A moment, please.", header: `${who} is loading` };
    case "closing":
      return { state, label: "Closing", word: "The server is closing: it takes no new calls.", header: "Closing" };
    case "error":
      return { state, label: "Out of order", word: error, header: `${who} is out of order` };
  }
  const taken = `${sessions} of ${capacity} ${capacity === 1 ? "line" : "lines"} taken`;
  const why = engine_reason ? `, ${engine_reason}` : "";
  return { state, label: "", word: "Press the button and start talking.", header: `${who} answers${why} · ${taken}` };
}
