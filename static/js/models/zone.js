/** The cookie by which the server shows days and times as they are here (chatapp/web/middleware.py). */
export function zoneCookie(zone, secure) {
  return `tz=${zone}; path=/; max-age=31536000; samesite=lax${secure ? "; secure" : ""}`;
}

/** On every page, since people travel. */
export function tellZone() {
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  if (zone) document.cookie = zoneCookie(zone, location.protocol === "https:");
}
