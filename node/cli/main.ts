#!/usr/bin/env node
// Entry of the `ringstow` command. Node's compile cache is switched on before anything else is loaded: a cluster on one
// machine is many processes of the same code, and reading it costs each of them more than half of its start.
import { enableCompileCache } from "node:module";

enableCompileCache();
await import("./program.ts");
