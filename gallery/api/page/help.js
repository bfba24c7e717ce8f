// Help opens the topic of the guide that belongs to the current view.
const topics = { query: "page", people: "page", duplicates: "dedupe", accuracy: "accuracy" };
const help = document.getElementById("help");

help.addEventListener("click", () => {
  const view = document.querySelector("[data-view][aria-current]").dataset.view;
  help.href = `guide/${topics[view] ?? "page"}`;
});
