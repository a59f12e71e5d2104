"""Small apps to deploy: each function returns a tree {path: content}, `write` puts one into a folder.

The broken ones have as few dependencies as their fault allows. Lock files were made by the real
package managers and lie in `data/`; a lock belongs to the `dependencies` and `devDependencies` of
its app, so change both together.
"""

import json
import struct
import zlib
from pathlib import Path
from textwrap import dedent

Tree = dict[str, bytes]

_DATA = Path(__file__).parent / "data"
_VITE = {"vite": "^8.3.8"}
_REACT = {"react": "^19.3.1", "react-dom": "^19.3.1"}
_REACT_TOOLS = {
    "@types/react": "^19.3.0",
    "@types/react-dom": "^19.3.0",
    "@vitejs/plugin-react": "^6.3.0",
    "typescript": "^7.0.2",
} | _VITE


def write(tree: Tree, folder: Path) -> Path:
    """Write the tree below `folder`, which is made if needed, and return `folder`."""
    for path, content in tree.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    return folder


def react_ts() -> Tree:
    """Vite, React and TypeScript, locked by npm: must complete from `dist`.

    The page's title is "React app", its heading, drawn by React, "Hello from React".
    """
    return {
        "package.json": _package("tsc --noEmit && vite build", _REACT, _REACT_TOOLS),
        "package-lock.json": _lock("react-ts.package-lock.json"),
        "tsconfig.json": _json(_TSCONFIG),
        "vite.config.ts": _text("""
            import react from "@vitejs/plugin-react";
            import { defineConfig } from "vite";

            export default defineConfig({ plugins: [react()] });
        """),
        "index.html": _page("React app", '<div id="root"></div><script type="module" src="/src/main.tsx"></script>'),
        "src/main.tsx": _text("""
            import { createRoot } from "react-dom/client";
            import { App } from "./App";

            createRoot(document.getElementById("root")!).render(<App />);
        """),
        "src/App.tsx": _text("""
            export const App = () => <h1>Hello from React</h1>;
        """),
    }


def static_html() -> Tree:
    """A folder of HTML without package.json: must complete with exactly these files, no install, no build."""
    return {
        "index.html": _page("Static site", '<h1>Hello, static</h1><img src="images/dot.png" alt="">'),
        "about/index.html": _page("About", "<h1>About</h1>"),
        "404.html": _page("Not found", "<h1>Nothing here</h1>"),
        "style.css": b"h1 { color: teal }\n",
        "images/dot.png": _png(),
        "überblick.txt": b"Ein Name mit Umlaut.\n",
    }


def pnpm_app() -> Tree:
    """Vite without a framework, locked by pnpm: must complete from `dist` with the heading "Hello from pnpm"."""
    return _vanilla("pnpm") | {"pnpm-lock.yaml": _lock("vanilla.pnpm-lock.yaml")}


def bun_app() -> Tree:
    """Vite without a framework, locked by bun: must complete from `dist` with the heading "Hello from bun"."""
    return _vanilla("bun") | {"bun.lock": _lock("vanilla.bun.lock")}


def hono() -> Tree:
    """A Worker by Hono with a page of Vite beside it: must complete, from `dist` and `src/worker.ts`.

    `/api/hello` answers `{"hello": …}` from a variable of the configuration; `/api/node` with a module of Node's;
    `/api/words` with a text that is a module of its own. The page shows what `/api/hello` says, at every address.
    """
    return {
        "package.json": _package("vite build", {"hono": "^4.10.0"}, _VITE),
        "wrangler.jsonc": _text("""
            {
              // a Worker, and the page beside it
              "name": "hono-app",
              "main": "src/worker.ts",
              "compatibility_date": "2025-10-01",
              "compatibility_flags": ["nodejs_compat"],
              "vars": { "NAME": "Hono" },
              "assets": {
                "directory": "./dist",
                "binding": "ASSETS",
                "not_found_handling": "single-page-application",
              },
            }
        """),
        "src/worker.ts": _text("""
            import { Hono } from "hono";
            import { createHash } from "crypto";
            import words from "./words.txt";

            type Env = { NAME: string; SECRET?: string };
            const app = new Hono<{ Bindings: Env }>();

            app.get("/api/hello", (context) => context.json({ hello: context.env.NAME, secret: context.env.SECRET }));
            app.get("/api/node", (context) => context.text(createHash("sha256").update("x").digest("hex")));
            app.get("/api/words", (context) => context.text(words));

            export default app;
        """),
        "src/words.txt": b"words of a file",
        "index.html": _page("Hono app", '<h1></h1><script type="module" src="/src/main.js"></script>'),
        "public/favicon.ico": b"",
        "src/main.js": _text("""
            const answer = await fetch("/api/hello");
            document.querySelector("h1").textContent = `Hello from ${(await answer.json()).hello}`;
        """),
    }


