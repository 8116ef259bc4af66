/** Who is here: signing in and out, and the company whose conversations are shown. */

import { askToken } from "./dialogs.js";
import { byId, element } from "./dom.js";
import { recall, remember } from "./storage.js";

/** @type {(api: () => Api) => () => void} gives what asks for a token, once */
export const createSignIn = (api) => {
  let isAsking = false;
  return () => {
    if (isAsking) return;
    isAsking = true;
    askToken(async (token) => {
      await api().signIn(token);
      location.reload();
    });
  };
};

/** @param {Session} session @returns {string} its id */
export function chooseCompany({ companies }) {
  const ids = companies.map(({ id }) => id);
  const companyId = ids.includes(recall("company")) ? recall("company") : ids[0];
  const label = byId("company", HTMLLabelElement);
  const select = element("select", {
    change: () => {
      remember("company", select.value);
      location.assign("/");
    },
  });
  select.append(...ids.map((id) => element("option", { value: id, selected: id === companyId }, id.slice(0, 8))));
  label.append(select);
  label.hidden = ids.length < 2;
  return companyId;
}

/** @param {Api} api @param {Session} session */
export function offerSignOut(api, { mode }) {
  const button = byId("sign-out", HTMLButtonElement);
  button.hidden = mode !== "authenticated";
  button.addEventListener("click", () => api.signOut().finally(() => location.assign("/")));
}
