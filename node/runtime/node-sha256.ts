// SHA-256 by Node's own OpenSSL.
import { createHmac, createSecretKey, hash } from "node:crypto";
import { type Sha256 } from "../../shared/sha256.ts";

export const nodeSha256: Sha256 = {
  hash: (message) => hash("sha256", message, "hex"),
  keyed(key) {
    // A KeyObject once: else OpenSSL would look for the key's algorithm at every message.
    const secret = createSecretKey(key);
    return (...pieces) => {
      const mac = createHmac("sha256", secret);
      for (const piece of pieces) mac.update(piece);
      return mac.digest("hex");
    };
  },
};