def react_router() -> Tree:
    """Server-rendered by React Router on Cloudflare's Vite plugin: must complete, as its build says.

    `/` is rendered by the Worker with a variable of the configuration; its scripts are static files. Only the build
    can make the Worker, for its entry imports what Vite makes up.
    """
    versions = {"react": "^19.2.0", "react-dom": "^19.2.0", "react-router": "^7.18.0", "isbot": "^5.1.0"}
    tools = {"@cloudflare/vite-plugin": "^1.60.0", "@react-router/dev": "^7.18.0", "vite": "^7.0.0"}
    tools |= {"wrangler": "^4.151.0", "typescript": "^5.9.0"}
    return {
        "package.json": _package("react-router build", versions, tools),
        "vite.config.ts": _text("""
            import { reactRouter } from "@react-router/dev/vite";
            import { cloudflare } from "@cloudflare/vite-plugin";
            import { defineConfig } from "vite";

            export default defineConfig({ plugins: [cloudflare({ viteEnvironment: { name: "ssr" } }), reactRouter()] });
        """),
        "react-router.config.ts": b"export default { ssr: true, future: { v8_viteEnvironmentApi: true } };\n",
        "wrangler.jsonc": _text("""
            {
              "name": "react-router-app",
              "main": "./workers/app.ts",
              "compatibility_date": "2025-10-01",
              "vars": { "NAME": "Ada" }
            }
        """),
        "workers/app.ts": _text("""
            import { createRequestHandler } from "react-router";

            const handle = createRequestHandler(() => import("virtual:react-router/server-build"), "production");

            export default {
              fetch: (request, env) => handle(request, { env }),
            };
        """),
        "app/root.tsx": _text("""
            import { Meta, Outlet, Scripts } from "react-router";

            export default function Root() {
              return (
                <html lang="en">
                  <head>
                    <meta charSet="utf-8" />
                    <title>React Router app</title>
                    <Meta />
                  </head>
                  <body>
                    <Outlet />
                    <Scripts />
                  </body>
                </html>
              );
            }
        """),
        "app/routes.ts": _text("""
            import { index } from "@react-router/dev/routes";

            export default [index("routes/home.tsx")];
        """),
        "app/routes/home.tsx": _text("""
            export function loader({ context }) {
              return { name: context.env.NAME };
            }

            export default function Home({ loaderData }) {
              return <h1>Hello from {loaderData.name}</h1>;
            }
        """),
        "app/entry.server.tsx": _text("""
            import { ServerRouter } from "react-router";
            import { renderToReadableStream } from "react-dom/server";

            export default async function handle(request, status, headers, context) {
              const page = await renderToReadableStream(<ServerRouter context={context} url={request.url} />);
              headers.set("Content-Type", "text/html");
              return new Response(page, { headers, status });
            }
        """),
    }


def worker_alone() -> Tree:
    """A Worker in TOML without package.json, page or build: must complete, and answer everything."""
    return {
        "wrangler.toml": b'main = "worker.js"\ncompatibility_date = "2025-10-01"\n',
        "worker.js": _text("""
            export default {
              async fetch(request) {
                return new Response(`<h1>alone at ${new URL(request.url).pathname}</h1>`, {
                  headers: { "content-type": "text/html" },
                });
              },
            };
        """),
    }


def worker_with_page() -> Tree:
    """A Worker without package.json beside one page: must complete; `/api` answers `{name, secret?}`."""
    return {
        "wrangler.toml": _text("""
            main = "worker.js"
            compatibility_date = "2025-10-01"

            [vars]
            NAME = "Ada"

            [assets]
            directory = "site"
        """),
        "worker.js": _text("""
            export default {
              fetch: (request, env) => Response.json({ name: env.NAME, secret: env.SECRET }),
            };
        """),
        "site/index.html": _page("Worker and page", "<h1>A page</h1>"),
    }


def type_error() -> Tree:
    """A number is given a string at src/price.ts line 2: must fail with BUILD_TYPE_ERROR, class user.

    Depends on TypeScript alone. The compiler prints `src/price.ts(2,14): error TS2322: …`, writes its
    output to `dist` all the same, and exits 2: the exit code decides.
    """
    return _typescript() | {
        "src/price.ts": _text("""
            export const currency = "EUR";
            export const price: number = "twelve";
        """),
    }


