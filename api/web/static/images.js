// The images of the form: uploaded at once, or those of the job that fills in the form.

import { createElement, createRemoveButton } from "./elements.js";
import { call } from "./request.js";

const drop = document.querySelector("#drop");
const list = document.querySelector("#uploads");
const images = new Map();

function show(name, source) {
  const picture = source ? [createElement("img", { alt: name, src: source })] : [];
  const item = createElement("li", {}, ...picture, createElement("small", { textContent: name }));
  list.append(item);
  return item;
}

function keep(item, name, value) {
  images.set(item, value);
  item.append(createRemoveButton(name, () => {
    images.delete(item);
    item.remove();
  }));
}

async function upload(file, report) {
  const source = URL.createObjectURL(file);
  const item = show("uploading…", source);
  const body = new FormData();
  body.append("file", file);
  try {
    const { id } = await call("/v1/images", { method: "POST", body, repeatable: true });
    item.querySelector("small").textContent = file.name;
    item.querySelector("img").src = `/v1/images/${id}`;
    keep(item, file.name, id);
  } catch (error) {
    item.remove();
    report(error);
  } finally {
    URL.revokeObjectURL(source);
  }
}

// The images of the request: a list, or an archive or a place of the store, which stands alone.
export function readImages() {
  if (!drop) return undefined;
  const values = [...images.values()];
  return values.find((value) => value.archive || value.prefix) ?? values;
}

export function takeImages(report) {
  if (!drop) return;
  for (const { value, id, name } of JSON.parse(drop.dataset.given)) keep(show(name, id && `/v1/images/${id}`), name, value);
  const input = drop.querySelector("input");
  input.addEventListener("change", () => {
    for (const file of input.files) upload(file, report);
    input.value = "";
  });
  for (const [name, over] of [["dragover", true], ["dragleave", false], ["drop", false]]) {
    drop.addEventListener(name, (event) => {
      event.preventDefault();
      drop.classList.toggle("over", over);
      if (name === "drop") for (const file of event.dataTransfer.files) upload(file, report);
    });
  }
}
