import { MemoryDisk } from "../../../node/runtime/memory-store.ts";

export const makeDisk = (): MemoryDisk => new MemoryDisk();
