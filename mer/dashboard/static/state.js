"use strict";
// What is chosen on a page stands in its address, after the #: it can be copied, and the back button works.

const listeners = [];

function readState() {
  return new URLSearchParams(location.hash.slice(1));
}

// Change some keys; an empty value removes one. `replace` makes no new step for the back button.
function writeState(changes, replace = false) {
  const state = readState();
  for (const [key, value] of Object.entries(changes)) {
    state.delete(key);
    for (const each of [value].flat()) if (each) state.append(key, each);
  }
  const address = location.href.split("#")[0];
  const hash = state.toString();
  history[replace ? "replaceState" : "pushState"](null, "", hash ? `${address}#${hash}` : address);
  applyState();
}

function onState(listener) {
  listeners.push(listener);
}

function applyState() {
  const state = readState();
  for (const listener of listeners) listener(state);
}

// Form fields with data-filter="<key>" are that key. Typing makes no steps, choosing does.
function bindFilters(form) {
  const fields = [...form.querySelectorAll("[data-filter]")];
  for (const field of fields) {
    const typed = field.type === "search";
    field.addEventListener(typed ? "input" : "change", () => {
      writeState({ [field.dataset.filter]: field.value.trim() }, typed);
    });
  }
  form.addEventListener("submit", (event) => event.preventDefault());
  form.querySelector("#clear")?.addEventListener("click", () => {
    writeState(Object.fromEntries(fields.map((field) => [field.dataset.filter, ""])));
  });
  onState((state) => {
    for (const field of fields) {
      const value = state.get(field.dataset.filter) ?? "";
      // Not while somebody types: the cursor would jump.
      if (field.value.trim() !== value) field.value = value;
      // What an address names and the page does not have.
      if (field.tagName === "SELECT" && field.selectedIndex < 0) field.value = "";
    }
  });
}

addEventListener("popstate", applyState);
addEventListener("hashchange", applyState);
