// Boxes over the faces of the photo, each with the number of its answer; either lights the other.
import { $, element } from "./parts.js";

const ROOM = 0.06; // of the photo's height, above a box, for its number

export function clear() {
  $("boxes").replaceChildren();
}

// numbered: whether the photo has several faces. card: the answer of this one.
export function draw(answer, place, numbered, card) {
  const { naturalWidth: width, naturalHeight: height, hidden } = $("photo");
  if (hidden || !width) return;
  const within = (value, most) => Math.min(1, Math.max(0, value / most));
  const [left, right] = [answer.face.box[0], answer.face.box[2]].map((x) => within(x, width));
  const [top, bottom] = [answer.face.box[1], answer.face.box[3]].map((y) => within(y, height));
  const box = element("div", "", ...(numbered ? [element("b", String(place))] : []));
  box.className = "box";
  box.dataset.face = place;
  box.classList.toggle("below", top < ROOM);
  box.classList.toggle("right", left + right > 1);
  Object.assign(box.style, { left: share(left), top: share(top), width: share(right - left), height: share(bottom - top) });
  box.addEventListener("click", () => card.scrollIntoView({ block: "nearest", behavior: "smooth" }));
  const light = (on) => [box, card].forEach((one) => one.classList.toggle("lit", on));
  for (const one of [box, card]) {
    one.addEventListener("pointerenter", () => light(true));
    one.addEventListener("pointerleave", () => light(false));
  }
  card.addEventListener("focusin", () => light(true));
  card.addEventListener("focusout", () => light(false));
  $("boxes").append(box);
  mark(place, answer.outcome);
}

// In the colour of its answer, which an enrolment changes.
export function mark(place, outcome) {
  const box = $("boxes").querySelector(`[data-face="${place}"]`);
  for (const kind of ["match", "ambiguous"]) box?.classList.toggle(kind, kind === outcome);
}

function share(part) {
  return `${100 * part}%`;
}
