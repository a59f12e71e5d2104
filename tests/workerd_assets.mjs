// Serves folders by Cloudflare's own router and asset service in workerd, as `wrangler dev` would, each on a port.
// Takes Miniflare's module and a list of {name, directory, htmlHandling, notFoundHandling} as JSON; prints the ports as
// JSON; ends with its standard input.
const [miniflare, sites, compatibilityDate] = process.argv.slice(2);
const { Miniflare, Log, LogLevel } = await import(miniflare);
const manifest = { mainModule: "none.mjs", modules: { "none.mjs": { type: "esm", contents: "export default {}" } } };
const running = new Miniflare({
  port: 0,
  log: new Log(LogLevel.ERROR),
  workers: JSON.parse(sites).map(({ name, ...assets }) => ({
    config: { name, compatibilityDate, assets: { ...assets, hasUserWorker: false }, manifest },
    dev: { unsafeDirectSockets: [{ host: "127.0.0.1", port: 0, serviceName: `assets:router:${name}` }] },
  })),
});
await running.ready;
const ports = {};
for (const { name } of JSON.parse(sites)) ports[name] = Number((await running.unsafeGetDirectURL(name)).port);
console.log(JSON.stringify(ports));
process.stdin.resume().on("end", () => running.dispose());
