// The parameters of the form: presets fill them in, and parameters that have no effect are hidden.

import { showRows } from "./rows.js";

const form = document.querySelector("#job");
const fields = new Map([...form.querySelectorAll("[data-param]")].map((field) => [field.dataset.param, field]));
const presets = [...form.querySelectorAll("[name=preset]")];

function readText(field) {
  return field.dataset.kind === "flag" ? String(field.checked) : field.value.trim();
}

function writeText(field, text) {
  if (field.dataset.kind === "flag") field.checked = text === "true";
  else field.value = text;
  field.dispatchEvent(new Event("written"));
}

// Whether a field has its default value. JSON may be written with other spaces.
function isDefault(field, text) {
  const { kind, default: standard } = field.dataset;
  if (text === standard || kind !== "json") return text === standard;
  try {
    return JSON.stringify(JSON.parse(text)) === JSON.stringify(JSON.parse(standard));
  } catch {
    return false;
  }
}

// The values of the chosen preset are what the service uses for parameters that the request leaves out.
function setDefaults({ fill }) {
  const chosen = presets.find((choice) => choice.checked);
  if (!chosen) return;
  for (const [name, text] of Object.entries(JSON.parse(chosen.dataset.values))) {
    const field = fields.get(name);
    field.dataset.default = text;
    if (fill) writeText(field, text);
  }
}

function isUsed(field) {
  const { when, is } = field.dataset;
  return !when || JSON.parse(is).includes(fields.get(when).value);
}

function hideUnused() {
  for (const field of fields.values()) field.closest(".field").hidden = !isUsed(field);
}

function parse(field, text) {
  const { kind, param } = field.dataset;
  if (kind === "text") return text;
  if (kind === "choice") return ["true", "false"].includes(text) || /^\d+$/.test(text) ? JSON.parse(text) : text;
  try {
    return JSON.parse(text);
  } catch {
    throw Object.assign(new Error(`${param} is not valid JSON: ${text}`), {
      problem: { errors: [{ field: `/params/${param}`, detail: "not valid JSON" }] },
    });
  }
}

// The parameters that differ from those of the chosen preset.
export function readParameters() {
  const params = {};
  const preset = presets.find((choice) => choice.checked);
  if (preset && !("standard" in preset.dataset)) params.preset = preset.value;
  for (const [name, field] of fields) {
    const text = readText(field);
    if (!isUsed(field) || isDefault(field, text)) continue;
    params[name] = text === "" ? null : parse(field, text);
  }
  return params;
}

for (const choice of presets) {
  choice.addEventListener("change", () => {
    setDefaults({ fill: true });
    hideUnused();
  });
}
form.addEventListener("change", hideUnused);
for (const field of fields.values()) if (field.dataset.rows) showRows(field);
setDefaults({ fill: false }); // the browser may have restored another preset together with the texts
hideUnused();
