// Small parts that every view is made of: elements, buttons, questions, and the line of status.
export const $ = (id) => document.getElementById(id);

export function element(kind, text, ...inside) {
  const made = document.createElement(kind);
  if (text) made.textContent = text;
  made.append(...inside);
  return made;
}

// The line that a screen reader reads out. undo: what a button beside it does.
export function say(text, { bad = false, undo = null } = {}) {
  const note = $("note");
  note.replaceChildren(text);
  note.classList.toggle("bad", bad);
  if (undo) note.append(" ", button("Undo", "Undo that", undo));
}

export function button(text, label, action, quiet = true) {
  const made = element("button", text);
  made.type = "button";
  made.setAttribute("aria-label", label);
  made.className = quiet ? "quiet" : "";
  made.addEventListener("click", guarded(action));
  return made;
}

// What goes wrong is said, not lost. A button cannot be pressed again before it has done its work.
export function guarded(action) {
  return async (event) => {
    const pressed = event?.currentTarget instanceof HTMLButtonElement ? event.currentTarget : null;
    if (pressed) pressed.disabled = true;
    try {
      await action(event);
    } catch (error) {
      say(error.message, { bad: true });
    } finally {
      if (pressed) pressed.disabled = false;
    }
  };
}

// entry: null asks yes or no, a text asks for a text; the answer, or null. named: names with a part of what is typed.
export function ask(question, yes, { entry = null, what = "Name", named = null, secret = false } = {}) {
  $("question").textContent = question;
  $("yes").textContent = yes;
  $("what").textContent = what;
  $("entry").hidden = entry === null;
  $("answer").type = secret ? "password" : "text";
  $("answer").required = entry !== null;
  $("answer").value = entry ?? "";
  const suggest = guarded(async () => {
    const typed = $("answer").value;
    const names = named ? await named(typed) : [];
    if (typed === $("answer").value) $("names").replaceChildren(...names.map((name) => Object.assign(element("option"), { value: name })));
  });
  $("answer").oninput = suggest;
  suggest();
  $("dialog").returnValue = "no";
  $("dialog").showModal();
  return new Promise((resolve) => {
    const done = () => {
      const agreed = $("dialog").returnValue === "yes";
      resolve(agreed ? (entry === null ? true : $("answer").value.trim()) : null);
    };
    $("dialog").addEventListener("close", done, { once: true });
  });
}

export function percent(value) {
  return `${Math.min(99.9, 100 * value).toFixed(1)} %`;
}

// A photo's name without the folders it was in.
export function fileOf(photo) {
  return photo.split(/[\\/]/).pop();
}

export function counted(number, one, many = `${one}s`) {
  return `${number} ${number === 1 ? one : many}`;
}
