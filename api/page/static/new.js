// The form of a new job: classes as chips, pictures by drag and drop, and every refusal beside what it is about.

const form = document.querySelector("#job");
const problem = document.querySelector("#problem");
const model = document.querySelector("#model");
const targets = new Map();
const uploads = new Map();

async function call(path, options) {
  const answer = await fetch(path, options);
  const body = await answer.json();
  if (!answer.ok) throw Object.assign(new Error(body.detail ?? `the service answered ${answer.status}`), { problem: body });
  return body;
}

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

function removeButton(what, remove) {
  return element("button", { type: "button", textContent: "×", ariaLabel: `Remove ${what}`, onclick: remove });
}

// Classes

const entry = document.querySelector("#target");
const chips = document.querySelector("#targets");
const names = document.querySelector("#classes");

function addTarget(name) {
  if (!name || targets.has(name)) return;
  const chip = element("li", {}, name, removeButton(name, () => {
    targets.delete(name);
    chip.remove();
    entry.focus();
  }));
  targets.set(name, chip);
  chips.append(chip);
}

function takeTargets() {
  for (const name of entry.value.split(",")) addTarget(name.trim());
  entry.value = "";
}

if (entry) {
  entry.addEventListener("keydown", (event) => {
    if ((event.key === "Enter" || event.key === ",") && entry.value.trim()) {
      event.preventDefault();
      takeTargets();
    } else if (event.key === "Backspace" && !entry.value && targets.size) {
      [...targets.values()].at(-1).querySelector("button").click();
    }
  });
  entry.addEventListener("input", (event) => {
    // Chosen from the list, and not typed.
    const chosen = event.inputType === "insertReplacementText" || event.inputType === undefined;
    if (chosen && [...names.options].some((option) => option.value === entry.value)) takeTargets();
  });
}

model.addEventListener("change", async () => {
  if (!entry) return;
  for (const chip of targets.values()) chip.remove();
  targets.clear();
  try {
    const { class_names: classes } = await call(`/v1/models/${encodeURIComponent(model.value)}`);
    names.replaceChildren(...classes.map((value) => element("option", { value })));
    entry.placeholder = classes[0];
  } catch (error) {
    show(error);
  }
});

// Pictures

const drop = document.querySelector("#drop");

async function upload(file) {
  const image = element("img", { alt: file.name, src: URL.createObjectURL(file) });
  const item = element("li", {}, image, element("small", { textContent: "uploading…" }));
  document.querySelector("#uploads").append(item);
  const body = new FormData();
  body.append("file", file);
  try {
    const { id } = await call("/v1/images", { method: "POST", body });
    uploads.set(item, id);
    item.lastChild.replaceWith(removeButton(file.name, () => {
      uploads.delete(item);
      item.remove();
    }));
  } catch (error) {
    item.remove();
    show(error);
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

function readParameter(field) {
  const { kind } = field.dataset;
  const value = kind === "flag" ? String(field.checked) : field.value.trim();
  if (value === field.dataset.default) return undefined;
  if (value === "") return null;
  if (kind === "text") return value;
  if (kind === "choice") return ["true", "false"].includes(value) || /^\d+$/.test(value) ? JSON.parse(value) : value;
  try {
    return JSON.parse(value);
  } catch {
    throw new Error(`${field.dataset.param} is not JSON: ${value}`);
  }
}

function readRequest() {
  const body = { method: form.dataset.method, model: model.value, priority: document.querySelector("#priority").value };
  if (entry) takeTargets();
  if (targets.size) body.targets = [...targets.keys()];
  if (drop) body.images = [...uploads.values()];
  const params = {};
  const preset = form.querySelector("[name=preset]:checked");
  if (preset && !preset.defaultChecked) params.preset = preset.value;
  for (const field of form.querySelectorAll("[data-param]")) {
    const value = readParameter(field);
    if (value !== undefined) params[field.dataset.param] = value;
  }
  if (Object.keys(params).length) body.params = params;
  return body;
}

function show(error) {
  const wrong = (error.problem?.errors ?? []).filter((one) => one.detail !== error.message);
  const items = wrong.map((one) => element("li", {
    textContent: `${one.field}: ${one.detail}${one.allowed == null ? "" : ` (allowed: ${JSON.stringify(one.allowed)})`}`,
  }));
  problem.replaceChildren(element("strong", { textContent: error.message }), element("ul", {}, ...items));
  problem.hidden = false;
  problem.scrollIntoView({ block: "nearest" });
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = form.querySelector("[type=submit]");
  button.disabled = true;
  problem.hidden = true;
  try {
    const headers = { "Content-Type": "application/json" };
    const job = await call("/v1/jobs", { method: "POST", headers, body: JSON.stringify(readRequest()) });
    location.assign(`/jobs/${job.id}`);
  } catch (error) {
    show(error);
  } finally {
    button.disabled = false;
  }
});
