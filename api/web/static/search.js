// Search in class names. A name that several classes have is offered as the index of each.

const MAX_FOUND = 30;

export function listClasses(names) {
  const counts = new Map();
  for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1);
  return names.map((name, index) => (counts.get(name) === 1
    ? { value: name, label: name, index }
    : { value: `#${index}`, label: `${name} #${index}`, index }));
}

// Equal names come first, then those that begin with the text, those with a word that does, and those that contain it.
function rank(label, text) {
  const name = label.toLowerCase();
  if (name === text) return 0;
  if (name.startsWith(text)) return 1;
  if (name.includes(` ${text}`)) return 2;
  return name.includes(text) ? 3 : undefined;
}

export function searchClasses(classes, entered) {
  const text = entered.trim().toLowerCase();
  if (!text) return classes.slice(0, MAX_FOUND);
  const index = /^#(\d+)$/.exec(text);
  if (index) return Number(index[1]) < classes.length ? [{ ...classes[Number(index[1])], value: text }] : [];
  const found = [[], [], [], []];
  for (const entry of classes) found[rank(entry.label, text)]?.push(entry);
  return found.flat().slice(0, MAX_FOUND);
}

export function findExactly(classes, entered) {
  const [first] = searchClasses(classes, entered);
  const text = entered.trim().toLowerCase();
  return first && [first.label.toLowerCase(), first.value.toLowerCase()].includes(text) ? first : undefined;
}
