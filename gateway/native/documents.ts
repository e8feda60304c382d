// What the native API says of itself, made of its table: an index, the OpenAPI document and a reference page. Open to
// everybody: there is nothing in them of this cluster.
import * as z from "zod/mini";
import {
  NATIVE_ROUTES,
  type NativeCall,
  type NativeRoute,
  nativeErrorSchema,
} from "../../shared/native-api.ts";

const ENTRIES = Object.entries(NATIVE_ROUTES) as [NativeCall, NativeRoute][];

/** The document at a path; undefined when there is none. */
export function nativeDocument(method: string, path: string): Response | undefined {
  if (method !== "GET" && method !== "HEAD") return undefined;
  switch (path) {
    case "/v1":
      return Response.json({ openapi: "/v1/openapi.json", reference: "/v1/docs" });
    case "/v1/openapi.json":
      return Response.json(openApi());
    case "/v1/docs":
      return new Response(referencePage(), {
        headers: {
          "content-type": "text/html; charset=utf-8",
          "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'",
        },
      });
    default:
      return undefined;
  }
}

function templateOf({ resource, names }: NativeRoute): string {
  const tail = { none: "", bucket: "/{bucket}", key: "/{bucket}/{key}" }[names];
  return `/v1/${resource}${tail}`;
}

/** As JSON crosses the wire: what a schema reads, of requests and of replies. */
function schemaOf(schema: z.ZodMiniType): unknown {
  const { $schema: _dialect, ...shape } = z.toJSONSchema(schema, { io: "input" });
  return shape;
}

function contentOf(what: z.ZodMiniType | "bytes"): unknown {
  return what === "bytes"
    ? { "application/octet-stream": { schema: { type: "string", format: "binary" } } }
    : { "application/json": { schema: schemaOf(what) } };
}

/** OpenAPI 3.1. */
export function openApi(): unknown {
  const paths: Record<string, Record<string, unknown>> = {};
  for (const [name, route] of ENTRIES) {
    const path = (paths[templateOf(route)] ??= {});
    path[route.method.toLowerCase()] = operationOf(name, route);
  }
  return {
    openapi: "3.1.0",
    info: {
      title: "Ringstow native API",
      version: "1",
      description:
        "Signed with AWS Signature Version 4 (service s3), as the S3 API. A key may hold slashes. The URLs that lookups " +
        "and grants give lead to nodes and need no signature: GET readUrl (with Range, if wanted), PATCH writeUrl with " +
        "the header x-ringstow-offset.",
    },
    components: {
      securitySchemes: {
        sigv4: { type: "apiKey", in: "header", name: "Authorization", description: "SigV4" },
      },
    },
    security: [{ sigv4: [] }],
    paths,
  };
}

function operationOf(name: NativeCall, route: NativeRoute): unknown {
  const { names, query = {}, summary, status, otherwise = {}, request, reply } = route;
  const success = (description: string): unknown => ({
    description,
    ...(reply && { content: contentOf(reply) }),
  });
  const inPath = { none: [], bucket: ["bucket"], key: ["bucket", "key"] }[names];
  const parameter = (where: string, parameterName: string, description?: string) => ({
    name: parameterName,
    in: where,
    required: where === "path",
    description,
    schema: { type: "string" },
  });
  return {
    operationId: name,
    summary,
    parameters: [
      ...inPath.map((one) => parameter("path", one)),
      ...Object.entries(query).map(([one, meaning]) => parameter("query", one, meaning)),
    ],
    ...(request && { requestBody: { content: contentOf(request) } }),
    responses: {
      [status]: success("Done"),
      ...Object.fromEntries(
        Object.entries(otherwise).map(([other, when]) => [other, success(when)]),
      ),
      default: {
        description: "Refused or failed",
        content: contentOf(nativeErrorSchema),
      },
    },
  };
}

// ---------------------------------------------------------------- the page

const STYLE = `:root{color-scheme:light dark;font:16px/1.5 system-ui,sans-serif}
body{max-width:56rem;margin:2rem auto;padding:0 1rem}
code,pre{font-family:ui-monospace,monospace;font-size:.875em}
pre{overflow:auto;padding:.75rem;border:1px solid #8886;border-radius:.4rem}
h2{margin-top:2.5rem;border-bottom:1px solid #8886}
.method{font-weight:700}dt{font-family:ui-monospace,monospace}`;

const escape = (text: string): string =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

function referencePage(): string {
  const sections = ENTRIES.map(([name, route]) => sectionOf(name, route)).join("");
  return `<!doctype html><html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1">
<title>Ringstow native API</title><style>${STYLE}</style></head><body><main>
<h1>Ringstow native API</h1>
<p>JSON over HTTP, signed with AWS Signature Version 4 (service <code>s3</code>), as the S3 API.
Keys may hold slashes. Errors are <code>{code, message, requestId, details}</code>.
The same as a machine reads it: <a href="/v1/openapi.json">openapi.json</a>.</p>
${sections}</main></body></html>`;
}

function sectionOf(name: NativeCall, route: NativeRoute): string {
  const { method, summary, query = {}, request, reply, status, otherwise = {} } = route;
  const parameters = Object.entries(query)
    .map(([one, meaning]) => `<dt>${escape(one)}</dt><dd>${escape(meaning)}</dd>`)
    .join("");
  const shape = (title: string, what: z.ZodMiniType | "bytes" | undefined): string =>
    what === undefined
      ? ""
      : what === "bytes"
        ? `<p>${title}: the object's bytes</p>`
        : `<details><summary>${title}</summary><pre>${escape(JSON.stringify(schemaOf(what), undefined, 2))}</pre></details>`;
  const statuses = [String(status)].concat(
    Object.entries(otherwise).map(([other, when]) => `${other} (${when})`),
  );
  return `<section id="${name}"><h2>${escape(summary)}</h2>
<p><code><span class="method">${method}</span> ${escape(templateOf(route))}</code> answers ${escape(statuses.join(", "))}</p>
${parameters === "" ? "" : `<dl>${parameters}</dl>`}${shape("Body", request)}${shape("Answer", reply)}
</section>
`;
}
