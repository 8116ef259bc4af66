/** Who is here: signing in and out, and the company whose conversations are shown. */

import { element } from "./dom.js";
import { loadDialogs } from "./later.js";
import { recall, remember } from "./storage.js";

/** @type {(api: () => Api) => () => void} gives what asks for a token, unless it is being asked for */
export const createSignIn = (api) => {
  let isAsking = false;
  /** @param {string} token */
  const signIn = async (token) => {
    await api().signIn(token);
    location.reload();
  };
  /** The next request that is refused asks again. */
  const onClose = () => {
    isAsking = false;
  };
  return async () => {
    if (isAsking) return;
    isAsking = true;
    await loadDialogs().then(({ askToken }) => askToken(signIn, onClose), onClose);
  };
};

/** @type {(parts: PageParts, session: Session) => string} gives its id */
export const chooseCompany = ({ company }, { companies }) => {
  const ids = companies.map(({ id }) => id);
  const companyId = ids.includes(recall("company")) ? recall("company") : ids[0];
  const select = element("select", {
    change: () => {
      remember("company", select.value);
      location.assign("/");
    },
  });
  select.append(...ids.map((id) => element("option", { value: id, selected: id === companyId }, id.slice(0, 8))));
  company.append(select);
  company.hidden = ids.length < 2;
  return companyId;
};

/** @type {(parts: PageParts, api: Api, session: Session) => void} */
export const offerSignOut = ({ signOut }, api, { mode }) => {
  signOut.hidden = mode !== "authenticated";
  signOut.addEventListener("click", () => api.signOut().finally(() => location.assign("/")));
};