def missing_dependency() -> Tree:
    """src/App.tsx imports `not-in-package-json`: must fail with BUILD_DEPENDENCY_MISSING, class user.

    The bundler finds it (the build runs no compiler), names the importing file by its absolute path
    without a line, and exits 1 after it has written `dist`. Dependencies and lock are those of `react_ts`.
    """
    return react_ts() | {
        "package.json": _package("vite build", _REACT, _REACT_TOOLS),
        "src/App.tsx": _text("""
            import { greet } from "not-in-package-json";

            export const App = () => <h1>{greet("React")}</h1>;
        """),
    }


def missing_dependency_in_typescript() -> Tree:
    """The same fault found by the compiler: must fail with BUILD_DEPENDENCY_MISSING, class user.

    Depends on TypeScript alone. The compiler prints `src/greet.ts(1,23): error TS2307: Cannot find module …`.
    """
    return _typescript() | {
        "src/greet.ts": _text("""
            import { greet } from "not-in-package-json";

            export const greeting = greet("TypeScript");
        """),
    }


def missing_build_script() -> Tree:
    """A package.json with a `start` script and no `build`: must fail with BUILD_SCRIPT_MISSING, class user.

    No dependencies.
    """
    return {
        "package.json": _json({"name": "app", "private": True, "scripts": {"start": "node src/main.js"}}),
        "package-lock.json": _lock_without_dependencies(),
        "src/main.js": b'console.log("started");\n',
    }


def no_output() -> Tree:
    """The build exits 0 and writes nothing: must fail with BUILD_NO_OUTPUT, class user. No dependencies."""
    return _scripted("""
        console.log("nothing to write today");
    """)


def prints_error_but_succeeds() -> Tree:
    """The build prints errors on both streams, writes `dist` and exits 0: must complete. No dependencies.

    The page's heading is "Fine after all".
    """
    return _scripted("""
        import { mkdirSync, writeFileSync } from "node:fs";

        console.log("ERROR: Build failed with 3 errors");
        console.error("error TS2322: Type 'string' is not assignable to type 'number'.");
        console.error("npm error code ELIFECYCLE");
        mkdirSync("dist", { recursive: true });
        writeFileSync("dist/index.html", "<!doctype html><title>Fine</title><h1>Fine after all</h1>");
    """)


_TSCONFIG = {
    "compilerOptions": {
        "target": "ES2022",
        "lib": ["ES2022", "DOM"],
        "module": "ESNext",
        "moduleResolution": "bundler",
        "jsx": "react-jsx",
        "strict": True,
        "skipLibCheck": True,
        "noEmit": True,
    },
    "include": ["src"],
}


def _vanilla(name: str) -> Tree:
    return {
        "package.json": _package("vite build", {}, _VITE),
        "index.html": _page(f"{name} app", '<h1></h1><script type="module" src="/src/main.js"></script>'),
        "src/main.js": f'document.querySelector("h1").textContent = "Hello from {name}";\n'.encode(),
    }


def _typescript() -> Tree:
    return {
        "package.json": _package("tsc --outDir dist --noEmit false", {}, {"typescript": "^5.9.3"}),
        "package-lock.json": _lock("typescript.package-lock.json"),
        "tsconfig.json": _json(_TSCONFIG),
    }


def _scripted(build: str) -> Tree:
    return {
        "package.json": _package("node build.js", {}, {}),
        "package-lock.json": _lock_without_dependencies(),
        "build.js": _text(build),
    }


def _package(build: str, dependencies: dict[str, str], tools: dict[str, str]) -> bytes:
    return _json(
        {
            "name": "app",
            "private": True,
            "type": "module",
            "scripts": {"build": build},
            "dependencies": dependencies,
            "devDependencies": tools,
        }
    )


def _lock(name: str) -> bytes:
    return (_DATA / name).read_bytes()


def _lock_without_dependencies() -> bytes:
    return _json({"name": "app", "lockfileVersion": 3, "requires": True, "packages": {"": {"name": "app"}}})


def _json(value: object) -> bytes:
    return (json.dumps(value, indent=2) + "\n").encode()


def _text(block: str) -> bytes:
    return (dedent(block).strip() + "\n").encode()


def _page(title: str, body: str) -> bytes:
    return f'<!doctype html><html lang="en"><title>{title}</title><body>{body}</body></html>\n'.encode()


def _png() -> bytes:
    """Return one teal pixel: bytes that no text decoding survives."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    pixel = zlib.compress(b"\x00\x00\x80\x80")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixel) + chunk(b"IEND", b"")
