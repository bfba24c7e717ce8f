// A dialog that stays open, with its input, until its action succeeds.
import { element } from "./elements.js";

const MAX_NAME_LENGTH = 200; // characters, as on the server
let count = 0;

// entry: the initial text, or null for a dialog without input. act(text): the action; its errors are
// shown in the dialog. choices: further buttons, each with its result. Resolves to the result, or null
// if cancelled.
export function ask(question, yes, { entry = null, label = "Name", names = [], choices = [], isSecret = false, message = "", act = (text) => text } = {}) {
  const [title, errorId, list] = ["question", "wrong", "names"].map((part) => `${part}-${++count}`);
  const input = Object.assign(element("input"), { type: isSecret ? "password" : "text", value: entry ?? "", autocomplete: "off" });
  input.setAttribute("aria-describedby", errorId);
  const confirm = Object.assign(element("button", yes), { className: "yes" });
  const cancel = Object.assign(element("button", "Cancel"), { type: "button", className: "quiet", autofocus: entry === null });
  const error = Object.assign(element("p", message), { id: errorId, className: "wrong", role: "alert" });
  const form = element("form", "", Object.assign(element("p", question), { id: title, className: "question" }));
  if (entry !== null) {
    form.append(element("label", label, input));
    if (names.length) {
      form.append(Object.assign(element("datalist", "", ...names.map((name) => Object.assign(element("option"), { value: name }))), { id: list }));
      input.setAttribute("list", list);
    }
  }
  const further = choices.map(([text]) => Object.assign(element("button", text), { type: "button" }));
  form.append(error, Object.assign(element("p", "", confirm, ...further, cancel), { className: "row" }));
  const dialog = element("dialog", "", form);
  dialog.setAttribute("aria-labelledby", title);
  document.body.append(dialog);
  return new Promise((resolve) => {
    let result = null;
    let isBusy = false;
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      if (isBusy) return;
      isBusy = true;
      confirm.textContent = "Working ...";
      error.textContent = "";
      try {
        result = await act(entry === null ? true : input.value.trim());
        dialog.close();
      } catch (failure) {
        error.textContent = failure.message;
        input.setAttribute("aria-invalid", "true");
        if (entry !== null) input.focus();
      } finally {
        isBusy = false;
        confirm.textContent = yes;
      }
    });
    further.forEach((choice, index) => choice.addEventListener("click", () => {
      result = choices[index][1];
      dialog.close();
    }));
    cancel.addEventListener("click", () => isBusy || dialog.close());
    dialog.addEventListener("cancel", (event) => isBusy && event.preventDefault());
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(result);
    });
    dialog.showModal();
    if (entry !== null) input.select();
  });
}

// The server's rules for names, checked before a photo is uploaded.
export function validName(name) {
  const length = [...name.normalize("NFC")].length;
  if (!length) throw new Error("Enter a name.");
  if (length > MAX_NAME_LENGTH) throw new Error(`The name is too long: ${length} characters, at most ${MAX_NAME_LENGTH} are allowed.`);
  if (/[/\\]/.test(name)) throw new Error("A name cannot contain a slash.");
  return name;
}
