import { type ZodMiniType } from "zod/mini";

/** One method of a service that crosses HTTP (object-protocol.ts). */
export interface ObjectCall {
  readonly kind: "read" | "write" | "upload" | "download";
  readonly request: ZodMiniType;
  readonly reply: ZodMiniType;
}
