const root = new URL("../../../static/js/", import.meta.url);

export async function resolve(specifier, context, next) {
  if (!/^(models|vendor|controllers)\//.test(specifier)) return next(specifier, context);
  return { url: new URL(`${specifier}.js`, root).href, format: "module", shortCircuit: true };
}
