// The progress of a job that has not ended.

import { choosePause } from "./request.js";

const MAX_FAILURES = 20;

const job = document.querySelector("#job");

if (job && job.dataset.ended === "false") {
  const progress = document.querySelector("#progress");
  const count = document.querySelector("#count");
  const state = document.querySelector("#state .state");
  const thumbnail = document.querySelector("#thumbnail");
  let events;
  let last;
  let failures = 0;

  // The browser opens a connection that breaks again, but not one that was refused.
  const connect = () => {
    events = new EventSource(`/v1/jobs/${job.dataset.id}/events`);
    for (const name of ["job.queued", "job.running", "job.progress"]) events.addEventListener(name, follow);
    for (const name of ["job.succeeded", "job.failed", "job.cancelled"]) events.addEventListener(name, finish);
    events.addEventListener("error", () => {
      failures += 1;
      if (failures > MAX_FAILURES) {
        events.close();
        count.textContent = `${last ?? count.textContent} (connection lost; reload this page)`;
      } else if (events.readyState === EventSource.CLOSED) {
        setTimeout(connect, choosePause(failures));
      }
    });
  };

  // Until the number of steps is known, the bar has no value.
  const showPhase = ({ state: current, progress: { done, total, unit } }) => {
    if (total) {
      progress.max = total;
      progress.value = done;
    } else {
      progress.removeAttribute("value");
    }
    const unknown = current === "queued" ? count.dataset.queued : count.dataset.preparing;
    last = count.textContent = total && current !== "queued" ? `${done} of ${total} ${unit}s` : unknown;
  };
  const follow = ({ data }) => {
    const event = JSON.parse(data);
    failures = 0;
    showPhase(event);
    if (state.textContent !== event.state) {
      state.textContent = event.state;
      state.className = `state ${event.state}`;
    }
    if (event.thumbnail) {
      thumbnail.src = event.thumbnail;
      thumbnail.hidden = false;
    }
  };
  const finish = () => {
    events.close();
    location.reload();
  };
  connect();
}
