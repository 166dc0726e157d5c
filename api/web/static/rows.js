// Rows of inputs for lists and nested parameters. The text field below them keeps the JSON, and is shown on request.

import { createElement, createRemoveButton } from "./elements.js";

const words = (name) => name.replaceAll("_", " ");

export function showRows(field) {
  const shape = JSON.parse(field.dataset.rows);
  const rows = createElement("div", { className: "rows", role: "group", ariaLabel: words(field.dataset.param) });
  const toggle = createElement("button", { type: "button", className: "quiet", textContent: "JSON", ariaPressed: "false" });
  toggle.ariaLabel = `${words(field.dataset.param)} as JSON`;
  field.before(rows);
  field.closest(".field").querySelector("label").after(toggle);
  field.hidden = true;

  const write = (value) => {
    field.value = value === null ? "" : JSON.stringify(value);
    field.dispatchEvent(new Event("change", { bubbles: true }));
  };
  const draw = () => {
    const value = read(field.value);
    toggle.hidden = value === undefined; // what rows cannot show is corrected as JSON
    if (value === undefined) field.hidden = false;
    else rows.replaceChildren(...(shape.choices ? drawChoices(shape.choices, value, write, draw) : drawItems(field, shape, value, write, draw)));
    rows.hidden = !field.hidden;
  };
  toggle.addEventListener("click", () => {
    field.hidden = !field.hidden;
    toggle.ariaPressed = String(!field.hidden);
    draw();
  });
  field.addEventListener("written", draw);
  field.addEventListener("input", () => read(field.value) !== undefined && (toggle.hidden = false));
  draw();
}

// The value of the field: null if it is empty, undefined if it is not valid.
function read(text) {
  try {
    return text.trim() ? JSON.parse(text) : null;
  } catch {
    return undefined;
  }
}

function drawChoices(choices, value, write, draw) {
  const chosen = new Set(value ?? []);
  return choices.map((choice) => {
    const box = createElement("input", { type: "checkbox", checked: chosen.has(choice) });
    box.addEventListener("change", (event) => {
      event.stopPropagation();
      if (box.checked) chosen.add(choice);
      else chosen.delete(choice);
      write(choices.filter((each) => chosen.has(each)));
      draw();
    });
    return createElement("label", { className: "choice" }, box, ` ${words(choice)}`);
  });
}

function drawItems(field, shape, value, write, draw) {
  const items = shape.single ? (value ? [value] : []) : (value ?? []);
  const save = () => {
    write(shape.single ? (items[0] ?? null) : items);
  };
  const change = (action) => {
    action();
    save();
    draw();
  };
  const name = words(field.dataset.param);
  const list = items.map((item, number) => {
    const remove = createRemoveButton(`${name} ${number + 1}`, () => change(() => items.splice(number, 1)));
    const inputs = shape.item.variants
      ? drawObject(shape.item.variants, item, name, save, (kind) => change(() => (items[number] = create(shape.item.variants, kind))))
      : [createInput(shape.item.kind, item, `${name} ${number + 1}`, (changed) => {
        items[number] = changed;
        save();
      })];
    return createElement("div", { className: "row" }, ...inputs, remove);
  });
  if (!shape.most || items.length < shape.most) {
    const first = () => (shape.item.variants ? create(shape.item.variants, Object.keys(shape.item.variants)[0]) : shape.item.kind === "number" ? items.length : "");
    const add = createElement("button", { type: "button", className: "quiet", textContent: "Add", ariaLabel: `Add to ${name}` });
    add.addEventListener("click", () => change(() => items.push(first())));
    list.push(add);
  }
  return list;
}

function create(variants, kind) {
  const item = { kind };
  for (const { name, default: value } of variants[kind].fields) if (value !== null && value !== undefined) item[name] = value;
  return item;
}

function drawObject(variants, item, name, save, choose) {
  const select = createElement("select", { ariaLabel: `Kind of ${name}`, title: variants[item.kind]?.about ?? "" });
  for (const kind of Object.keys(variants)) select.append(createElement("option", { value: kind, textContent: words(kind), selected: kind === item.kind }));
  select.addEventListener("change", (event) => {
    event.stopPropagation();
    choose(select.value);
  });
  const inputs = (variants[item.kind]?.fields ?? []).map(({ name: part, kind, about, required }) => {
    const input = createInput(kind, item[part], words(part), (changed) => {
      if (changed === null || changed === "") delete item[part];
      else item[part] = changed;
      save();
    });
    input.required = required;
    return createElement("label", { title: about }, `${words(part)} `, input);
  });
  return [select, ...inputs];
}

function createInput(kind, value, label, change) {
  const isFlag = kind === "flag";
  const type = isFlag ? "checkbox" : kind === "number" ? "number" : "text";
  const input = createElement("input", { type, ariaLabel: label, step: "any" });
  if (isFlag) input.checked = value === true;
  else if (kind === "numbers") input.value = (value ?? []).join(", ");
  else if (kind === "json") input.value = value === undefined || value === null ? "" : JSON.stringify(value);
  else input.value = value ?? "";
  input.addEventListener("change", (event) => {
    event.stopPropagation();
    change(readInput(kind, input));
  });
  return input;
}

function readInput(kind, input) {
  const text = input.value.trim();
  if (kind === "flag") return input.checked;
  if (kind === "text") return text;
  if (!text) return null;
  if (kind === "numbers") return text.split(",").map(Number);
  return kind === "number" ? Number(text) : (read(text) ?? text);
}
