// The Calls page: connects its parts.

import { CallDetails } from "./call_details.js";
import { CallList } from "./call_list.js";
import { confirm } from "./confirm.js";
import { RunningCalls } from "./running_calls.js";
import { ServerEvents } from "./server_events.js";

const $ = (id) => document.getElementById(id);

const list = new CallList($("list"));
const details = new CallDetails($("details"));
const running = new RunningCalls($("running"), confirm);
const server = new ServerEvents("history/running", "running");
let version = null;

list.addEventListener("chosen", ({ detail }) => open(detail.id, true));
details.addEventListener("closed", close);
details.addEventListener("erased", () => {
  close();
  list.reload();
});
running.addEventListener("chosen", ({ detail }) => open(detail.id, true));

server.addEventListener("told", ({ detail }) => {
  running.show(detail.running);
  if (detail.version !== version && !document.hidden) {
    version = detail.version;
    list.refresh();
    details.refresh();
  }
});
server.addEventListener("gone", () => {
  running.lose();
  list.lose();
  version = null; // changes in the meantime are fetched after the reconnection
});
addEventListener("hashchange", follow);
list.reload().then(follow);

function open(id, takesFocus) {
  history.replaceState(null, "", `#${id}`);
  list.select(id);
  details.open(id, takesFocus);
}

function close() {
  history.replaceState(null, "", location.pathname);
  details.hide();
  list.unselect();
}

function follow() {
  const id = location.hash.slice(1);
  if (/^[0-9a-f]{1,64}$/.test(id)) open(id, false);
}
