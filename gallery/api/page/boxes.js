// Numbered boxes over the faces of the photo. A box and its card highlight each other.
import { $, element } from "./elements.js";

const LABEL_HEIGHT = 0.06; // of the photo's height

export function clear() {
  $("boxes").replaceChildren();
}

// isNumbered: whether the photo has several faces. card: the list item of this face.
export function draw(decision, place, isNumbered, card) {
  const { naturalWidth: width, naturalHeight: height, hidden } = $("photo");
  if (hidden || !width) return;
  const clamp = (value, size) => Math.min(1, Math.max(0, value / size));
  const [left, right] = [decision.face.box[0], decision.face.box[2]].map((x) => clamp(x, width));
  const [top, bottom] = [decision.face.box[1], decision.face.box[3]].map((y) => clamp(y, height));
  const box = element("div", "", ...(isNumbered ? [element("b", String(place))] : []));
  box.className = "box";
  box.dataset.face = place;
  box.classList.toggle("below", top < LABEL_HEIGHT);
  box.classList.toggle("right", left + right > 1);
  Object.assign(box.style, { left: cssPercent(left), top: cssPercent(top), width: cssPercent(right - left), height: cssPercent(bottom - top) });
  box.addEventListener("click", () => card.scrollIntoView({ block: "nearest", behavior: "smooth" }));
  const highlight = (isOn) => [box, card].forEach((node) => node.classList.toggle("lit", isOn));
  for (const node of [box, card]) {
    node.addEventListener("pointerenter", () => highlight(true));
    node.addEventListener("pointerleave", () => highlight(false));
  }
  card.addEventListener("focusin", () => highlight(true));
  card.addEventListener("focusout", () => highlight(false));
  $("boxes").append(box);
  mark(place, decision.outcome);
}

// Colour a box by its outcome.
export function mark(place, outcome) {
  const box = $("boxes").querySelector(`[data-face="${place}"]`);
  for (const kind of ["match", "ambiguous"]) box?.classList.toggle(kind, kind === outcome);
}

function cssPercent(share) {
  return `${100 * share}%`;
}
