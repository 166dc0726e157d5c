// The sliders of a comparison move together: frames of optimizations, and the opacity of maps.

let isMoving = false;

for (const pairs of document.querySelectorAll(".pairs")) {
  pairs.addEventListener("input", ({ target }) => {
    if (isMoving || target.type !== "range") return;
    isMoving = true;
    const share = target.value / (target.max || 100);
    for (const other of target.closest(".pair").querySelectorAll('input[type="range"]')) {
      if (other === target || other.className !== target.className) continue;
      other.value = Math.round(share * (other.max || 100));
      other.dispatchEvent(new Event("input", { bubbles: true }));
    }
    isMoving = false;
  });
}
