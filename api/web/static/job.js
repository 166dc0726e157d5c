// The page of a job: progress while it runs, then maps over images and frames of animations.

import { choosePause, request } from "./request.js";

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

  const follow = ({ data }) => {
    const event = JSON.parse(data);
    failures = 0;
    progress.max = event.progress.total || 1;
    progress.value = event.progress.done;
    last = count.textContent = `${event.progress.done}/${event.progress.total} ${event.progress.unit}s`;
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

// Heat maps over their input images

for (const layers of document.querySelectorAll(".layers")) {
  const [under, over] = layers.querySelectorAll("img");
  under.style.objectFit = layers.dataset.fit;
  if (layers.dataset.fit === "cover") under.style.transform = `scale(${layers.dataset.zoom})`;
  const setAspectRatio = () => {
    layers.style.aspectRatio = `${over.naturalWidth} / ${over.naturalHeight}`;
  };
  if (over.complete) setAspectRatio();
  over.addEventListener("load", setAspectRatio);
  layers.parentElement.querySelector(".opacity").addEventListener("input", (event) => {
    over.style.opacity = event.target.value / 100;
  });
}

// Animations with a slider for the frames

for (const scrub of document.querySelectorAll(".scrub")) prepare(scrub);

async function prepare(scrub) {
  const image = scrub.parentElement.querySelector(".result");
  const range = scrub.querySelector("input");
  const button = scrub.querySelector("button");
  const url = scrub.dataset.frames;
  const response = await request(url).catch(() => undefined);
  if (!response?.ok) return;
  const { count } = await response.json();
  if (count < 2) return;
  range.max = count - 1;
  range.value = count - 1;
  scrub.hidden = false;
  let timer;

  const showFrame = () => {
    image.src = Number(range.value) === count - 1 ? scrub.dataset.last : `${url}/${range.value}`;
  };
  const stop = () => {
    clearInterval(timer);
    timer = undefined;
    button.textContent = "▶";
  };
  range.addEventListener("input", () => {
    stop();
    showFrame();
  });
  button.addEventListener("click", () => {
    if (timer) return stop();
    if (Number(range.value) === count - 1) range.value = 0;
    button.textContent = "❚❚";
    timer = setInterval(() => {
      range.value = Number(range.value) + 1;
      showFrame();
      if (Number(range.value) === count - 1) stop();
    }, 100);
  });
}
