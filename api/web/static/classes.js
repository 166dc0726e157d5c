// The class picker: search in the class names, chosen classes as chips, all classes, or the most probable ones.

import { createElement, createRemoveButton } from "./elements.js";
import { findExactly, listClasses, searchClasses } from "./search.js";

const entry = document.querySelector("#target");
const chips = document.querySelector("#targets");
const list = document.querySelector("#options");
const fault = document.querySelector("#target-fault");
const all = document.querySelector("#all");
const top = document.querySelector("#top");

const targets = new Map();
let classes = entry ? listClasses(JSON.parse(entry.dataset.classes)) : [];
let found = [];
let active = 0;

function add(value) {
  if (targets.has(value)) return;
  const chip = createElement("li", {}, value, createRemoveButton(value, () => {
    targets.delete(value);
    chip.remove();
    entry.focus();
  }));
  targets.set(value, chip);
  chips.append(chip);
}

function explain(text) {
  fault.textContent = text;
  fault.hidden = !text;
  entry.ariaInvalid = text ? "true" : "false";
}

function close() {
  list.hidden = true;
  entry.ariaExpanded = "false";
  entry.removeAttribute("aria-activedescendant");
}

function showOptions() {
  found = searchClasses(classes, entry.value);
  active = 0;
  list.replaceChildren(...found.map(({ label, value }, number) => {
    const option = createElement("li", { id: `option-${number}`, role: "option", textContent: label });
    option.addEventListener("mousedown", (event) => event.preventDefault()); // the entry keeps the focus
    option.addEventListener("click", () => choose(value));
    return option;
  }));
  list.hidden = !found.length;
  entry.ariaExpanded = String(!list.hidden);
  mark();
}

function mark() {
  for (const [number, option] of [...list.children].entries()) option.ariaSelected = String(number === active);
  list.children[active]?.scrollIntoView({ block: "nearest" });
  if (list.children[active]) entry.setAttribute("aria-activedescendant", `option-${active}`);
}

function choose(value) {
  add(value);
  entry.value = "";
  explain("");
  close();
}

// What is entered: a class, or several between commas. Names with commas are not divided.
function addEntered() {
  if (list.hidden) showOptions();
  if (found.length) return choose(found[active].value);
  const unknown = [];
  for (const part of entry.value.split(",").map((text) => text.trim()).filter(Boolean)) {
    const match = findExactly(classes, part);
    if (match) add(match.value);
    else unknown.push(part);
  }
  entry.value = unknown.join(", ");
  explain(unknown.length ? `No class of this model contains “${unknown[0]}”.` : "");
  close();
}

// The targets of the request. Unknown names are sent too: the service says which names are similar.
export function readTargets() {
  if (!entry) return undefined;
  if (all?.checked) return "all";
  const whole = findExactly(classes, entry.value);
  const texts = whole ? [whole.value] : entry.value.split(",").map((text) => text.trim()).filter(Boolean);
  const entered = texts.map((text) => findExactly(classes, text)?.value ?? text);
  const values = [...new Set([...targets.keys(), ...entered])];
  if (values.length) return values;
  return top?.value ? { top: Number(top.value) } : undefined;
}

export function useClasses(names) {
  if (!entry) return;
  classes = listClasses(names);
  for (const chip of targets.values()) chip.remove();
  targets.clear();
  entry.placeholder = classes[0].value;
}

const keys = {
  ArrowDown: () => {
    if (list.hidden) return showOptions();
    active = Math.min(active + 1, found.length - 1);
    mark();
  },
  ArrowUp: () => {
    active = Math.max(active - 1, 0);
    mark();
  },
  Escape: close,
};

function endsEntry(event) {
  if (!entry.value.trim()) return false;
  return event.key === "Enter" || (event.key === "," && !searchClasses(classes, `${entry.value},`).length);
}

if (entry) {
  for (const target of JSON.parse(entry.dataset.given)) add(target);
  entry.addEventListener("focus", showOptions);
  entry.addEventListener("blur", close);
  entry.addEventListener("input", () => {
    explain("");
    showOptions();
  });
  entry.addEventListener("keydown", (event) => {
    if (endsEntry(event)) {
      event.preventDefault();
      addEntered();
    } else if (keys[event.key]) {
      event.preventDefault();
      keys[event.key]();
    } else if (event.key === "Backspace" && !entry.value && targets.size) {
      [...targets.values()].at(-1).querySelector("button").click();
    }
  });
  all?.addEventListener("change", () => {
    document.querySelector(".chips").hidden = all.checked;
  });
}
