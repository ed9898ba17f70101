import { Api, csrfToken } from "models/api";
import { hearTabs, tellTabs } from "models/tabs";

const { person } = document.documentElement.dataset;

/** Save one preference of this page's person, for all their open tabs. Throws what the server says against it. */
export async function savePreference(name, value) {
  await new Api({ base: "/api/v1/", token: csrfToken() }).patch("me/preferences/", { [name]: value });
  tellTabs("preference", { person, name, value });
}

/** What the person changes in another tab is told on this page as preference:told ({name, value}). */
export function followPreferences() {
  tellTabs("here", { person });
  hearTabs("preference", ({ person: whose, name, value }) => {
    if (whose === person) dispatchEvent(new CustomEvent("preference:told", { detail: { name, value } }));
  });
}
