// Unpacks the browser of the npm package @sparticuz/chromium: `node unpack.mjs PACKAGE FOLDER`. The package has the program and
// its libraries compressed with brotli, which Python's standard library cannot read.
import { createReadStream, createWriteStream, mkdirSync } from "node:fs";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { createBrotliDecompress } from "node:zlib";

const [source, folder] = process.argv.slice(2);
mkdirSync(folder, { recursive: true });
for (const name of ["al2023.tar", "fonts.tar", "chromium"]) {
  const input = createReadStream(join(source, "bin", `${name}.br`));
  await pipeline(input, createBrotliDecompress(), createWriteStream(join(folder, name), { mode: 0o755 }));
}
