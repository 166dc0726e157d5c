// The form of a new job: classes as chips, images by drag and drop, and error messages.

import { readParameters } from "./parameters.js";
import { call, makeKey } from "./request.js";

const form = document.querySelector("#job");
const problem = document.querySelector("#problem");
const model = document.querySelector("#model");
const targets = new Map();
const uploads = new Map();

function createElement(name, properties = {}, ...children) {
  const node = Object.assign(document.createElement(name), properties);
  node.append(...children);
  return node;
}

function createRemoveButton(label, remove) {
  return createElement("button", { type: "button", textContent: "×", ariaLabel: `Remove ${label}`, onclick: remove });
}

// Classes

const entry = document.querySelector("#target");
const chips = document.querySelector("#targets");
const names = document.querySelector("#classes");

function addTarget(name) {
  if (!name || targets.has(name)) return;
  const chip = createElement("li", {}, name, createRemoveButton(name, () => {
    targets.delete(name);
    chip.remove();
    entry.focus();
  }));
  targets.set(name, chip);
  chips.append(chip);
}

function listNames() {
  return [...names.options].map((option) => option.value);
}

// A comma divides the entry unless the entry is, or begins, a class name with a comma.
function addEnteredTargets() {
  const text = entry.value.trim();
  for (const name of listNames().includes(text) ? [text] : text.split(",")) addTarget(name.trim());
  entry.value = "";
}

function beginsName(text) {
  return listNames().some((name) => name.toLowerCase().startsWith(text.toLowerCase()));
}

// A name that several classes have is offered as the index of each.
function createOptions(classes) {
  const counts = new Map();
  for (const name of classes) counts.set(name, (counts.get(name) ?? 0) + 1);
  return classes.map((name, index) => counts.get(name) === 1
    ? createElement("option", { value: name })
    : createElement("option", { value: `#${index}`, label: `${name} #${index}` }));
}

if (entry) {
  entry.addEventListener("keydown", (event) => {
    const ends = event.key === "Enter" || (event.key === "," && !beginsName(`${entry.value.trimStart()},`));
    if (ends && entry.value.trim()) {
      event.preventDefault();
      addEnteredTargets();
    } else if (event.key === "Backspace" && !entry.value && targets.size) {
      [...targets.values()].at(-1).querySelector("button").click();
    }
  });
  entry.addEventListener("input", (event) => {
    // The value comes from the list and was not typed.
    const isSelected = event.inputType === "insertReplacementText" || event.inputType === undefined;
    if (isSelected && [...names.options].some((option) => option.value === entry.value)) addEnteredTargets();
  });
}

model.addEventListener("change", async () => {
  if (!entry) return;
  for (const chip of targets.values()) chip.remove();
  targets.clear();
  try {
    const { class_names: classes } = await call(`/v1/models/${encodeURIComponent(model.value)}`);
    names.replaceChildren(...createOptions(classes));
    entry.placeholder = classes[0];
  } catch (error) {
    showError(error);
  }
});

// Images

const drop = document.querySelector("#drop");

async function upload(file) {
  const image = createElement("img", { alt: file.name, src: URL.createObjectURL(file) });
  const item = createElement("li", {}, image, createElement("small", { textContent: "uploading…" }));
  document.querySelector("#uploads").append(item);
  const body = new FormData();
  body.append("file", file);
  try {
    const { id } = await call("/v1/images", { method: "POST", body, repeatable: true });
    uploads.set(item, id);
    item.lastChild.replaceWith(createRemoveButton(file.name, () => {
      uploads.delete(item);
      item.remove();
    }));
  } catch (error) {
    item.remove();
    showError(error);
  } finally {
    URL.revokeObjectURL(image.src);
    if (uploads.has(item)) image.src = `/v1/images/${uploads.get(item)}`;
  }
}

if (drop) {
  const input = drop.querySelector("input");
  input.addEventListener("change", () => {
    for (const file of input.files) upload(file);
    input.value = "";
  });
  for (const [name, over] of [["dragover", true], ["dragleave", false], ["drop", false]]) {
    drop.addEventListener(name, (event) => {
      event.preventDefault();
      drop.classList.toggle("over", over);
      if (name === "drop") for (const file of event.dataTransfer.files) upload(file);
    });
  }
}

// Submission

function readRequest() {
  const body = { method: form.dataset.method, model: model.value, priority: document.querySelector("#priority").value };
  if (entry) addEnteredTargets();
  if (targets.size) body.targets = [...targets.keys()];
  if (drop) body.images = [...uploads.values()];
  const params = readParameters();
  if (Object.keys(params).length) body.params = params;
  return body;
}

function showError(error) {
  const errors = (error.problem?.errors ?? []).filter(({ detail }) => detail !== error.message);
  const items = errors.map(({ field, detail, allowed }) => createElement("li", {
    textContent: `${field}: ${detail}${allowed == null ? "" : ` (allowed: ${JSON.stringify(allowed)})`}`,
  }));
  problem.replaceChildren(createElement("strong", { textContent: error.message }), createElement("ul", {}, ...items));
  problem.hidden = false;
  problem.scrollIntoView({ block: "nearest" });
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = form.querySelector("[type=submit]");
  button.disabled = true;
  problem.hidden = true;
  try {
    const headers = { "Content-Type": "application/json", "Idempotency-Key": makeKey() };
    const job = await call("/v1/jobs", { method: "POST", headers, body: JSON.stringify(readRequest()) });
    location.assign(`/jobs/${job.id}`);
  } catch (error) {
    showError(error);
  } finally {
    button.disabled = false;
  }
});
