// A table of the running calls.

import { clock } from "./clock.js";

/** Fill a `<tbody>` with the calls; `ownSid` is this page's own call, or empty. */
export function showCalls(tbody, running, ownSid) {
  tbody.replaceChildren(...running.map((call) => row(call, Boolean(ownSid) && ownSid.startsWith(call.name))));
}

function row({ name, worker, secs, delay, playout_lead_ms, backlog_frames, dropped_frames, underruns }, own) {
  const row = document.createElement("tr");
  row.classList.toggle("own", own);
  const delayMs = `${Math.round(delay.p50)} / ${Math.round(delay.p95)} ms`;
  // In a cluster each call has a worker.
  const cells = [worker ? `${name} (${worker})` : name, clock(secs), delayMs, `${Math.round(playout_lead_ms)} ms`, backlog_frames, dropped_frames, underruns];
  for (const text of cells) row.insertCell().textContent = text;
  return row;
}
