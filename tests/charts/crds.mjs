// Checks custom resources as strictly as an API server with `fieldValidation: Strict`. Reads a JSON array of objects from
// standard input, and writes a JSON array with one list of errors per object.
//
// The pinned @kubernetes-models packages, generated from each project's Go types, hold two halves of a schema:
// - validators with the values' bounds (required, enum, pattern, lengths), which accept unknown fields;
// - type declarations, with which the TypeScript compiler refuses unknown fields in an object literal.
// This script runs both. Neither has the rules in CEL (x-kubernetes-validations).
//
// Usage: node crds.mjs <directory with node_modules> < objects.json

import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";

const PACKAGES = {
  "argoproj.io": "argo-workflows",
  "external-secrets.io": "external-secrets",
  "gateway.networking.k8s.io": "gateway-api",
  "helm.toolkit.fluxcd.io": "flux-cd",
  "image.toolkit.fluxcd.io": "flux-cd",
  "karpenter.k8s.aws": "karpenter",
  "karpenter.sh": "karpenter",
  "keda.sh": "keda",
  "kustomize.toolkit.fluxcd.io": "flux-cd",
  "monitoring.coreos.com": "prometheus-operator",
  "source.toolkit.fluxcd.io": "flux-cd",
  "traefik.io": "traefik",
};

const home = resolve(process.argv[2]);
const require = createRequire(join(home, "package.json"));
const ts = require("typescript");

const objects = JSON.parse(readFileSync(0, "utf8"));
const errors = objects.map(() => []);
const models = objects.map(({ apiVersion, kind }) => {
  const [group, version] = apiVersion.split("/");
  return PACKAGES[group] && `@kubernetes-models/${PACKAGES[group]}/${group}/${version}/${kind}`;
});

for (const [i, object] of objects.entries()) {
  const path = models[i] && join(home, "node_modules", `${models[i]}.js`);
  if (!path || !existsSync(path)) {
    models[i] = undefined;
    errors[i].push(`no schema for ${object.apiVersion} ${object.kind}`);
    continue;
  }
  const module = await import(pathToFileURL(path).href);
  try {
    new module[object.kind](object).validate();
  } catch (error) {
    errors[i].push(...(error.errors ?? [error]).map(({ instancePath = "", message }) => `${instancePath} ${message}`.trim()));
  }
}

const file = join(home, "objects.ts");
const lines = objects.map((object, i) => {
  const type = models[i] && `import("${models[i]}").I${object.kind}`;
  return type ? `export const o${i}: ${type} = ${JSON.stringify(object)};` : "";
});
const options = {
  module: ts.ModuleKind.NodeNext,
  moduleResolution: ts.ModuleResolutionKind.NodeNext,
  noEmit: true,
  skipLibCheck: true,
  strict: true,
  types: [],
};
const host = ts.createCompilerHost(options);
const { getSourceFile, fileExists, readFile } = host;
host.getSourceFile = (name, ...rest) =>
  name === file ? ts.createSourceFile(name, lines.join("\n"), ...rest) : getSourceFile(name, ...rest);
host.fileExists = (name) => name === file || fileExists(name);
host.readFile = (name) => (name === file ? lines.join("\n") : readFile(name));

const program = ts.createProgram([file], options, host);
for (const diagnostic of ts.getPreEmitDiagnostics(program)) {
  const text = ts.flattenDiagnosticMessageText(diagnostic.messageText, " ");
  if (diagnostic.file?.fileName !== file) {
    throw new Error(`the declarations do not compile: ${text}`); // otherwise an empty check would pass
  }
  errors[diagnostic.file.getLineAndCharacterOfPosition(diagnostic.start).line].push(text);
}

process.stdout.write(JSON.stringify(errors));
