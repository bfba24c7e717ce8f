// Small parts that every view is made of: elements, buttons, and the line of status.
export const $ = (id) => document.getElementById(id);

export function element(kind, text, ...inside) {
  const made = document.createElement(kind);
  if (text) made.textContent = text;
  made.append(...inside);
  return made;
}

// The line that a screen reader reads out. kind: "bad", "warn" or nothing; offers: buttons beside it.
export function say(text, { kind = "", offers = [] } = {}) {
  $("note").replaceChildren(text);
  $("note").className = kind;
  for (const offer of offers) $("note").append(" ", offer);
}

export function button(text, label, action, quiet = true) {
  const made = element("button", text);
  made.type = "button";
  made.setAttribute("aria-label", label);
  made.className = quiet ? "quiet" : "";
  made.addEventListener("click", guarded(action));
  return made;
}

export function row(...buttons) {
  const made = element("p", "", ...buttons);
  made.className = "row";
  return made;
}

// What goes wrong is said, not lost. A button cannot be pressed again before it has done its work;
// then it has the focus again, or the line of status when the button is gone.
export function guarded(action) {
  return async (event) => {
    const pressed = event?.currentTarget instanceof HTMLButtonElement ? event.currentTarget : null;
    if (pressed) pressed.disabled = true;
    try {
      await action(event);
    } catch (error) {
      say(error.message, { kind: "bad" });
    } finally {
      if (pressed) {
        pressed.disabled = false;
        const lost = [null, document.body, pressed].includes(document.activeElement);
        if (lost) (pressed.checkVisibility() ? pressed : $("note")).focus();
      }
    }
  };
}

// Never 100 %: nothing here is certain. With a space that is not broken.
export function percent(value) {
  return `${Math.min(99.9, 100 * value).toFixed(1)}\u00a0%`;
}

// What the server says, with probabilities as everywhere here.
export function plain(reason) {
  return reason.replace(/\((\d+)%, by /g, (_, share) => `(${percent(share / 100)}, by `);
}

export function sentence(text) {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
}

// A photo's name without the folders it was in, to be broken between words, the last with its ".jpg".
export function fileName(photo) {
  const name = fileOf(photo);
  const made = Object.assign(element("span"), { className: "file", title: name });
  const words = name.split(/(?<=[-_ ])/);
  const last = Object.assign(element("span", words.pop()), { className: "whole" });
  made.append(...words.flatMap((word) => [word, element("wbr")]), last);
  return made;
}

export function fileOf(photo) {
  return photo.split(/[\\/]/).pop();
}

export function day(moment) {
  return new Date(moment).toLocaleDateString("en-GB", { dateStyle: "medium" });
}

export function counted(number, one, many = `${one}s`) {
  return `${number} ${number === 1 ? one : many}`;
}
