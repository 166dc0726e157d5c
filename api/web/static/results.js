// The results of a job: maps over their images, and animations with a slider for the frames.

import { request } from "./request.js";

const FRAME_MS = 100;

// Maps over their input images. Up to the middle of the slider the map appears; then the image disappears.

export function placeLayers(layers) {
  const [under, over] = layers.querySelectorAll("img");
  under.style.objectFit = layers.dataset.fit;
  if (layers.dataset.fit === "cover") under.style.transform = `scale(${layers.dataset.zoom})`;
  const setAspectRatio = () => {
    layers.style.aspectRatio = `${over.naturalWidth} / ${over.naturalHeight}`;
  };
  if (over.complete) setAspectRatio();
  over.addEventListener("load", setAspectRatio);
}

export function mixLayers(layers, share) {
  const [under, over] = layers.querySelectorAll("img");
  over.style.opacity = Math.min(1, 2 * share);
  under.style.opacity = Math.min(1, 2 - 2 * share);
}

for (const layers of document.querySelectorAll(".layers")) {
  placeLayers(layers);
  const slider = layers.parentElement.querySelector(".opacity");
  slider.addEventListener("input", () => mixLayers(layers, slider.value / 100));
  mixLayers(layers, slider.value / 100);
}

// Animations

for (const scrub of document.querySelectorAll(".scrub")) prepare(scrub);

async function prepare(scrub) {
  const url = scrub.dataset.frames;
  const response = await request(`${url}?v=${scrub.dataset.version}`).catch(() => undefined);
  if (!response?.ok) return;
  const frames = await response.json();
  if (frames.count < 2) return;
  const card = scrub.parentElement;
  const image = card.querySelector(".result");
  const range = scrub.querySelector("input");
  const button = scrub.querySelector("button");
  range.max = frames.count - 1;
  range.value = frames.count - 1;
  scrub.hidden = false;
  let timer;

  const showFrame = () => {
    const number = Number(range.value);
    const isLast = number === frames.count - 1;
    image.src = isLast ? scrub.dataset.last : `${url}/${number}`;
    describe(card, range, isLast ? undefined : describeFrame(frames, number));
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
    if (Number(range.value) === frames.count - 1) range.value = 0;
    button.textContent = "❚❚";
    timer = setInterval(() => {
      range.value = Number(range.value) + 1;
      showFrame();
      if (Number(range.value) === frames.count - 1) stop();
    }, FRAME_MS);
  });
}

function describeFrame({ count, steps, objectives }, number) {
  if (!steps) return `Frame ${number + 1} of ${count}`;
  const objective = objectives[number];
  const step = `Step ${steps[number]} of ${steps.at(-1)}`;
  return objective === null ? step : `${step}, objective ${objective.toPrecision(4)}`;
}

// The figures of a card are those of the result; while another step is shown, they are hidden.
function describe(card, range, text) {
  const now = card.querySelector(".now");
  now.hidden = text === undefined;
  now.textContent = text ?? "";
  range.ariaValueText = text ?? "Result";
  for (const figures of card.querySelectorAll(".figures")) figures.hidden = text !== undefined;
}
