// The form of a new job.

import { readTargets, useClasses } from "./classes.js";
import { clearFaults, showError } from "./faults.js";
import { readImages, takeImages } from "./images.js";
import { readParameters } from "./parameters.js";
import { call, makeKey } from "./request.js";

const form = document.querySelector("#job");
const model = document.querySelector("#model");

model.addEventListener("change", async () => {
  try {
    const { class_names: names, capabilities } = await call(`/v1/models/${encodeURIComponent(model.value)}`);
    useClasses(names);
    useCapabilities(capabilities ?? []);
  } catch (error) {
    showError(error);
  }
});

// Methods and kinds that the network cannot run are disabled, with the reason.
function useCapabilities(capabilities) {
  const reasons = new Map();
  for (const { method, kind, available, reason } of capabilities) if (!available) reasons.set(`${method}/${kind ?? ""}`, reason);
  for (const link of document.querySelectorAll(".methods [data-method]")) {
    const reason = reasons.get(`${link.dataset.method}/`);
    const address = new URL(link.dataset.href, location);
    address.searchParams.set("model", model.value);
    if (reason) link.removeAttribute("href");
    else link.href = address.pathname + address.search;
    link.ariaDisabled = reason ? "true" : null;
    link.title = reason ?? "";
  }
  for (const option of document.querySelectorAll("#param-kind option")) {
    const reason = reasons.get(`saliency/${option.value}`);
    option.disabled = Boolean(reason);
    option.textContent = option.value.replaceAll("_", " ") + (reason ? ` (${reason})` : "");
  }
}

function readRequest() {
  const body = { method: form.dataset.method, model: model.value, priority: document.querySelector("#priority").value };
  const tags = document.querySelector("#tags").value.split(",").map((tag) => tag.trim()).filter(Boolean);
  const fields = { targets: readTargets(), images: readImages(), tags: tags.length ? tags : undefined };
  for (const [name, value] of Object.entries(fields)) if (value !== undefined) body[name] = value;
  const params = readParameters();
  if (Object.keys(params).length) body.params = params;
  return body;
}

takeImages(showError);

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = form.querySelector("[type=submit]");
  button.disabled = true;
  clearFaults();
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
