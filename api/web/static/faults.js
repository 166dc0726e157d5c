// Errors of a request next to the fields that they are about. The first one is brought into view.

import { createElement } from "./elements.js";

const form = document.querySelector("#job");
const summary = document.querySelector("#problem");

// The field of a JSON pointer such as /params/steps or /targets/0.
function findField(pointer) {
  const [, name, parameter] = pointer.split("/");
  if (name === "params") return form.querySelector(`[data-param="${CSS.escape(parameter ?? "")}"]`);
  return { targets: document.querySelector("#target"), images: document.querySelector("#images") }[name]
    ?? document.querySelector(`#job select#${CSS.escape(name ?? "")}, #job input#${CSS.escape(name ?? "")}`);
}

function write({ detail, allowed }) {
  const values = Array.isArray(allowed) ? allowed.join(", ") : JSON.stringify(allowed);
  return `${detail}${allowed == null ? "" : ` (allowed: ${values})`}`;
}

function showAt(field, text) {
  const id = `${field.id}-error`;
  field.ariaInvalid = "true";
  field.setAttribute("aria-errormessage", id);
  const details = field.closest("details");
  if (details) details.open = true;
  field.closest(".field").append(createElement("p", { className: "error", id, textContent: text }));
}

export function clearFaults() {
  summary.hidden = true;
  for (const error of form.querySelectorAll("p.error[id$='-error']")) error.remove();
  for (const field of form.querySelectorAll("[aria-errormessage]")) {
    field.removeAttribute("aria-errormessage");
    field.ariaInvalid = "false";
  }
}

export function showError(error) {
  clearFaults();
  const rest = [];
  let first;
  for (const fault of error.problem?.errors ?? []) {
    const field = findField(fault.field ?? "");
    if (field && !field.closest(".field[hidden]")) {
      showAt(field, write(fault));
      first ??= field;
    } else if (fault.detail !== error.message) {
      rest.push(createElement("li", { textContent: `${fault.field}: ${write(fault)}` }));
    }
  }
  summary.replaceChildren(createElement("strong", { textContent: error.message }), createElement("ul", {}, ...rest));
  summary.hidden = false;
  (first ?? summary).scrollIntoView({ block: "center" });
  first?.focus({ preventScroll: true });
}
