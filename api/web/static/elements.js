// Helpers that build elements of the form.

export function createElement(name, properties = {}, ...children) {
  const node = Object.assign(document.createElement(name), properties);
  node.append(...children);
  return node;
}

export function createRemoveButton(label, remove) {
  return createElement("button", { type: "button", textContent: "×", ariaLabel: `Remove ${label}`, onclick: remove });
}
