// A question in a dialog, which stays, with what was typed, until what was asked for is done.
import { element } from "./parts.js";

const LONGEST_NAME = 200; // characters, as the server has it
let questions = 0;

// entry: null asks yes or no, a text asks for a text. act(given) does what is asked for; what goes
// wrong with it is said in the dialog. Answers with what act does, or with null.
export function ask(question, yes, { entry = null, what = "Name", names = [], secret = false, wrong = "", act = (given) => given } = {}) {
  const [title, said, list] = ["question", "wrong", "names"].map((part) => `${part}-${++questions}`);
  const input = Object.assign(element("input"), { type: secret ? "password" : "text", value: entry ?? "", autocomplete: "off" });
  input.setAttribute("aria-describedby", said);
  const agree = Object.assign(element("button", yes), { className: "yes" });
  const cancel = Object.assign(element("button", "Cancel"), { type: "button", className: "quiet", autofocus: entry === null });
  const error = Object.assign(element("p", wrong), { id: said, className: "wrong", role: "alert" });
  const form = element("form", "", Object.assign(element("p", question), { id: title, className: "question" }));
  if (entry !== null) {
    form.append(element("label", what, input));
    if (names.length) {
      form.append(Object.assign(element("datalist", "", ...names.map((name) => Object.assign(element("option"), { value: name }))), { id: list }));
      input.setAttribute("list", list);
    }
  }
  form.append(error, Object.assign(element("p", "", agree, cancel), { className: "row" }));
  const dialog = element("dialog", "", form);
  dialog.setAttribute("aria-labelledby", title);
  document.body.append(dialog);
  return new Promise((resolve) => {
    let answer = null;
    let busy = false;
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      if (busy) return;
      busy = true;
      agree.textContent = "Working ...";
      error.textContent = "";
      try {
        answer = await act(entry === null ? true : input.value.trim());
        dialog.close();
      } catch (failed) {
        error.textContent = failed.message;
        input.setAttribute("aria-invalid", "true");
        if (entry !== null) input.focus();
      } finally {
        busy = false;
        agree.textContent = yes;
      }
    });
    cancel.addEventListener("click", () => busy || dialog.close());
    dialog.addEventListener("cancel", (event) => busy && event.preventDefault());
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(answer);
    });
    dialog.showModal();
    if (entry !== null) input.select();
  });
}

// The server's rules for a name, asked before a photo is sent with it.
export function checkedName(name) {
  const length = [...name.normalize("NFC")].length;
  if (!length) throw new Error("The name is empty; give the person a name.");
  if (length > LONGEST_NAME) throw new Error(`The name has ${length} characters, more than the limit of ${LONGEST_NAME}; shorten it.`);
  if (/[/\\]/.test(name)) throw new Error("The name has a slash; leave it out.");
  return name;
}
