// Elements shared by all views: buttons, rows, the status line, and text formats.
export const $ = (id) => document.getElementById(id);

export function element(tag, text, ...children) {
  const node = document.createElement(tag);
  if (text) node.textContent = text;
  node.append(...children);
  return node;
}

// The status line, which screen readers read out. kind: "bad", "warn" or "".
export function showStatus(text, { kind = "", buttons = [] } = {}) {
  $("note").replaceChildren(text);
  $("note").className = kind;
  for (const item of buttons) $("note").append(" ", item);
}

export function button(text, label, action, quiet = true) {
  const node = element("button", text);
  node.type = "button";
  node.setAttribute("aria-label", label);
  node.className = quiet ? "quiet" : "";
  node.addEventListener("click", handler(action));
  return node;
}

export function row(...buttons) {
  return Object.assign(element("p", "", ...buttons), { className: "row" });
}

// An event handler that shows errors in the status line. Its button is disabled while it runs;
// then the button, or the status line if the button is gone, gets the focus back.
export function handler(action) {
  return async (event) => {
    const pressed = event?.currentTarget instanceof HTMLButtonElement ? event.currentTarget : null;
    if (pressed) pressed.disabled = true;
    try {
      await action(event);
    } catch (error) {
      showStatus(error.message, { kind: "bad" });
    } finally {
      if (pressed) {
        pressed.disabled = false;
        const isFocusLost = [null, document.body, pressed].includes(document.activeElement);
        if (isFocusLost) (pressed.checkVisibility() ? pressed : $("note")).focus();
      }
    }
  };
}

// Never 100%: no decision is certain.
export function percent(value) {
  return `${Math.min(99.9, 100 * value).toFixed(1)}%`;
}

// A reason of the server, with probabilities formatted as on the rest of the page.
export function withPercent(reason) {
  return reason.replace(/\((\d+)%, by /g, (_, share) => `(${percent(share / 100)}, by `);
}

export function sentence(text) {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
}

// A photo's base name. It may wrap between words, but the last word stays with its extension.
export function fileLabel(photo) {
  const name = baseName(photo);
  const label = Object.assign(element("span"), { className: "file", title: name });
  const words = name.split(/(?<=[-_ ])/);
  const last = Object.assign(element("span", words.pop()), { className: "whole" });
  label.append(...words.flatMap((word) => [word, element("wbr")]), last);
  return label;
}

export function baseName(photo) {
  return photo.split(/[\\/]/).pop();
}

export function formatDate(time) {
  return new Date(time).toLocaleDateString("en-GB", { dateStyle: "medium" });
}

export function plural(number, singular, many = `${singular}s`) {
  return `${number} ${number === 1 ? singular : many}`;
}
