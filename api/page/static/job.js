// A job: its progress while it runs, and what came out as something to play with.

const job = document.querySelector("#job");

if (job && job.dataset.ended === "false") {
  const progress = document.querySelector("#progress");
  const count = document.querySelector("#count");
  const state = document.querySelector("#state .state");
  const thumbnail = document.querySelector("#thumbnail");
  const events = new EventSource(`/v1/jobs/${job.dataset.id}/events`);

  const follow = ({ data }) => {
    const told = JSON.parse(data);
    progress.max = told.progress.total || 1;
    progress.value = told.progress.done;
    count.textContent = `${told.progress.done}/${told.progress.total} ${told.progress.unit}s`;
    if (state.textContent !== told.state) {
      state.textContent = told.state;
      state.className = `state ${told.state}`;
    }
    if (told.thumbnail) {
      thumbnail.src = told.thumbnail;
      thumbnail.hidden = false;
    }
  };
  for (const name of ["job.queued", "job.running", "job.progress"]) events.addEventListener(name, follow);
  for (const name of ["job.succeeded", "job.failed", "job.cancelled"]) {
    events.addEventListener(name, () => {
      events.close();
      location.reload();
    });
  }
}

// Heat maps over their pictures

for (const layers of document.querySelectorAll(".layers")) {
  const [under, over] = layers.querySelectorAll("img");
  under.style.objectFit = layers.dataset.fit;
  if (layers.dataset.fit === "cover") under.style.transform = `scale(${layers.dataset.zoom})`;
  const settle = () => {
    layers.style.aspectRatio = `${over.naturalWidth} / ${over.naturalHeight}`;
  };
  if (over.complete) settle();
  over.addEventListener("load", settle);
  layers.parentElement.querySelector(".opacity").addEventListener("input", (event) => {
    over.style.opacity = event.target.value / 100;
  });
}

// Animations, frame by frame

for (const scrub of document.querySelectorAll(".scrub")) prepare(scrub);

async function prepare(scrub) {
  const picture = scrub.parentElement.querySelector(".picture");
  const range = scrub.querySelector("input");
  const button = scrub.querySelector("button");
  const place = scrub.dataset.frames;
  const answer = await fetch(place);
  if (!answer.ok) return;
  const { count } = await answer.json();
  if (count < 2) return;
  range.max = count - 1;
  range.value = count - 1;
  scrub.hidden = false;
  let timer;

  const turn = () => {
    picture.src = Number(range.value) === count - 1 ? scrub.dataset.last : `${place}/${range.value}`;
  };
  const stop = () => {
    clearInterval(timer);
    timer = undefined;
    button.textContent = "▶";
  };
  range.addEventListener("input", () => {
    stop();
    turn();
  });
  button.addEventListener("click", () => {
    if (timer) return stop();
    if (Number(range.value) === count - 1) range.value = 0;
    button.textContent = "❚❚";
    timer = setInterval(() => {
      range.value = Number(range.value) + 1;
      turn();
      if (Number(range.value) === count - 1) stop();
    }, 100);
  });
}
