// Images of a job at a larger size: arrows change the image, plus and minus zoom, Escape closes.

const LARGEST_ZOOM = 16;

const dialog = document.querySelector("#lightbox");
const stage = document.querySelector("#lightbox-stage");
const title = document.querySelector("#lightbox-title");
const output = document.querySelector("#lightbox-zoom");

let position = 0;
let zoom = 0; // 0: as large as the window allows

// Hidden images, such as those in closed details, are left out.
function listSlides() {
  return [...document.querySelectorAll(".slide")].filter((slide) => slide.checkVisibility());
}

function findSize(shown) {
  const images = [...shown.querySelectorAll("img")];
  const image = images.at(-1); // of a map over its image, the map
  return [image.naturalWidth || image.clientWidth, image.naturalHeight || image.clientHeight];
}

function resize() {
  const shown = stage.firstElementChild;
  const [width, height] = findSize(shown);
  const fit = Math.min(stage.clientWidth / width, stage.clientHeight / height);
  const scale = zoom || fit;
  shown.style.width = `${Math.max(1, Math.floor(width * scale))}px`;
  stage.classList.toggle("pixels", scale >= 2);
  output.textContent = `${Math.round(scale * 100)} %`;
}

function show(number) {
  const slides = listSlides();
  position = (number + slides.length) % slides.length;
  const slide = slides[position];
  const shown = document.createElement("div");
  shown.className = slide.classList.contains("layers") ? "layers" : "";
  shown.style.aspectRatio = slide.style.aspectRatio;
  for (const image of slide.querySelectorAll("img")) shown.append(image.cloneNode());
  for (const image of shown.children) {
    image.removeAttribute("loading");
    image.addEventListener("load", resize);
  }
  stage.replaceChildren(shown);
  title.textContent = `${slide.dataset.title} (${position + 1} of ${slides.length})`;
  zoom = 0;
  resize();
}

function changeZoom(factor) {
  const current = zoom || Number.parseFloat(output.textContent) / 100;
  const wanted = factor > 1 ? 2 ** Math.floor(Math.log2(current) + 1) : 2 ** Math.ceil(Math.log2(current) - 1);
  zoom = Math.min(LARGEST_ZOOM, Math.max(1 / 8, wanted));
  resize();
}

const actions = {
  ArrowRight: () => show(position + 1),
  ArrowLeft: () => show(position - 1),
  Home: () => show(0),
  End: () => show(-1),
  "+": () => changeZoom(2),
  "=": () => changeZoom(2),
  "-": () => changeZoom(1 / 2),
  0: () => {
    zoom = 0;
    resize();
  },
};

if (dialog) {
  for (const slide of document.querySelectorAll(".slide")) {
    if (!slide.href) {
      slide.tabIndex = 0;
      slide.role = "button";
      slide.ariaLabel = `Enlarge ${slide.dataset.title}`;
      slide.addEventListener("keydown", (event) => {
        if (event.key === "Enter") slide.click();
      });
    }
    slide.addEventListener("click", (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      dialog.showModal();
      show(listSlides().indexOf(slide));
      stage.focus();
    });
  }
  dialog.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !actions[event.key]) return;
    event.preventDefault();
    actions[event.key]();
  });
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close();
  });
  document.querySelector("#lightbox-previous").addEventListener("click", actions.ArrowLeft);
  document.querySelector("#lightbox-next").addEventListener("click", actions.ArrowRight);
  document.querySelector("#lightbox-in").addEventListener("click", actions["+"]);
  document.querySelector("#lightbox-out").addEventListener("click", actions["-"]);
  document.querySelector("#lightbox-close").addEventListener("click", () => dialog.close());
  window.addEventListener("resize", () => {
    if (dialog.open) resize();
  });
}
