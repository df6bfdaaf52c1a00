// The page's texts about the server. No I/O.

const WHO = new Map([
  ["moshi", "Moshi"],
  ["parrot", "The parrot"],
  ["remote", "A remote server"],
]);
const SPEAKERS = new Map([
  ["moshi", "Moshi"],
  ["parrot", "Parrot"],
]);

export const CONNECTING = { state: "connecting", label: "…", word: "Connecting to the server …", header: "" };
export const GONE = {
  state: "gone",
  label: "No server",
  word: "The server does not answer. This page keeps trying.",
  header: "No connection to the server",
};

/** The status of a server that does not answer, with the reason if it gave one before. */
export function gone(before) {
  const why = before.state === "error" ? before.word : before.why;
  return why ? { ...GONE, word: why, why } : GONE;
}

/** The name of the other side in the meters and the transcript. */
export function botName(engine) {
  return SPEAKERS.get(engine) ?? "Bot";
}

/**
 * Describe a server by its status in /calls: the page's `state`, which is the server's phase, a `label` in place of
 * the button, a `word` for the user, and a `header` about the engine.
 */
export function describe({ state = "ready", progress, error, engine, engine_reason, sessions, capacity }) {
  const who = WHO.get(engine) ?? engine;
  switch (state) {
    case "loading":
      return { state, label: "Loading…", word: progress || "Please wait.", header: `${who} is loading` };
    case "closing":
      return { state, label: "Closing", word: "The server is shutting down and takes no new calls.", header: "Shutting down" };
    case "error":
      return { state, label: "Out of order", word: error, header: `${who} is out of order` };
  }
  const taken = `${sessions} of ${capacity} ${capacity === 1 ? "line" : "lines"} in use`;
  const why = engine_reason ? `, ${engine_reason}` : "";
  return { state, label: "", word: "Press the button and start talking.", header: `${who} answers${why} · ${taken}` };
}
